#!/usr/bin/env python3
"""Quality of windowed attention layers: a float32 reference for Llama-architecture models.

Each attention sublayer is in one of three states:
  full         a row at position t sees every position p <= t;
  (W, sink)    it sees the positions p <= t with p < sink or t - p < W;
  skipped      the sublayer adds nothing, and neither its norm nor its projections run.
Positions are absolute in all of them: a window does not renumber what it keeps.

  windows_reference.py items MODEL EVAL ITEMS          choose what is scored, as token ids
  windows_reference.py run MODEL ITEMS RESULTS PLAN    score the rows of PLAN that RESULTS lacks
                                                       (first, sink, or the name of a task)
  windows_reference.py tables RESULTS                  print what RESULTS holds
  windows_reference.py attach ITEMS RESULTS            copy the per-item numbers into ITEMS
  windows_reference.py check MODEL ITEMS               test the forward pass against itself

MODEL is a Hugging Face directory (bf16 safetensors, tied embeddings); EVAL holds wikitext-2-raw/
and lambada_openai.jsonl. THREADS sets the number of threads (1).
"""
import json
import math
import os
import random
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

FULL, SKIPPED = "full", "skipped"


# --- The model -----------------------------------------------------------------------------------

def read_safetensors(path):
    """All tensors of a bf16 file, widened to float32."""
    data = np.memmap(path, dtype=np.uint8, mode="r")
    size = int.from_bytes(data[:8].tobytes(), "little")
    header = json.loads(data[8:8 + size].tobytes())
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        assert entry["dtype"] == "BF16", name
        begin, end = (8 + size + x for x in entry["data_offsets"])
        wide = np.frombuffer(data[begin:end].tobytes(), dtype=np.uint16).astype(np.uint32) << 16
        tensors[name] = torch.from_numpy(wide.view(np.float32).reshape(entry["shape"]))
    return tensors


def visible(state, queries, keys):
    """Boolean [queries, keys]: which key positions a row at each query position sees."""
    distance = queries[:, None] - keys[None, :]
    seen = distance >= 0
    if state != FULL:
        window, sink = state
        seen &= (distance < window) | (keys[None, :] < sink)
    return seen


class Model:
    def __init__(self, directory):
        config = json.loads((Path(directory) / "config.json").read_text())
        assert config["tie_word_embeddings"] and not config["rope_scaling"]
        self.layers = config["num_hidden_layers"]
        self.heads, self.kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self.head_dim, self.eps = config["head_dim"], config["rms_norm_eps"]
        steps = torch.arange(0, self.head_dim, 2, dtype=torch.float64) / self.head_dim
        self.frequencies = 1.0 / config["rope_theta"] ** steps
        self.weights = read_safetensors(Path(directory) / "model.safetensors")

    def weight(self, layer, name):
        return self.weights[f"model.layers.{layer}.{name}.weight"]

    def norm(self, rows, weight):
        return weight * (rows * torch.rsqrt(rows.square().mean(-1, keepdim=True) + self.eps))

    def rotate(self, x, positions):
        """Rotary embedding of x [heads, rows, head_dim]; a pair is (i, i + head_dim / 2)."""
        angle = positions.double()[:, None] * self.frequencies
        cos, sin = angle.cos().float(), angle.sin().float()
        low, high = x.chunk(2, -1)
        return torch.cat([low * cos - high * sin, high * cos + low * sin], -1)

    def attention(self, layer, state, rows, positions, queries):
        """Output of the sublayer for the rows at index `queries`; all rows give keys and values."""
        normed = self.norm(rows, self.weight(layer, "input_layernorm"))

        def project(name, heads, source):
            flat = F.linear(source, self.weight(layer, f"self_attn.{name}_proj"))
            return flat.view(len(source), heads, self.head_dim).transpose(0, 1)

        at = positions[queries]
        q = self.rotate(project("q", self.heads, normed[queries]), at)
        k = self.rotate(project("k", self.kv_heads, normed), positions)
        v = project("v", self.kv_heads, normed)
        group = self.heads // self.kv_heads
        mixed = F.scaled_dot_product_attention(
            q[None], k.repeat_interleave(group, 0)[None], v.repeat_interleave(group, 0)[None],
            attn_mask=visible(state, at, positions))[0]
        return F.linear(mixed.transpose(0, 1).flatten(1), self.weight(layer, "self_attn.o_proj"))

    def mlp(self, layer, rows):
        normed = self.norm(rows, self.weight(layer, "post_attention_layernorm"))
        gate = F.silu(F.linear(normed, self.weight(layer, "mlp.gate_proj")))
        return F.linear(gate * F.linear(normed, self.weight(layer, "mlp.up_proj")),
                        self.weight(layer, "mlp.down_proj"))

    def embed(self, ids):
        return self.weights["model.embed_tokens.weight"][torch.tensor(ids)]

    def run(self, rows, states, wanted=None, first=0, last=None):
        """Rows [T, hidden] that enter layer `first` -> the rows that leave layer `last - 1`.

        With `wanted` (positions) only those come back, and no row is computed that they do not need.
        """
        last = self.layers if last is None else last
        positions = torch.arange(len(rows))
        live = live_positions(states[first:last], len(rows), wanted)
        for layer, keep in zip(range(first, last), live):
            kept = torch.isin(positions, keep).nonzero()[:, 0]
            out = rows[kept]
            if states[layer] != SKIPPED:
                out = out + self.attention(layer, states[layer], rows, positions, kept)
            rows, positions = out + self.mlp(layer, out), positions[kept]
        return rows

    def log_probabilities(self, rows):
        normed = self.norm(rows, self.weights["model.norm.weight"])
        return F.log_softmax(F.linear(normed, self.weights["model.embed_tokens.weight"]), -1)


