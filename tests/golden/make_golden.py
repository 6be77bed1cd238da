#!/usr/bin/env python3
"""Writes the golden outputs of llama_reference.py (float64), all files or those that are named:

    python3 tests/golden/make_golden.py [demo.json ...]

No case is written that a wrong window or sink, or a missing map, would pass.
"""
import json
import pathlib
import sys

import numpy as np
import sentencepiece

from llama_reference import SINK_TOKENS, Llama, logprobs

FOLDER = pathlib.Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]

# f32 may order two logits otherwise that are as close; a continuation ends before.
NEAR_TIE = 2e-3
# What a wrong mask or a missing map must change at least of a log-probability: several times what the tests allow.
TELLING = 5e-3

# Of valid.txt beside the demo model.
CHAPTERS = ["Matthew 15", "Proverbs 20", "Psalms 96", "Isaiah 6", "John 21", "Luke 8", "Isaiah 43",
            "Romans 9"]


class Writer:
    def __init__(self, model):
        self.name = model
        synthetic = model.startswith("synthetic:")
        self.model = Llama(model if synthetic else ROOT / model)
        self.text = None if synthetic else sentencepiece.SentencePieceProcessor(
            model_file=str(ROOT / model / "tokenizer.model"))
        self.cases, self.long_prompts = [], 0

    def add_text(self, skip, text, tokens):
        """A case whose prompt is the text."""
        ids = [self.model.c["bos_token_id"]] + self.text.encode(text)
        if not self.add(skip, text, ids, tokens): sys.exit("take another text")

    def add_long(self, spec, more, tokens):
        """A case whose prompt has the sink, three windows and some more, of the first long prompt
        that will do."""
        width = max(self.model.parse(spec).windows.values(), default=16)
        for _ in CHAPTERS:
            prompt = self.long_prompt(SINK_TOKENS + 3 * width + more)
            if self.add(spec, *prompt, tokens): return
        sys.exit("no long prompt will do")

    def long_prompt(self, tokens):
        """Another one at each call: the beginning of a chapter of valid.txt, or random numbers."""
        n = self.long_prompts
        self.long_prompts += 1
        if not self.text:
            ids = np.random.RandomState(n).randint(0, self.model.c["vocab_size"], tokens)
            return f"{tokens} random tokens", ids.tolist()
        chapter = CHAPTERS[n % len(CHAPTERS)]
        text = (ROOT / self.name / "valid.txt").read_text()
        ids = self.text.encode(text[text.index(chapter + "\n"):])[:tokens - 1]
        return f"{chapter}, {tokens} tokens", [self.model.c["bos_token_id"]] + ids

    def add(self, spec, name, prompt, tokens):
        """Adds a case, or returns false: a near tie comes early, or a wrong set would pass."""
        skip = self.model.parse(spec)
        output, gap = self.greedy(prompt, skip, tokens)
        if len(output) < tokens // 2: return False
        targets, logits = self.score(prompt + output, skip)
        first = len(prompt) - 1
        change = self.least_change(prompt + output, skip, targets, first)
        print(f"{spec:35} {name:29} {len(output):3} tokens, gap {gap:.4f}",
              f"a wrong set changes {change:.4f}" if skip.windows or skip.maps else "", flush=True)
        if change < TELLING: return False
        likeliest = np.argsort(-logits[first])[:10].tolist()
        self.cases.append({
            "skip": spec, "prompt": name, "prompt_ids": prompt,
            "prompt_logprobs": rounded(targets[:first]),
            "first_token_top10": list(zip(likeliest, rounded(logprobs(logits[first])[likeliest]))),
            "greedy_ids": output, "greedy_logprobs": rounded(targets[first:]),
            "min_top2_logit_gap": round(gap, 6),
            "text": self.text.decode(output) if self.text else "".join(f" {t}" for t in output)})
        return True

    def greedy(self, prompt, skip, tokens):
        """-> up to so many likeliest tokens; the least gap between the two largest logits."""
        ids, least = list(prompt), float("inf")
        while len(ids) < len(prompt) + tokens:
            logits = self.model.forward(ids, skip)[-1]
            second, first = np.sort(logits)[-2:]
            if first - second < NEAR_TIE: break
            least = min(least, float(first - second))
            ids.append(int(logits.argmax()))
        return ids[len(prompt):], least

    def score(self, ids, skip):
        """-> log-probabilities of ids[1:], the logits they are of."""
        logits = self.model.forward(ids[:-1], skip)
        return logprobs(logits)[np.arange(len(ids) - 1), ids[1:]], logits

    def least_change(self, ids, skip, right, first):
        """What the least of the wrong sets changes of the continuation's log-probabilities."""
        changes = [float("inf")]
        for wrong_skip, self.model.sink in wrong_sets(skip):
            wrong, _ = self.score(ids, wrong_skip)
            changes.append(np.abs(wrong - right)[first:].max())
        self.model.sink = SINK_TOKENS
        return min(changes)

    def write(self, path):
        head = {"model": self.name, "layers": self.model.layers, "sink_tokens": SINK_TOKENS,
                "arithmetic": "float64", "generated_by": "tests/golden/make_golden.py"}
        body = ",\n".join("  " + json.dumps(c, ensure_ascii=False) for c in self.cases)
        path.write_text(json.dumps(head)[:-1] + ', "cases": [\n' + body + "\n]}\n")
        print(f"{path.name}: {len(self.cases)} cases, {path.stat().st_size} bytes")


