#!/usr/bin/env python3
"""Independent NumPy reference of Llama 2 with skipped and windowed sublayers, and maps in place of
skipped ones: the oracle for golden outputs.

    llama_reference.py MODEL_DIR --skip "attn:last=3" --prompt "In the beginning" --greedy 32
    llama_reference.py MODEL_DIR --skip "attn:last=3+win:4-8/64" --score FILE.txt

MODEL_DIR holds config.json, *.safetensors, tokenizer.model (Hugging Face layout). As a module it
takes a "synthetic:..." model of the engine, too.
Written for clarity, not speed: one sequence, no KV cache, all arithmetic in float64 by default.
Needs numpy and sentencepiece.  Skip grammar: engine/SEMANTICS.md.
"""
import argparse, json, math, pathlib, re, struct, typing
import numpy as np
import synthetic_model

NP = {"F64": np.float64, "F32": np.float32, "F16": np.float16}

def load_safetensors(path, dtype):
    raw = path.read_bytes()
    (n,) = struct.unpack_from("<Q", raw)
    head = json.loads(raw[8:8 + n]); out = {}
    for name, t in head.items():
        if name == "__metadata__": continue
        b, e = t["data_offsets"]; buf = raw[8 + n + b:8 + n + e]
        if t["dtype"] == "BF16":
            a = (np.frombuffer(buf, np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            a = np.frombuffer(buf, NP[t["dtype"]])
        out[name] = a.reshape(t["shape"]).astype(dtype)
    return out

# A windowed layer sees the first so many positions and its window (engine/SEMANTICS.md, 9).
SINK_TOKENS = 16
WINDOW_UNIT, MIN_WINDOW = 8, 16

class Map(typing.NamedTuple):
    """Stands in for a skipped sublayer: up (down n) + scale * n + bias of its normed input n."""
    bias: typing.Any = 0    # [hidden]
    scale: typing.Any = 0   # [hidden]
    down: typing.Any = None # [rank, hidden]; without it `up` is [hidden, hidden]
    up: typing.Any = None   # [hidden, rank]

    def __call__(self, n):  # [T, hidden] -> [T, hidden]
        y = n * self.scale + self.bias
        if self.up is None: return y
        return y + (n if self.down is None else n @ self.down.T) @ self.up.T

class Skip(typing.NamedTuple):
    attention: frozenset = frozenset()  # layers whose attention is skipped
    mlp: frozenset = frozenset()        # layers whose MLP is skipped
    windows: dict = {}                  # layer -> W, how many last positions it sees
    maps: dict = {}                     # ("attn" or "mlp", layer), which is skipped -> Map

def parse_layers(item, layers, end):
    """Layers of one item; `last=` counts from `end` down."""
    if item.startswith("last="):
        v = item[5:]
        last = math.floor(layers * float(v[:-1]) / 100 + 0.5) if v.endswith("%") else int(v)
        if last > end: raise ValueError("last exceeds the layers available")
        return set(range(end - last, end))
    m = re.fullmatch(r"(\d+)(?:-(\d+))?", item)
    if not m: raise ValueError(f"bad item {item!r}")
    first, last = int(m[1]), int(m[2] or m[1])
    if not first <= last < layers: raise ValueError("layer out of range")
    return set(range(first, last + 1))

def add_windows(windows, items, layers):
    """Adds the items of a `win` term, each with its own W, to {layer: W}."""
    for item in items:
        where, slash, width = item.partition("/")
        if not slash or not width.isdigit(): raise ValueError(f"{item!r} has no window")
        if int(width) < MIN_WINDOW or int(width) % WINDOW_UNIT:
            raise ValueError(f"bad window {width}")
        chosen = parse_layers(where, layers, layers)
        if not chosen: raise ValueError(f"{item!r} windows no layer")
        if chosen & windows.keys(): raise ValueError("a layer has two windows")
        windows.update(dict.fromkeys(chosen, int(width)))

def parse_skip(text, layers):
    """-> Skip; ValueError for what the engine refuses, too."""
    attn, mlp, windows = set(), set(), {}
    for term in filter(None, (t.strip() for t in text.split("+"))):
        if term == "none": continue
        kind, _, spec = term.partition(":"); items = spec.split(",")
        if kind == "win":
            add_windows(windows, items, layers); continue
        if kind not in ("attn", "mlp", "block"): raise ValueError(f"unknown sublayer {kind!r}")
        end = layers
        if "keep-final" in items:
            if "last=" not in spec: raise ValueError("keep-final goes with last=")
            items.remove("keep-final"); end -= 1
        chosen = set().union(*(parse_layers(i, layers, end) for i in items))
        if kind in ("attn", "block"): attn |= chosen
        if kind in ("mlp", "block"): mlp |= chosen
    if attn & windows.keys(): raise ValueError("a layer is both skipped and windowed")
    return Skip(frozenset(attn), frozenset(mlp), windows)

def parse_level(text, layers, hidden):
    """A skip, and behind an '@' the forms of the maps of what it skips, in turn, attention first:
    "bias", "diag", "rank=R", "full", or "-" for none. Their numbers are those of the goldens."""
    spec, _, forms = text.partition("@")
    skip = parse_skip(spec, layers)
    if not forms: return skip
    forms, maps = forms.split(","), {}
    skipped = [("attn", l) for l in sorted(skip.attention)] + [("mlp", l) for l in sorted(skip.mlp)]
    for i, at in enumerate(skipped):
        form = forms[i % len(forms)]
        if form == "-": continue
        tensors = synthetic_model.map_tensors(*at, form, hidden)
        maps[at] = Map(**{name: t.astype(np.float64) if name in ("down", "up") else
                          t[0].astype(np.float64) for name, t in tensors.items()})
    return skip._replace(maps=maps)

def visible(T, window, sink=SINK_TOKENS):
    """[T, T]: whether the row at position t sees position p; window 0: all up to its own."""
    t, p = np.arange(T)[:, None], np.arange(T)[None]
    return (p <= t) & ((window == 0) | (p < sink) | (t - p < window))

class Llama:
    def __init__(self, model_dir, dtype=np.float64):
        if str(model_dir).startswith("synthetic:"):
            self.c, self.w = synthetic_model.load(str(model_dir), dtype)
        else:
            d = pathlib.Path(model_dir)
            self.c = json.loads((d / "config.json").read_text()); self.w = {}
            for f in sorted(d.glob("*.safetensors")): self.w.update(load_safetensors(f, dtype))
        c = self.c; self.sink = SINK_TOKENS
        self.layers = c["num_hidden_layers"]; self.H = c["num_attention_heads"]
        self.KV = c.get("num_key_value_heads") or self.H
        self.hd = c.get("head_dim") or c["hidden_size"] // self.H
        self.eps = c["rms_norm_eps"]; self.theta = c.get("rope_theta", 10000.0); self.dtype = dtype
        self.head = self.w["model.embed_tokens.weight"] if c.get("tie_word_embeddings") else self.w["lm_head.weight"]

    def parse(self, text): return parse_level(text, self.layers, self.c["hidden_size"])

    def norm(self, x, w): return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.eps) * w

    def rope(self, x, pos):                       # x [T, heads, hd], rotate-half pairing (i, i + hd/2)
        half = self.hd // 2
        ang = pos[:, None] * self.theta ** (-np.arange(half) * 2.0 / self.hd)
        c, s = np.cos(ang)[:, None].astype(self.dtype), np.sin(ang)[:, None].astype(self.dtype)
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * c - b * s, b * c + a * s], -1)

    def forward(self, ids, skip=Skip(), layers_out=None):
        """ids [T] -> logits [T, vocab]."""
        W = self.w; T = len(ids); pos = np.arange(T); rep = self.H // self.KV
        h = W["model.embed_tokens.weight"][np.asarray(ids)]
        masks = {window: np.where(visible(T, window, self.sink), 0, -np.inf)
                 for window in {0, *skip.windows.values()}}
        for l in range(self.layers):
            p = f"model.layers.{l}."
            if l not in skip.attention:
                n = self.norm(h, W[p + "input_layernorm.weight"])
                q = self.rope((n @ W[p + "self_attn.q_proj.weight"].T).reshape(T, self.H, self.hd), pos)
                k = self.rope((n @ W[p + "self_attn.k_proj.weight"].T).reshape(T, self.KV, self.hd), pos)
                v = (n @ W[p + "self_attn.v_proj.weight"].T).reshape(T, self.KV, self.hd)
                k, v = np.repeat(k, rep, 1), np.repeat(v, rep, 1)
                q, k, v = (np.swapaxes(a, 0, 1) for a in (q, k, v))                # [heads, T, hd]
                s = q @ np.swapaxes(k, 1, 2) / math.sqrt(self.hd) + masks[skip.windows.get(l, 0)]
                s = np.exp(s - s.max(-1, keepdims=True)); s /= s.sum(-1, keepdims=True)
                h = h + np.swapaxes(s @ v, 0, 1).reshape(T, -1) @ W[p + "self_attn.o_proj.weight"].T
            elif ("attn", l) in skip.maps:
                h = h + skip.maps["attn", l](self.norm(h, W[p + "input_layernorm.weight"]))
            if l not in skip.mlp:
                n = self.norm(h, W[p + "post_attention_layernorm.weight"])
                g = n @ W[p + "mlp.gate_proj.weight"].T
                h = h + (g / (1 + np.exp(-g)) * (n @ W[p + "mlp.up_proj.weight"].T)) @ W[p + "mlp.down_proj.weight"].T
            elif ("mlp", l) in skip.maps:
                h = h + skip.maps["mlp", l](self.norm(h, W[p + "post_attention_layernorm.weight"]))
            if layers_out is not None: layers_out.append(h.copy())
        return self.norm(h, W["model.norm.weight"]) @ self.head.T

    def greedy(self, ids, n, skip, stop=None):
        ids = list(ids); out = []
        for _ in range(n):
            t = int(np.argmax(self.forward(ids, skip)[-1])); out.append(t); ids.append(t)
            if t == stop: break
        return out