def live_positions(states, length, wanted):
    """For each layer, the positions at which its output is needed, given those wanted at the end."""
    everything = torch.arange(length)
    needed = everything if wanted is None else torch.tensor(sorted(set(wanted)))
    live = []
    for state in reversed(states):
        live.append(needed)
        if state != SKIPPED:
            needed = everything[visible(state, needed, everything).any(0)]
    return live[::-1]


# --- What is scored ------------------------------------------------------------------------------

PEOPLE = ("Anna", "Peter", "Maria", "David", "Laura", "James", "Emma", "Thomas", "Julia", "Robert")
WORDS = ("tiger", "river", "garden", "silver", "window", "mountain", "bridge", "candle", "dragon",
         "orange", "castle", "forest", "hammer", "island", "jacket", "kitchen", "lemon", "mirror",
         "needle", "ocean", "piano", "rabbit", "saddle", "table", "violin", "whale", "yellow",
         "butter", "circle", "desert", "engine", "feather", "guitar", "horse", "winter", "shadow",
         "paper", "rocket", "sugar", "tower")


def wikitext_windows(ids, count, length, of=32):
    """The first `count` of `of` windows that begin at equal steps over the text; no token is added."""
    step = (len(ids) - length - 1) // of
    return [{"ids": ids[i * step:i * step + length]} for i in range(count)]


def lambada_items(path, count, encode):
    with open(path) as lines:
        rows = [json.loads(line) for _, line in zip(range(count), lines)]
    return [{"context": encode(row["context"]), "target": encode(" " + row["continuation"].strip())}
            for row in rows]


def recall_items(ids, count, encode, seed=15):
    """A password told early, filler text, and the question for it.

    The sentence begins after 48 to 96 tokens, beyond any sink, and ends 500 to 900 tokens before the
    question, beyond any window that is measured. All ten words are one token each.
    """
    draw = random.Random(seed)
    words = [w for w in WORDS if len(encode(" " + w)) == 1]
    items = []
    for _ in range(count):
        person, choices = draw.choice(PEOPLE), draw.sample(words, 10)
        answer = draw.randrange(10)
        before, after = draw.randrange(48, 97), draw.randrange(500, 901)
        start = draw.randrange(len(ids) - before - after)
        key = encode(f"\nThe secret password of {person} is {choices[answer]}.\n")
        question = encode(f"\nThe secret password of {person} is")
        filler = ids[start:start + before + after]
        items.append({"context": filler[:before] + key + filler[before:] + question,
                      "key": [before, before + len(key)], "answer": answer,
                      "choices": [encode(" " + word) for word in choices]})
    return items


