#!/usr/bin/env python3
"""Trains the bias and diagonal maps of a levels file by distillation.

  distill.py MODEL LEVELS OUT --text FILE [--level NAME ...] [--steps 300]

skipstone-calibrate fits maps to states, which restores averages. This trains the same numbers so
that the level's distribution of the next token comes near the full model's: Adam on the mean
KL(full || level) over rows of windows of the text, in float32. The model's weights stay as they
are.

MODEL   a Hugging Face folder of a Llama model (safetensors)
LEVELS  a levels file; its maps are the start, be they zero
OUT     the levels file to write, its maps beside it. Trained levels lose the quality measured for
        the old maps: measure them again (skipstone sweep), and keep them only if they are better.

Equal arguments give equal files at the same --threads. Needs torch, numpy and PyYAML; tokenizers
too, unless --ids gives token ids. Not part of the product.
"""
import argparse
import json
import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
import yaml

SINK = 16  # positions that a windowed row always sees (SEMANTICS 9b)
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def read_safetensors(path):
    """Tensors by name, as float32."""
    data = np.fromfile(path, dtype=np.uint8)
    size = int(data[:8].view(np.uint64)[0])
    header = json.loads(data[8:8 + size].tobytes())
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + size + at for at in entry["data_offsets"])
        flat = torch.from_numpy(data[begin:end].copy()).view(DTYPES[entry["dtype"]])
        tensors[name] = flat.view(entry["shape"]).float()
    return tensors


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name, tensor in sorted(tensors.items()):
        header[name] = {"dtype": "F32", "shape": list(tensor.shape),
                        "data_offsets": [at, at + 4 * tensor.numel()]}
        at += 4 * tensor.numel()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for name in sorted(tensors):
            out.write(tensors[name].detach().contiguous().numpy().tobytes())


def parse_skip(text):
    """(skipped attention layers, skipped MLP layers, window by layer) of a canonical skip text."""
    attention, mlp, windows = set(), set(), {}
    for term in text.split("@")[0].split("+"):
        if term == "none":
            continue
        kind, items = term.split(":")
        for item in items.split(","):
            layers, _, window = item.partition("/")
            first, _, last = layers.partition("-")
            layers = range(int(first), int(last or first) + 1)
            if kind == "win":
                windows.update({layer: int(window) for layer in layers})
            else:
                {"attn": attention, "mlp": mlp}[kind].update(layers)
    return attention, mlp, windows


class Level:
    """What is skipped, and the maps that stand in for it."""

    def __init__(self, skip="none", tensors=None):
        self.attention, self.mlp, self.windows = parse_skip(skip)
        self.tensors = tensors or {}  # (layer, "attention" or "mlp", "bias" or "scale") -> [hidden]

    def first_layer(self):
        """The first that differs from the full model's."""
        return min(self.attention | self.mlp | set(self.windows))

    def map(self, layer, sublayer, normed):
        out = 0
        if (layer, sublayer, "scale") in self.tensors:
            out = normed * self.tensors[layer, sublayer, "scale"]
        if (layer, sublayer, "bias") in self.tensors:
            out = out + self.tensors[layer, sublayer, "bias"]
        return out


