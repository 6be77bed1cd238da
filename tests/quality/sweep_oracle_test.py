#!/usr/bin/env python3
"""What `skipstone sweep` reports of the demo model, from the NumPy oracle's float64 logits and
measures that are written here a second time.

Usage: sweep_oracle_test.py SOURCE_DIR SKIPSTONE_SERVER SKIPSTONE
"""
import json
import pathlib
import subprocess
import sys
import tempfile
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
SKIPS = ("none", "attn:last=50%", "attn:last=75%+mlp:last=1")
WINDOW, ITEMS, MAX_TOKENS, BINS = 48, 6, 12, 15
PROMPTS = ("In the beginning", "And the king said unto", "Behold now")
# What the engine's sums in 32 bits may differ by.
NATS = 2e-3


class SweepOracleTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = oracle.Llama(MODEL)
        cls.bos = json.loads((MODEL / "config.json").read_text())["bos_token_id"]
        layers = json.loads((MODEL / "config.json").read_text())["num_hidden_layers"]
        cls.skips = {text: oracle.parse_skip(text, layers) for text in SKIPS}
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.server = cls.enterClassContext(RunningServer(
            SERVER, f"--model={MODEL}", "--kv_memory=16MiB", "--log_level=warn"))
        cls.text = (MODEL / "valid.txt").read_text()[:2000]
        words = cls.text.split()
        cls.choices = [
            {"query": " ".join(words[i:i + 9]), "gold": i % 3,
             "choices": [" ".join(words[i + 9 + j:i + 10 + 3 * j]) for j in (1, 0, 2)]}
            for i in range(0, 9 * ITEMS, 9)]
        cls.last_words = [{"context": " ".join(words[i:i + 12]), "continuation": words[i + 12]}
                          for i in range(0, 12 * ITEMS, 12)]
        cls.rows = cls.sweep()

    @classmethod
    def run_skipstone(cls, command, *flags):
        done = subprocess.run([SKIPSTONE, command, f"--server={cls.server.grpc}", "--json", *flags],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @classmethod
    def ids(cls, text):
        """With the beginning-of-sequence token."""
        return cls.run_skipstone("tokenize", text)["ids"]

    @classmethod
    def sweep(cls):
        lines = lambda items: "".join(json.dumps(item) + "\n" for item in items)
        files = {"text": cls.text, "choices": lines(cls.choices),
                 "last_words": lines(cls.last_words), "prompts": "\n".join(PROMPTS)}
        for name, content in files.items():
            (cls.folder / name).write_text(content)
        report = cls.run_skipstone(
            "sweep", f"--skips={';'.join(SKIPS)}", f"--window={WINDOW}", f"--items={ITEMS}",
            f"--max_tokens={MAX_TOKENS}", "--speed_runs=1",
            *(f"--{name}={cls.folder / name}" for name in files))
        return {row["name"]: row for row in report["rows"]}

    def logprobs(self, ids, skip):
        return oracle.logprobs(self.model.forward(ids, self.skips[skip]))

    def windows(self):
        ids, step = self.ids(self.text)[1:], WINDOW - 1
        return [[self.bos] + ids[i * step:(i + 1) * step] for i in range(ITEMS)]

    def test_text(self):
        windows = self.windows()
        likeliest = {}
        for skip in SKIPS:
            rows = [self.logprobs(window, skip)[:-1] for window in windows]
            logp, targets = np.concatenate(rows), np.concatenate([w[1:] for w in windows])
            nll = -logp[np.arange(len(targets)), targets]
            likeliest[skip], confidence = logp.argmax(1), np.exp(logp.max(1))
            correct = likeliest[skip] == targets
            row = self.rows[skip]
            self.assertAlmostEqual(np.log(row["perplexity"]["value"]), nll.mean(), delta=NATS)
            agreement = (likeliest[skip] == likeliest["none"]).mean()
            # Two tokens may be equally likely but for rounding.
            self.assertAlmostEqual(row["agreement"]["value"], agreement, delta=1.5 / len(nll))
            self.assertAlmostEqual(row["brier"], ((confidence - correct) ** 2).mean(), delta=5e-3)
            bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
            error = sum(abs((correct - confidence)[bins == b].sum()) for b in range(BINS))
            self.assertAlmostEqual(row["calibration_error"], error / len(nll), delta=1e-2)
            self.check_interval(row["nll_change"], nll, windows, skip)

    def check_interval(self, interval, nll, windows, skip):
        """In pairs by window, with another generator."""
        if skip == "none":
            self.assertEqual(interval, {"value": 0, "low": 0, "high": 0})
            return
        full = [-self.logprobs(w, "none")[np.arange(WINDOW - 1), w[1:]] for w in windows]
        change = (nll.reshape(ITEMS, -1) - np.array(full)).mean(1)
        self.assertAlmostEqual(interval["value"], change.mean(), delta=NATS)
        draws = np.random.default_rng(1).integers(0, ITEMS, (20000, ITEMS))
        low, high = np.percentile(change[draws].mean(1), [2.5, 97.5])
        width = high - low
        self.assertAlmostEqual(interval["low"], low, delta=0.1 * width + NATS)
        self.assertAlmostEqual(interval["high"], high, delta=0.1 * width + NATS)

    def continuation(self, prompt, text, skip):
        """Log-probability of `text` behind `prompt`, and whether greedy decoding gives it."""
        before, whole = self.ids(prompt), self.ids(prompt + text)
        self.assertEqual(whole[:len(before)], before)
        logp = self.logprobs(whole, skip)[len(before) - 1:-1]
        rest = np.array(whole[len(before):])
        return logp[np.arange(len(rest)), rest].sum(), bool((logp.argmax(1) == rest).all())

    def test_choices(self):
        for skip in SKIPS:
            right = np.zeros(2)
            for item in self.choices:
                question = item["query"] + "\nAnswer:"
                scores = np.array([self.continuation(question, " " + choice, skip)[0]
                                   for choice in item["choices"]])
                lengths = np.array([len(choice) for choice in item["choices"]])
                right += [scores.argmax() == item["gold"],
                          (scores / lengths).argmax() == item["gold"]]
            accuracy, normalised = right / len(self.choices)
            self.assertEqual(self.rows[skip]["accuracy"], accuracy, skip)
            self.assertEqual(self.rows[skip]["accuracy_norm"], normalised, skip)

    def test_last_words(self):
        for skip in SKIPS:
            scored = [self.continuation(item["context"], " " + item["continuation"], skip)
                      for item in self.last_words]
            self.assertEqual(self.rows[skip]["last_words"], np.mean([hit for _, hit in scored]))
            self.assertAlmostEqual(np.log(self.rows[skip]["last_word_perplexity"]),
                                   -np.mean([logp for logp, _ in scored]), delta=10 * NATS)
        self.assertGreater(self.rows["none"]["last_words"], 0)

    def test_generation(self):
        greedy = {skip: [self.model.greedy(self.ids(prompt), MAX_TOKENS, self.skips[skip])
                         for prompt in PROMPTS] for skip in SKIPS}
        for skip in SKIPS:
            equal = np.array([[a == b for a, b in zip(ours, full)]
                              for ours, full in zip(greedy[skip], greedy["none"])])
            row = self.rows[skip]
            self.assertAlmostEqual(row["retention_prefix"]["value"],
                                   np.minimum.accumulate(equal, 1).mean(), places=9)
            nll, agrees = [], []
            for prompt, output in zip(PROMPTS, greedy[skip]):
                before = self.ids(prompt)
                logp = self.logprobs(before + output, "none")[len(before) - 1:-1]
                nll.append(-logp[np.arange(MAX_TOKENS), output].mean())
                agrees.append((logp.argmax(1) == output).mean())
            self.assertAlmostEqual(row["retention"]["value"], np.mean(agrees), places=9)
            self.assertAlmostEqual(np.log(row["generation_perplexity"]), np.mean(nll), delta=5e-3)

    def test_pages(self):
        self.assertEqual([self.rows[skip]["pages"] for skip in SKIPS], [1, 0.5, 0.25])


if __name__ == "__main__":
    unittest.main()