def choose_items(model_dir, eval_dir):
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(Path(model_dir) / "tokenizer.json"))
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    wiki = encode((Path(eval_dir) / "wikitext-2-raw" / "wiki.test.raw").read_text())
    return {"wiki512": wikitext_windows(wiki, 8, 512),
            "wiki2048": wikitext_windows(wiki, 3, 2048),
            "lambada": lambada_items(Path(eval_dir) / "lambada_openai.jsonl", 100, encode),
            "recall": recall_items(wiki, 60, encode)}


# --- Scores --------------------------------------------------------------------------------------

def sequence(item):
    """The ids that are run, and the positions whose predictions are scored (None: all)."""
    if "ids" in item:
        return item["ids"][:-1], None
    if "target" in item:
        ids = item["context"] + item["target"][:-1]
        return ids, list(range(len(item["context"]) - 1, len(ids)))
    return item["context"], [len(item["context"]) - 1]


def score(model, item, rows):
    """Per-item numbers from the scored rows of the last layer."""
    logp = model.log_probabilities(rows)
    if "ids" in item:
        target = torch.tensor(item["ids"][1:])
        return {"nll": -logp.gather(1, target[:, None]).double().mean().item()}
    if "target" in item:
        target = torch.tensor(item["target"])
        return {"hit": int((logp.argmax(1) == target).all()),
                "logp": logp.gather(1, target[:, None]).double().sum().item()}
    choices = logp[0, torch.tensor([c[0] for c in item["choices"]])]
    answer = item["answer"]
    return {"hit": int(choices.argmax() == answer), "logp": choices[answer].item(),
            "first": int(logp[0].argmax() == item["choices"][answer][0]),
            "choices": [round(x, 5) for x in choices.tolist()]}


def summary(task, per_item):
    mean = lambda name: sum(x[name] for x in per_item) / len(per_item)
    if task.startswith("wiki"):
        return {"ppl": math.exp(mean("nll"))}
    return {name: mean(name) for name in per_item[0] if name != "choices"}


def states_of(layers, count, state):
    return [FULL] * (layers - count) + [state] * count


class Runner:
    """Scores tasks; the rows that enter the first changed layer are computed once a depth."""

    def __init__(self, model, items, cache):
        self.model, self.items, self.cache = model, items, Path(cache)
        self.cache.mkdir(exist_ok=True)
        self.loaded = {}

    def lower(self, task, depths):
        missing = [d for d in depths if not (self.cache / f"{task}-{d}.pt").exists()]
        if not missing:
            return
        kept = {d: [] for d in missing}
        for item in self.items[task]:
            rows, at = self.model.embed(sequence(item)[0]), 0
            for depth in sorted(missing):
                rows = self.model.run(rows, [FULL] * self.model.layers, None, at, depth)
                kept[depth].append(rows)
                at = depth
        for depth, rows in kept.items():
            torch.save(rows, self.cache / f"{task}-{depth}.pt")

    def entering(self, task, depth):
        if (task, depth) not in self.loaded:
            self.loaded = {(task, depth): torch.load(self.cache / f"{task}-{depth}.pt")}
        return self.loaded[task, depth]

    def evaluate(self, task, count, state, depths):
        self.lower(task, depths)
        depth = self.model.layers - count if count else max(depths)
        states = states_of(self.model.layers, count, state)
        per_item = []
        for item, rows in zip(self.items[task], self.entering(task, depth)):
            out = self.model.run(rows, states, sequence(item)[1], depth)
            per_item.append(score(self.model, item, out))
        return per_item


def name_of(count, state):
    if count == 0:
        return "full"
    return f"last={count}/" + ("skip" if state == SKIPPED else f"{state[0]}+{state[1]}")


FIRST = [(0, FULL), (8, SKIPPED), (8, (64, 1)), (8, (64, 0)), (8, (16, 1)), (15, SKIPPED),
         (15, (64, 1)), (15, (16, 1))]
