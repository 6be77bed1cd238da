#!/usr/bin/env python3
"""What shadows say of 200 served requests, from the NumPy oracle's float64 logits.

Usage: shadow_oracle_test.py SOURCE_DIR SKIPSTONE_SERVER SKIPSTONE
"""
import collections
import concurrent.futures
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import unittest

SKIP = 77  # ctest's SKIP_RETURN_CODE
SOURCE, SERVER, SKIPSTONE = (pathlib.Path(sys.argv.pop(1)).resolve() for _ in range(3))
sys.path += [str(SOURCE / "tests/golden"), str(SOURCE / "tests/deploy")]
try:
    import numpy as np
    import llama_reference as oracle
except ImportError as error:
    print(f"SKIPPED: {error}")
    sys.exit(SKIP)
from running_server import RunningServer  # noqa: E402

MODEL = SOURCE / "models/demo"
LEVELS = ("attn:last=50%", "attn:last=75%+mlp:last=1", "win:last=8/16")
REQUESTS, SECONDS = 200, 120
AT_ONCE = 40  # fewer than may wait to be scored
# Of a token: what the engine's sums in 32 bits may differ by.
NATS = 1e-4


class ShadowOracleTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = oracle.Llama(MODEL)
        config = json.loads((MODEL / "config.json").read_text())
        cls.skips = {text: oracle.parse_skip(text, config["num_hidden_layers"])
                     for text in ("none", *LEVELS)}
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        log = folder / "exposure.jsonl"
        server = cls.enterClassContext(RunningServer(
            SERVER, f"--model={MODEL}", "--kv_memory=64MiB", "--log_level=warn",
            "--shadow_fraction=1", f"--exposure_log={log}"))
        ids = cls.ids(server, (MODEL / "valid.txt").read_text()[:8000])[1:]
        draw = random.Random(17)
        cls.requests = {}
        for number in range(REQUESTS):
            first = draw.randrange(len(ids) - 64)
            cls.requests[f"00-{number + 1:032x}-{1:016x}-01"] = {
                "prompt": [config["bos_token_id"], *ids[first:first + draw.randint(1, 60)]],
                "max_tokens": draw.randint(1, 24),
                "skip": ("none", *LEVELS)[number % 4] if number < 20 else LEVELS[number % 3]}
        cls.outputs = {}
        with concurrent.futures.ThreadPoolExecutor(4) as callers:
            for first in range(0, REQUESTS, AT_ONCE):
                traces = list(cls.requests)[first:first + AT_ONCE]
                answers = callers.map(
                    lambda trace: cls.generate(server, trace, cls.requests[trace]), traces)
                cls.outputs.update(zip(traces, answers))
                cls.records = cls.read(log, len(cls.outputs))

    @classmethod
    def ids(cls, server, text):
        return cls.run_skipstone(server, "tokenize", text)["ids"]

    @classmethod
    def run_skipstone(cls, server, command, *flags):
        done = subprocess.run([SKIPSTONE, command, f"--server={server.grpc}", "--json", *flags],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @classmethod
    def generate(cls, server, traceparent, request):
        answer = cls.run_skipstone(
            server, "generate", f"--metadata=traceparent={traceparent}", "--temperature=1", "--token_ids",
            f"--seed={len(request['prompt'])}", f"--max_tokens={request['max_tokens']}",
            f"--skip={request['skip']}", "--ids=" + ",".join(map(str, request["prompt"])))
        return [token["id"] for token in answer["outputs"][0]["tokens"]]

    @classmethod
    def read(cls, log, count):
        """By request: records are written when their shadow has been scored or dropped."""
        deadline = time.monotonic() + SECONDS
        lines = []
        while len(lines) < count and time.monotonic() < deadline:
            time.sleep(0.2)
            lines = log.read_text().splitlines()
        return {record["traceparent"]: record for record in map(json.loads, lines)}

    def logprobs(self, prompt, output, skip):
        """Of the places whose next token was generated: float64 [tokens, vocabulary]."""
        rows = self.model.forward(prompt + output, self.skips[skip])
        return oracle.logprobs(rows)[len(prompt) - 1:-1]

    def test_all_were_scored(self):
        self.assertEqual(len(self.records), REQUESTS)
        for trace, record in self.records.items():
            self.assertEqual(record["shadow"]["tokens"], len(self.outputs[trace]))

    def test_divergence(self):
        worst = collections.Counter()
        for trace, request in self.requests.items():
            prompt, output = request["prompt"], self.outputs[trace]
            shadow = self.records[trace]["shadow"]
            if request["skip"] == "none":
                self.assertEqual(shadow["kl_nats"], 0)
                self.assertEqual(shadow["agreeing_tokens"], len(output))
                continue
            full = self.logprobs(prompt, output, "none")
            level = self.logprobs(prompt, output, request["skip"])
            served = np.arange(len(output)), output
            expected = {
                "kl_nats": (np.exp(full) * (full - level)).sum(),
                "nll_nats": -level[served].sum(),
                "logprob_difference_nats": (full[served] - level[served]).sum()}
            for name, value in expected.items():
                worst[name] = max(worst[name], abs(shadow[name] - value) / len(output))
            # Two tokens may be equally likely but for rounding.
            agreeing = (full.argmax(1) == level.argmax(1)).sum()
            self.assertAlmostEqual(shadow["agreeing_tokens"], agreeing, delta=1)
            brier = (np.exp(level.max(1)) - (level.argmax(1) == output)) ** 2
            self.assertAlmostEqual(shadow["brier"], brier.sum(), delta=5e-3 * len(output))
        print("furthest from the oracle, nats a token:", dict(worst))
        for name, value in worst.items():
            self.assertLess(value, NATS, name)
        self.assertGreater(sum(r["shadow"]["kl_nats"] for r in self.records.values()), 1)


if __name__ == "__main__":
    unittest.main()
