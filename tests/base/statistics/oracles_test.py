#!/usr/bin/env python3
"""base/statistics on new random cases against gbstats, spotify-confidence, ssrm-test and scipy.

Usage: oracles_test.py SOURCE_DIR PROGRAM

PROGRAM: base_statistics_test. SKIPSTONE_STATISTICS_SEED: of other cases. Exits with 77, which
counts as skipped, without the packages that make_fixtures.py names.
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(sys.argv.pop(1)).resolve()
PROGRAM = sys.argv.pop(1)
FOLDER = SOURCE / "tests/base/statistics"
sys.path.insert(0, str(FOLDER))
try:
    import make_fixtures
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)  # ctest's SKIP_RETURN_CODE


class OraclesTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_program(self):
        command = [PROGRAM, "--gtest_filter=*Fixture*:*OtherPackages*:*OfScipy*"]
        environment = dict(os.environ, SKIPSTONE_STATISTICS_FIXTURES=str(self.folder))
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    def test_new_cases(self):
        seed = int(os.environ.get("SKIPSTONE_STATISTICS_SEED", "1000"))
        make_fixtures.write(self.folder, seed, 1000)
        result = self.run_program()
        self.assertEqual(result.returncode, 0, result.stdout[-5000:])
        self.assertIn("8 tests from", result.stdout)

    def test_fixtures_are_what_the_packages_give(self):
        make_fixtures.write(self.folder, 17, 100)
        for path in sorted(self.folder.iterdir()):
            new = path.read_text().splitlines()[1:]
            committed = (FOLDER / "fixtures" / path.name).read_text().splitlines()[1:101]
            for a, b in zip(new, committed, strict=True):
                for x, y in zip(map(float, a.split()), map(float, b.split()), strict=True):
                    self.assertLessEqual(abs(x - y), 1e-10 * abs(y) + 1e-15, path.name)

    def test_wrong_results_are_seen(self):
        make_fixtures.write(self.folder, 17, 100)
        path = self.folder / "mean_effects.txt"
        first, second, rest = path.read_text().split("\n", 2)
        value, others = second.split(" ", 1)
        path.write_text(f"{first}\n{float(value) + 1e-6} {others}\n{rest}")
        self.assertNotEqual(self.run_program().returncode, 0)


if __name__ == "__main__":
    unittest.main()
