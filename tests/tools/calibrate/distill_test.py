#!/usr/bin/env python3
"""tools/calibrate/distill.py on the demo model.

Usage: distill_test.py SOURCE_DIR

Exits with 77, which counts as skipped, without torch or PyYAML.
"""
import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

try:
    import torch
    import yaml
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)  # ctest's SKIP_RETURN_CODE

SOURCE = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(SOURCE / "tools/calibrate"))
import distill  # noqa: E402

DEMO = SOURCE / "models/demo"
GOLDENS = json.loads((SOURCE / "tests/golden/demo.json").read_text())
HIDDEN = 256
HASH = "0123456789012345"  # a number, if YAML had its way
LEVELS = f"""format: 1
model: {{fingerprint: '{HASH}', layers: 12, hidden: {HIDDEN}}}
method: {{ranker: last, text: '{HASH}', windows: 0, window: 0, seed: 1}}
maps: zero.safetensors
levels:
- name: plain
  skip: attn:11
  family: last
  quality: {{kl: [0.1, 0.1, 0.1]}}
- name: a.diag
  skip: attn:9-11+mlp:10@{HASH}
  family: diag
  compensation: diag
  quality: {{kl: [0.25, 0.2, 0.3]}}
  saved: {{pages: 0.1}}
- name: full
  skip: attn:11@{HASH}
  family: full
  compensation: full
"""


class DistillTest(unittest.TestCase):
    def test_reads_canonical_sets(self):
        self.assertEqual(distill.parse_skip("none"), (set(), set(), {}))
        self.assertEqual(distill.parse_skip("attn:1-3,11@" + HASH), ({1, 2, 3, 11}, set(), {}))
        self.assertEqual(distill.parse_skip("attn:8+win:3/24,9-10/16+mlp:2"),
                         ({8}, {2}, {3: 24, 9: 16, 10: 16}))

    def test_level_is_the_oracles(self):
        model, compared = distill.Llama(DEMO), 0
        for case in GOLDENS["cases"]:
            if any(word in case["skip"] for word in ("last", "block")):
                continue
            ids, level = torch.tensor([case["prompt_ids"]]), distill.Level(case["skip"])
            with torch.no_grad():
                state = model.run(model.embedding[ids], level, 0, model.layers)
                row = model.log_probabilities(state)[0, -1]
            for token, value in case["first_token_top10"]:
                self.assertAlmostEqual(float(row[token]), value, delta=1e-4, msg=case["skip"])
            compared += 1
        self.assertGreater(compared, 10)

    def test_maps_are_added_for_what_is_skipped(self):
        scale, bias = torch.tensor([2.0, 3.0]), torch.tensor([10.0, 20.0])
        level = distill.Level("attn:4", {(4, "attention", "scale"): scale,
                                         (4, "attention", "bias"): bias})
        normed = torch.tensor([[1.0, 1.0], [0.0, 2.0]])
        self.assertEqual(level.map(4, "attention", normed).tolist(), [[12, 23], [10, 26]])
        self.assertEqual(level.map(4, "mlp", normed), 0)

    def distill(self, folder, out, *arguments):
        folder = pathlib.Path(folder)
        maps = {f"a.diag.layers.{layer}.{part}": torch.zeros(1, HIDDEN)
                for layer, part in ((9, "attention.bias"), (9, "attention.scale"),
                                    (10, "attention.bias"), (10, "mlp.bias"))}
        maps["full.layers.11.attention.up"] = torch.ones(HIDDEN, HIDDEN)
        distill.write_safetensors(folder / "zero.safetensors", maps)
        (folder / "zero.yaml").write_text(LEVELS)
        ids = [i for case in GOLDENS["cases"] for i in case["prompt_ids"]]
        (folder / "ids").write_text(" ".join(map(str, ids)))
        argv = ["distill.py", str(DEMO), str(folder / "zero.yaml"), str(folder / out),
                "--ids", str(folder / "ids"), "--window", "32", "--windows", "8", "--held_out", "2",
                "--steps", "20", "--threads", "1", *arguments]
        printed = io.StringIO()
        with mock.patch.object(sys, "argv", argv), contextlib.redirect_stdout(printed):
            distill.main()
        return printed.getvalue()

    def test_training_brings_the_level_nearer(self):
        with tempfile.TemporaryDirectory() as folder:
            printed = self.distill(folder, "out.yaml")
            kls = [float(line.split("KL ")[1].split()[0])
                   for line in printed.splitlines() if "KL" in line]
            self.assertLess(kls[-1], 0.97 * kls[0], printed)

            folder = pathlib.Path(folder)
            old = yaml.safe_load((folder / "zero.yaml").read_text())
            new = yaml.safe_load((folder / "out.yaml").read_text())
            plain, trained, full = new["levels"]
            self.assertEqual(plain["quality"], {"kl": ["0.1", "0.1", "0.1"]})
            self.assertEqual(full, old["levels"][2])
            self.assertEqual(trained, {"name": "a.diag", "skip": "attn:9-11+mlp:10",
                                       "family": "diag", "compensation": "diag",
                                       "saved": {"pages": "0.1"}})
            self.assertEqual(new["model"]["fingerprint"], HASH)
            self.assertEqual(new["maps"], "out.safetensors")
            before = distill.read_safetensors(folder / "zero.safetensors")
            after = distill.read_safetensors(folder / "out.safetensors")
            self.assertEqual(list(after), sorted(before))
            for name, tensor in after.items():
                self.assertEqual(tensor.shape, before[name].shape)
                self.assertEqual(name.startswith("full"), tensor.equal(before[name]), name)

    def test_equal_arguments_give_equal_files(self):
        with tempfile.TemporaryDirectory() as folder:
            for out in ("one.yaml", "two.yaml", "three.yaml"):
                self.distill(folder, out, *(["--seed", "2"] if out == "three.yaml" else []))
            one, two, three = ((pathlib.Path(folder) / f"{name}.safetensors").read_bytes()
                               for name in ("one", "two", "three"))
            self.assertEqual(one, two)
            self.assertNotEqual(one, three)

    def test_says_what_is_wrong(self):
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaisesRegex(SystemExit, "there are plain, a.diag, full"):
                self.distill(folder, "out.yaml", "--level", "other")
            with self.assertRaisesRegex(SystemExit, "5000 for training and 2 held out"):
                self.distill(folder, "out.yaml", "--windows", "5000")
            self.assertIn("left as it is", self.distill(folder, "out.yaml", "--level", "full"))


if __name__ == "__main__":
    unittest.main()