def logprobs(logits):
    m = logits.max(-1, keepdims=True)
    return logits - m - np.log(np.exp(logits - m).sum(-1, keepdims=True))

def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("model"); a.add_argument("--skip", default="none"); a.add_argument("--prompt"); a.add_argument("--greedy", type=int, default=32)
    a.add_argument("--score"); a.add_argument("--window", type=int, default=256); a.add_argument("--max-windows", type=int, default=8)
    a.add_argument("--dtype", default="float64")
    o = a.parse_args()
    import sentencepiece as spm
    sp = spm.SentencePieceProcessor(model_file=str(pathlib.Path(o.model) / "tokenizer.model"))
    m = Llama(o.model, np.dtype(o.dtype)); skip = m.parse(o.skip)
    if o.prompt is not None:
        ids = [m.c["bos_token_id"]] + sp.encode(o.prompt); out = m.greedy(ids, o.greedy, skip)
        print(json.dumps({"prompt_ids": ids, "output_ids": out, "text": sp.decode(ids[1:] + out)}, ensure_ascii=False))
    if o.score:
        ids = sp.encode(pathlib.Path(o.score).read_text()); total = n = 0
        for i in range(0, min(len(ids), o.window * o.max_windows), o.window):
            w = [m.c["bos_token_id"]] + ids[i:i + o.window]
            if len(w) < 3: break
            lp = logprobs(m.forward(w[:-1], skip)); total -= lp[np.arange(len(w) - 1), w[1:]].sum(); n += len(w) - 1
        print(json.dumps({"skip": o.skip, "tokens": n, "nll_per_token": total / n, "perplexity": math.exp(total / n)}))

if __name__ == "__main__": main()