class Llama:
    def __init__(self, folder):
        config = json.loads((folder / "config.json").read_text())
        self.layers, self.eps = config["num_hidden_layers"], config["rms_norm_eps"]
        self.heads = config["num_attention_heads"]
        self.kv_heads = config.get("num_key_value_heads") or self.heads
        self.head_dim = config.get("head_dim") or config["hidden_size"] // self.heads
        self.vocab = config["vocab_size"]
        steps = torch.arange(0, self.head_dim, 2, dtype=torch.float64) / self.head_dim
        self.frequencies = float(config.get("rope_theta", 10000.0)) ** -steps
        self.weights = {}
        for path in sorted(folder.glob("*.safetensors")):
            self.weights.update(read_safetensors(path))
        self.embedding = self.weights["model.embed_tokens.weight"]
        self.head = self.weights.get("lm_head.weight", self.embedding)

    def norm(self, x, name):
        return F.rms_norm(x, (x.shape[-1],), self.weights[name + ".weight"], self.eps)

    def project(self, x, layer, name):
        return F.linear(x, self.weights[f"model.layers.{layer}.{name}_proj.weight"])

    def attention(self, x, layer, window):
        """x: normed, [windows, rows, hidden]."""
        rows = x.shape[1]
        position = torch.arange(rows)
        angle = position[:, None] * self.frequencies
        cos, sin = angle.cos().float(), angle.sin().float()

        def heads(name, count, rotate):
            y = self.project(x, layer, "self_attn." + name)
            y = y.view(-1, rows, count, self.head_dim).transpose(1, 2)
            if rotate:  # pairs are (i, i + head_dim / 2)
                low, high = y.chunk(2, -1)
                y = torch.cat([low * cos - high * sin, high * cos + low * sin], -1)
            return y.repeat_interleave(self.heads // count, 1)

        distance = position[:, None] - position
        seen = distance >= 0
        if window is not None:
            seen &= (distance < window) | (position < SINK)
        out = F.scaled_dot_product_attention(
            heads("q", self.heads, True), heads("k", self.kv_heads, True),
            heads("v", self.kv_heads, False), attn_mask=seen)
        return self.project(out.transpose(1, 2).flatten(2), layer, "self_attn.o")

    def run(self, x, level, first, last):
        """The residual [windows, rows, hidden] before layer `first` -> before layer `last`."""
        for layer in range(first, last):
            name = f"model.layers.{layer}."
            normed = self.norm(x, name + "input_layernorm")
            if layer in level.attention:
                x = x + level.map(layer, "attention", normed)
            else:
                x = x + self.attention(normed, layer, level.windows.get(layer))
            normed = self.norm(x, name + "post_attention_layernorm")
            if layer in level.mlp:
                x = x + level.map(layer, "mlp", normed)
            else:
                gate = F.silu(self.project(normed, layer, "mlp.gate"))
                gated = gate * self.project(normed, layer, "mlp.up")
                x = x + self.project(gated, layer, "mlp.down")
        return x

    def log_probabilities(self, x):
        return F.log_softmax(F.linear(self.norm(x, "model.norm"), self.head), -1)


class Teacher:
    """The full model's states of windows where the level departs from it and before the head."""

    def __init__(self, model, level, windows):
        full, first = Level(), level.first_layer()
        self.shared, self.final = [], []
        with torch.no_grad():
            for ids in windows:
                self.shared.append(model.run(model.embedding[ids[None]], full, 0, first))
                self.final.append(model.run(self.shared[-1], full, first, model.layers))

    def kl(self, model, level, picks, rows=slice(None)):
        """Mean KL(full || level) over these rows of these windows, in nats."""
        state = torch.cat([self.shared[i] for i in picks])
        final = torch.cat([self.final[i] for i in picks])[:, rows]
        first = level.first_layer()
        if level.attention.issuperset(range(first, model.layers)):  # no row looks at others there
            state = model.run(state[:, rows], level, first, model.layers)
        else:
            state = model.run(state, level, first, model.layers)[:, rows]
        with torch.no_grad():
            p = model.log_probabilities(final)
        q = model.log_probabilities(state)
        return F.kl_div(q, p, log_target=True, reduction="sum") / (q.shape[0] * q.shape[1])


def train(model, level, windows, held_out, options):
    teacher, judge = Teacher(model, level, windows), Teacher(model, level, held_out)
    parameters = [tensor.requires_grad_() for tensor in level.tensors.values()]
    optimizer = torch.optim.Adam(parameters, lr=options.lr, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / options.steps)))
    draw = torch.Generator().manual_seed(options.seed)

    def report(step):
        with torch.no_grad():
            mean = sum(float(judge.kl(model, level, [i])) for i in range(len(held_out)))
        print(f"  step {step}: KL {mean / len(held_out):.4f} nats on held-out windows", flush=True)

    report(0)
    for step in range(1, options.steps + 1):
        picks = torch.randint(len(windows), (options.batch,), generator=draw)
        rows = torch.randperm(options.window, generator=draw)[:options.rows]
        optimizer.zero_grad()
        teacher.kl(model, level, picks, rows).backward()
        optimizer.step()
        schedule.step()
        if step % options.report == 0 or step == options.steps:
            report(step)