SINKS = [(k, (w, s)) for w in (64, 32, 16) for k in (8, 15) for s in (1, 16, 4, 8)] + \
        [(k, (80, 1)) for k in (8, 15)]            # as many positions as 64 + 16
GRID = [(0, FULL)] + [(k, SKIPPED) for k in (8, 11, 15)] + \
       [(k, (w, s)) for s in (16, 1) for w in (64, 128, 32, 256) for k in (8, 15, 11)]
PLANS = {"first": [(t, c) for c in FIRST for t in ("wiki512", "lambada")],
         "sink": [(t, c) for t in ("wiki512", "lambada") for c in SINKS],
         **{task: [(task, c) for c in GRID] for task in ("wiki512", "wiki2048", "lambada", "recall")}}
DEPTHS = (15, 19, 22)


def run_plan(model_dir, items_path, results, plan):
    items = json.loads(Path(items_path).read_text())["items"]
    done = set()
    if Path(results).exists():
        done = {(r["task"], r["name"]) for r in map(json.loads, open(results))}
    runner = Runner(Model(model_dir), items, Path(results).parent / "cache")
    for task, (count, state) in PLANS[plan]:
        name = name_of(count, state)
        if (task, name) in done:
            continue
        done.add((task, name))
        begin = time.time()
        per_item = runner.evaluate(task, count, state, DEPTHS)
        window, sink = state if isinstance(state, tuple) else (None, None)
        row = {"task": task, "name": name, "last": count, "window": window, "sink": sink,
               **summary(task, per_item), "seconds": round(time.time() - begin, 1), "items": per_item}
        with open(results, "a") as out:
            out.write(json.dumps(row) + "\n")
        print({k: v for k, v in row.items() if k != "items"}, flush=True)


# --- Reports -------------------------------------------------------------------------------------

def tables(results):
    rows, tasks = {}, []
    for row in map(json.loads, open(results)):
        rows.setdefault((row["last"], row["window"] or 0, row["sink"] or 0, row["name"]), {})[row["task"]] = row
        tasks += [row["task"]] if row["task"] not in tasks else []
    cell = lambda r: "" if r is None else f"{r['ppl']:.2f}" if "ppl" in r else \
        f"{sum(x['hit'] for x in r['items'])}/{len(r['items'])} ({r['logp']:.2f})"
    print("| set | " + " | ".join(tasks) + " |\n|" + " --- |" * (len(tasks) + 1))
    for key in sorted(rows):
        print(f"| {key[3]} | " + " | ".join(cell(rows[key].get(t)) for t in tasks) + " |")


def attach(items_path, results):
    data = json.loads(Path(items_path).read_text())
    data["reference"] = {}
    for row in map(json.loads, open(results)):
        data["reference"].setdefault(row["task"], {})[row["name"]] = row["items"]
    Path(items_path).write_text(json.dumps(data))


def check(model_dir, items_path):
    """Rows left out change nothing; a window as long as the text is full attention."""
    model = Model(model_dir)
    ids = json.loads(Path(items_path).read_text())["items"]["wiki512"][0]["ids"][:200]
    wanted = [150, 198, 199]
    rows = model.embed(ids)
    for state in ((16, 1), (16, 16), (24, 0), SKIPPED, FULL):
        states = states_of(model.layers, 8, state)
        whole = model.run(rows, states)
        part = model.run(rows, states, wanted)
        print(name_of(8, state), "largest difference", (whole[wanted] - part).abs().max().item())
        assert torch.allclose(whole[wanted], part, rtol=1e-3, atol=1e-3)
    full = model.run(rows, [FULL] * model.layers)
    wide = model.run(rows, [(200, 0)] * model.layers)
    assert torch.equal(full, wide)


def main():
    torch.set_num_threads(int(os.environ.get("THREADS", "1")))
    torch.set_grad_enabled(False)
    command, *rest = sys.argv[1:]
    if command == "items":
        model_dir, eval_dir, path = rest
        Path(path).write_text(json.dumps({"items": choose_items(model_dir, eval_dir)}))
    else:
        {"run": run_plan, "tables": tables, "attach": attach, "check": check}[command](*rest)


if __name__ == "__main__":
    main()