def wrong_sets(skip):
    """(skip, sink) that a test must not pass: off by one, one layer without its window, one
    sublayer without its map."""
    for at in skip.maps:
        yield skip._replace(maps={a: m for a, m in skip.maps.items() if a != at}), SINK_TOKENS
    if not skip.windows: return
    for d in (-1, 1):
        windows = {layer: window + d for layer, window in skip.windows.items()}
        yield skip._replace(windows=windows), SINK_TOKENS
    for sink in (0, SINK_TOKENS - 1, SINK_TOKENS + 1):
        yield skip, sink
    for layer in skip.windows:
        windows = {l: w for l, w in skip.windows.items() if l != layer}
        yield skip._replace(windows=windows), SINK_TOKENS


def rounded(values):
    return [round(float(v), 6) for v in values]


def write_demo(path):
    """12 layers, GQA, bf16."""
    w = Writer("models/demo")
    for skip in ("none", "attn:last=1", "attn:last=6", "attn:last=6,keep-final", "attn:1-6",
                 "mlp:last=1", "block:last=1", "attn:1,11+mlp:2"):
        for text in ("And the LORD spake unto Moses", "In the beginning God created",
                     "The wise man"):
            w.add_text(skip, text, 48)
    w.add_text("win:last=50%/16", "The wise man", SINK_TOKENS + 44)  # its window moves in decode
    w.add_long("win:last=4/16", 37, 32)
    w.add_long("win:last=33%/64", 40, 32)
    w.add_long("win:last=50%/24", 24, 32)
    w.add_long("win:0-11/16", 17, 32)
    w.add_long("win:0-11/64", 25, 32)
    w.add_long("win:2-5/16", 33, 32)                # below full layers
    w.add_long("win:3/24,9-11/16", 11, 32)          # below the last full one, and above
    w.add_long("win:6-8/64,9-11/16", 32, 32)        # wide below narrow
    w.add_long("win:6-8/16,9-11/64", 16, 32)        # narrow below wide
    w.add_long("win:0/16,2/64,4/24,6/16,8/64,10/24", 22, 32)
    w.add_long("attn:last=2+win:7-9/16", 26, 32)
    w.add_long("attn:8,10+win:4/16,9/24,11/16", 16, 32)
    w.add_long("win:last=4/16+mlp:8,10", 24, 32)
    w.add_long("attn:6-11+win:0-5/24+mlp:11", 32, 32)
    w.write(path)


def write_gqa(path):
    """Four heads to one of K and V, f32."""
    w = Writer("synthetic:layers=6,hidden=64,heads=8,kv_heads=2,ffn=96,vocab=128,context=512,"
               "type=f32")
    for skip in ("none", "attn:last=2", "win:last=2/16", "win:last=50%/64", "win:0-5/24",
                 "win:1-2/16", "win:1/16,3/64,5/24", "attn:5+win:3-4/16+mlp:4"):
        w.add_long(skip, 21, 24)
    w.write(path)


def write_mha(path):
    """A head of K and V to each, f16."""
    w = Writer("synthetic:layers=5,hidden=96,heads=3,ffn=160,vocab=200,context=512,type=f16")
    for skip in ("none", "block:last=1", "win:last=2/64", "win:0-4/16", "win:0-2/24",
                 "win:2/64,3/24,4/16", "attn:3+win:2/16,4/24+mlp:0"):
        w.add_long(skip, 36, 24)
    w.write(path)


def write_compensated(path):
    """The demo model with maps in place of what is skipped."""
    w = Writer("models/demo")
    w.add_text("attn:last=3@bias", "And the LORD spake unto Moses", 16)
    w.add_text("attn:last=50%@diag", "In the beginning God created", 16)
    w.add_text("attn:last=3@rank=3,rank=1,full", "The wise man", 16)
    w.add_text("attn:1,4+mlp:2@diag,full,rank=2", "In the beginning God created", 16)
    w.add_text("block:last=2@bias,diag,-,diag", "And the LORD spake unto Moses", 16)
    w.add_text("attn:0-11@diag", "The wise man", 16)
    w.add_long("attn:1,9-11+win:6-7/16+mlp:4@diag,bias,rank=4", 12, 16)
    w.write(path)


FILES = {"demo.json": write_demo, "synthetic_gqa.json": write_gqa, "synthetic_mha.json": write_mha,
         "compensated.json": write_compensated}

if __name__ == "__main__":
    for file in sys.argv[1:] or FILES:
        FILES[file](FOLDER / file)
