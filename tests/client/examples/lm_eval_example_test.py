#!/usr/bin/env python3
"""client/examples/python/lm_eval_skipstone.py in the real lm-evaluation-harness, without network:
a multiple-choice task on local items, whose acc and acc_norm are those of `skipstone sweep`.

Usage: lm_eval_example_test.py SOURCE_DIR SKIPSTONE_SERVER SKIPSTONE VENV_DIR

The harness is installed into VENV_DIR (0.8 GB); where that cannot be, the test is skipped.
"""
import json
import math
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

SKIP = 77  # ctest's SKIP_RETURN_CODE
PACKAGES = ["lm-eval==0.4.13", "grpcio", "protobuf"]
SOURCE, SERVER, SKIPSTONE, VENV = [pathlib.Path(a).resolve() for a in sys.argv[1:5]]
EXAMPLES = SOURCE / "client/examples/python"
SKIPS = ("none", "attn:last=50%")


def skip(message):
    print(f"SKIPPED: {message}")
    sys.exit(SKIP)


def run_in_venv():
    """Starts this test again by the Python of a venv that has the harness."""
    for tool in ("protoc", "grpc_python_plugin"):
        if not shutil.which(tool):
            skip(f"no {tool}")
    python, installed = VENV / "bin/python", VENV / ".installed"
    if not installed.exists() or installed.read_text() != " ".join(PACKAGES):
        for command in ([sys.executable, "-m", "venv", VENV],
                        [python, "-m", "pip", "install", "--quiet", *PACKAGES]):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                skip(f"cannot install {PACKAGES[0]}: {done.stdout[-500:]}{done.stderr[-500:]}")
        installed.write_text(" ".join(PACKAGES))
    environment = {**os.environ, "HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}
    sys.exit(subprocess.run([python, "-B", *sys.argv], env=environment).returncode)


if pathlib.Path(sys.prefix).resolve() != VENV:
    run_in_venv()

sys.path += [str(EXAMPLES), str(SOURCE / "tests/deploy")]
from running_server import RunningServer  # noqa: E402


def make_items(count):
    """The next words of a text the model knows, among words from elsewhere in it."""
    draw = random.Random(16)
    words = (SOURCE / "models/demo/valid.txt").read_text().split()
    snippet = lambda at, most: " ".join(words[at:at + draw.randrange(1, most)])
    items = []
    for _ in range(count):
        start = draw.randrange(len(words) - 30)
        choices = [snippet(draw.randrange(len(words) - 8), 7) for _ in range(3)]
        gold = draw.randrange(4)
        choices.insert(gold, snippet(start + 12, 5))
        items.append({"query": " ".join(words[start:start + 12]), "choices": choices, "gold": gold})
    # Characters are not bytes, and a choice may be longer than the others by far.
    items[0]["choices"][0] = "\u00e9t\u00e9 \u2014 \u043b\u0435\u0442\u043e"
    return items


class LmEvalExampleTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        plugin = shutil.which("grpc_python_plugin")
        subprocess.run(["protoc", f"--proto_path={SOURCE}/proto", f"--python_out={cls.folder}",
                        f"--grpc_out={cls.folder}", f"--plugin=protoc-gen-grpc={plugin}",
                        f"{SOURCE}/proto/skipstone/v1/inference.proto"], check=True)
        sys.path.append(str(cls.folder))
        cls.server = cls.enterClassContext(RunningServer(
            SERVER, f"--model={SOURCE}/models/demo", "--kv_memory=16MiB", "--log_level=warn"))
        from lm_eval_skipstone import SkipstoneLM
        cls.model = {spec: SkipstoneLM(server=cls.server.grpc, skip=spec) for spec in SKIPS}

    def request(self, *arguments):
        from lm_eval.api.instance import Instance
        return Instance(request_type="", doc={}, arguments=arguments, idx=0)

    def sweep(self, *flags):
        done = subprocess.run(
            [SKIPSTONE, "sweep", "--json", f"--server={self.server.grpc}", "--speed_runs=0",
             f"--skips={';'.join(SKIPS)}", *flags], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return {row["name"]: row for row in json.loads(done.stdout)["rows"]}

    def test_accuracies_are_those_of_the_sweep(self):
        import lm_eval
        from lm_eval.tasks import TaskManager
        items = self.folder / "items.jsonl"
        items.write_text("".join(json.dumps(item) + "\n" for item in make_items(60)))
        task = {"task": "local_choice", "dataset_path": "json", "test_split": "test",
                "dataset_kwargs": {"data_files": {"test": str(items)},
                                   "cache_dir": str(self.folder / "datasets")},
                "output_type": "multiple_choice", "doc_to_text": "{{query}}\nAnswer:",
                "doc_to_choice": "choices", "doc_to_target": "gold", "num_fewshot": 0,
                "metric_list": [{"metric": name, "aggregation": "mean", "higher_is_better": True}
                                for name in ("acc", "acc_norm")]}
        rows = self.sweep(f"--choices={items}")
        for spec in SKIPS:
            results = lm_eval.simple_evaluate(model=self.model[spec], tasks=[task],
                                              task_manager=TaskManager(include_defaults=False),
                                              bootstrap_iters=0, verbosity="ERROR")
            found = results["results"]["local_choice"]
            self.assertEqual(found["acc,none"], rows[spec]["accuracy"], spec)
            self.assertEqual(found["acc_norm,none"], rows[spec]["accuracy_norm"], spec)
        # The items tell something: neither all nor none are right, the two measures differ.
        self.assertTrue(0.3 < rows["none"]["accuracy"] < 1, rows["none"])
        self.assertNotEqual(rows["none"]["accuracy"], rows["none"]["accuracy_norm"])

    def test_a_rolling_likelihood_covers_each_token_once(self):
        text = (SOURCE / "models/demo/valid.txt").read_text()[:6000]
        model = self.model["none"]
        total, = model.loglikelihood_rolling([self.request(text)])
        windows = model._windows(text)
        self.assertGreater(len(windows), 1)
        ids = [i for item in windows for i in item.continuation.token_ids.ids]
        self.assertEqual(ids, list(model.stub.Tokenize(self.tokenize(text)).ids))
        self.assertTrue(1 < math.exp(-total / len(ids)) < 1000, total)

    def tokenize(self, text):
        from skipstone.v1 import inference_pb2
        return inference_pb2.TokenizeRequest(text=text, add_special_tokens=False)

    def test_generation_ends_before_the_stop(self):
        model = self.model["none"]
        full, cut = model.generate_until([
            self.request("In the beginning", {"max_gen_toks": 24, "until": []}),
            self.request("In the beginning", {"max_gen_toks": 24, "until": [" the"]})])
        self.assertIn(" the", full)
        self.assertEqual(cut, full[:full.index(" the")])

    def test_skips_what_it_is_told(self):
        context = self.request("In the beginning God created the", " heaven")
        (full, _), = self.model["none"].loglikelihood([context])
        (skipped, _), = self.model["attn:last=50%"].loglikelihood([context])
        self.assertNotEqual(full, skipped)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
