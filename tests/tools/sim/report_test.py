#!/usr/bin/env python3
"""tools/sim/report.py over what skipstone-sim prints.

Usage: report_test.py SOURCE_DIR SKIPSTONE_SIM
"""
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

SIM = sys.argv.pop(2)
FOLDER = pathlib.Path(sys.argv.pop(1)).resolve() / "tools/sim"
sys.path.insert(0, str(FOLDER))
import report  # noqa: E402


def simulate(*flags):
    profile = f"--profile={FOLDER}/profiles/h200.json"
    return subprocess.run([SIM, profile, "--kv_pages=100000", *flags], check=True,
                          capture_output=True).stdout


def run(simulated, *arguments):
    return subprocess.run([sys.executable, "-B", FOLDER / "report.py", *arguments], check=True,
                          input=simulated, capture_output=True).stdout.decode()


class ReportTest(unittest.TestCase):
    def test_tables_have_a_row_per_level_and_one_of_all(self):
        text = run(simulate("--requests=50", "--rate=20", "--skip=none;attn:last=33%"))
        lines = [line.split() for line in text.splitlines()]
        self.assertTrue(text.startswith("1 replicas, "))
        self.assertEqual([line[0] for line in lines[3:6]], ["none", "attn:last=33%", "all"])
        self.assertEqual(lines[5][1:3], ["50", "0"])
        self.assertEqual([line[:2] for line in lines[8:11]],
                         [["TTFT", "none"], ["TTFT", "attn:last=33%"], ["TTFT", "all"]])
        self.assertEqual(len(lines), 7 + 1 + 4 * 3)

    def test_an_empty_run_has_dashes_and_axes(self):
        with tempfile.TemporaryDirectory() as folder:
            svg = pathlib.Path(folder, "plots.svg")
            text = run(simulate("--requests=0"), "--svg", svg)
            self.assertNotRegex(svg.read_text(), "nan|inf")
        self.assertEqual(text.splitlines()[-1].split(), ["E2E", "none"] + 5 * ["-"])
        self.assertNotIn("all", text)

    def test_plots_a_curve_per_level(self):
        with tempfile.TemporaryDirectory() as folder:
            svg = pathlib.Path(folder, "plots.svg")
            run(simulate("--requests=50", "--rate=20", "--skip=none;attn:last=33%"), "--svg", svg)
            text = svg.read_text()
        self.assertEqual(text.count("<polyline"), 2 + 2 + 1 + 1)
        self.assertIn(">attn:last=33%</text>", text)
        xml.etree.ElementTree.fromstring(text)

    def test_points_lie_where_the_axes_say(self):
        svg = report.plot("a < b & c", "x", "y", {"l>1": [(0, 0), (10, 100)], "": [(5, 50)]})
        # The plot area spans x 64..460 and y 274..34.
        for text in ['points="64.0,274.0 460.0,34.0"', 'points="262.0,154.0"', "a &lt; b &amp; c",
                     "l&gt;1"]:
            self.assertIn(text, svg)
        decades = report.plot("", "", "", {"": [(1, 0), (10, 1), (100, 1)]}, log_x=True)
        self.assertIn('points="64.0,274.0 262.0,34.0 460.0,34.0"', decades)

    def test_ticks_are_round_and_cover_the_range(self):
        self.assertEqual(report.round_ticks(0, 100, 5), [0, 20, 40, 60, 80, 100])
        self.assertEqual(report.round_ticks(0, 7.6, 5), [0, 2, 4, 6, 8])
        self.assertGreaterEqual(len(report.round_ticks(3, 3, 5)), 2)
        for high in (0.013, 1, 3.2, 4.9, 1999, 123456):
            ticks = report.round_ticks(0, high, 5)
            self.assertEqual(ticks[0], 0)
            self.assertGreaterEqual(ticks[-1], high * (1 - 1e-9))
            self.assertIn(len(ticks), range(3, 9))

    def test_ticks_of_a_logarithm_are_one_two_five_or_powers_of_ten(self):
        self.assertEqual(report.log_ticks(3, 320, 5), [2, 5, 10, 20, 50, 100, 200, 500])
        self.assertEqual(report.log_ticks(0.5, 2e6, 5),
                         [0.1, 1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7])
        self.assertGreaterEqual(len(report.log_ticks(1, 1, 5)), 2)


if __name__ == "__main__":
    unittest.main()