def read_ids(options):
    if options.ids:
        return [int(word) for word in options.ids.read_text().split()]
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(options.model / "tokenizer.json"))
    return tokenizer.encode(options.text.read_text(), add_special_tokens=False).ids


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "levels", "out"):
        parser.add_argument(name, type=pathlib.Path)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--text", type=pathlib.Path)
    source.add_argument("--ids", type=pathlib.Path, help="token ids between white space")
    parser.add_argument("--level", action="append", help="to be trained; default: all with maps")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=2, help="windows of a step")
    parser.add_argument("--rows", type=int, default=64, help="of each window in a step")
    parser.add_argument("--window", type=int, default=256, help="tokens")
    parser.add_argument("--windows", type=int, default=64, help="evenly spread over the text")
    parser.add_argument("--held_out", type=int, default=8, help="windows, the last of the text")
    parser.add_argument("--report", type=int, default=50, help="steps between measurements")
    parser.add_argument("--lr", type=float, default=0.02, help="at first; falls to 0")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def distill_level(model, entry, maps, windows, held_out, options):
    """Trains the maps of one level of the file in place, if they are vectors."""
    prefix = entry["name"] + ".layers."
    names = [name for name in maps if name.startswith(prefix)]
    parts = [name[len(prefix):].split(".") for name in names]
    if not parts or any(part not in ("bias", "scale") for _, _, part in parts):
        print(f"{entry['name']}: left as it is, it has no bias or diagonal maps")
        return
    tensors = {(int(layer), sublayer, part): maps[name][0].clone()
               for name, (layer, sublayer, part) in zip(names, parts)}
    print(f"{entry['name']}: {entry['skip']}, {len(tensors)} vectors")
    train(model, Level(entry["skip"], tensors), windows, held_out, options)
    for name, tensor in zip(names, tensors.values()):
        maps[name] = tensor.detach()[None]
    entry["skip"] = entry["skip"].split("@")[0]  # the hash was of the old maps
    entry.pop("quality", None)


def main():
    options = parse_options()
    torch.set_num_threads(options.threads)
    # Scalars as text: a fingerprint of digits must stay what it is.
    file = yaml.load(options.levels.read_text(), yaml.BaseLoader)
    maps = read_safetensors(options.levels.parent / file["maps"])
    model = Llama(options.model)
    ids = torch.tensor(read_ids(options))
    ids = ids[:len(ids) // options.window * options.window].view(-1, options.window)
    if len(ids) < options.windows + options.held_out:
        raise SystemExit(f"the text has {len(ids)} windows, {options.windows} for training and "
                         f"{options.held_out} held out are wanted")
    if ids.max() >= model.vocab or ids.min() < 0:
        raise SystemExit("a token id is not of the model's vocabulary")
    places = torch.arange(options.windows) * (len(ids) - options.held_out) // options.windows
    windows, held_out = ids[places], ids[len(ids) - options.held_out:]
    known = [entry["name"] for entry in file["levels"]]
    for name in options.level or []:
        if name not in known:
            raise SystemExit(f"there is no level {name}; there are {', '.join(known)}")
    for entry in file["levels"]:
        if not options.level or entry["name"] in options.level:
            distill_level(model, entry, maps, windows, held_out, options)
    file["maps"] = options.out.stem + ".safetensors"
    write_safetensors(options.out.parent / file["maps"], maps)
    options.out.write_text(yaml.safe_dump(file, sort_keys=False, default_flow_style=None))


if __name__ == "__main__":
    main()
