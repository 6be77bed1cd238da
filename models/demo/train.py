#!/usr/bin/env python3
"""Train a small Llama-2-architecture model on the King James text of Debian's bible-kjv-text, and write it in Hugging Face layout.

    apt-get install python3-torch python3-sentencepiece sentencepiece bible-kjv bible-kjv-text
    bible -l100000 gen1:1-rev22:21 > kjv.txt
    models/demo/train.py kjv.txt OUT_DIR --steps 1500 [--resume OUT_DIR] [--device cuda]

Every 37th chapter is held out (OUT_DIR/valid.txt).  Attention sublayers are dropped at random while training, deeper ones more often
(probability 0.35 * l / (L - 1) per step and layer), so that skipping latter attention sublayers costs little: say so in the model card.
"""
import argparse, json, math, os, pathlib, re, struct, subprocess, time
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F, sentencepiece as spm

D, L, H, KV, HD, FF, V, T = 256, 12, 4, 2, 64, 512, 2048, 512

def chapters(path):
    docs, cur, title = [], None, None
    for line in open(path, encoding="latin-1"):
        s = line.rstrip("\n")
        if not s.strip(): continue
        m = re.match(r"^\s+(\d+) (.*)$", s)
        if m and cur is not None: cur.append(m[2].strip())
        else:
            if cur: docs.append((title, cur))
            title, cur = s.strip(), []
    docs.append((title, cur))
    text = lambda ds: "".join(t + "\n" + "\n".join(v) + "\n\n" for t, v in ds)
    return text([d for i, d in enumerate(docs) if i % 37 != 18]), text([d for i, d in enumerate(docs) if i % 37 == 18])

class Norm(nn.Module):
    def __init__(self): super().__init__(); self.weight = nn.Parameter(torch.ones(D))
    def forward(self, x): return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight

def linear(i, o): return nn.Linear(i, o, bias=False)

class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = Norm(), Norm()
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = linear(D, H * HD), linear(D, KV * HD), linear(D, KV * HD), linear(H * HD, D)
        self.gate_proj, self.up_proj, self.down_proj = linear(D, FF), linear(D, FF), linear(FF, D)
    def attention(self, x, cos, sin, mask):
        B, t, _ = x.shape; n = self.input_layernorm(x)
        rope = lambda y: y * cos + torch.cat([-y[..., HD // 2:], y[..., :HD // 2]], -1) * sin       # rotate-half pairing
        q = rope(self.q_proj(n).view(B, t, H, HD).transpose(1, 2)); k = rope(self.k_proj(n).view(B, t, KV, HD).transpose(1, 2))
        v = self.v_proj(n).view(B, t, KV, HD).transpose(1, 2)
        k, v = k.repeat_interleave(H // KV, 1), v.repeat_interleave(H // KV, 1)
        p = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(HD) + mask, -1)
        return self.o_proj((p @ v).transpose(1, 2).reshape(B, t, H * HD))
    def mlp(self, x):
        n = self.post_attention_layernorm(x); return self.down_proj(F.silu(self.gate_proj(n)) * self.up_proj(n))

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens, self.layers, self.norm, self.lm_head = nn.Embedding(V, D), nn.ModuleList(Layer() for _ in range(L)), Norm(), linear(D, V)
        for n, p in self.named_parameters():
            if p.dim() == 2: nn.init.normal_(p, 0, 0.02 / (math.sqrt(2 * L) if n.endswith(("o_proj.weight", "down_proj.weight")) else 1))
        f = torch.outer(torch.arange(T).float(), 1.0 / 10000 ** (torch.arange(0, HD, 2).float() / HD))
        self.register_buffer("cos", torch.cat([f.cos()] * 2, -1), persistent=False); self.register_buffer("sin", torch.cat([f.sin()] * 2, -1), persistent=False)
        self.register_buffer("mask", torch.triu(torch.full((T, T), float("-inf")), 1), persistent=False)
    def forward(self, ids, skip=()):
        x = self.embed_tokens(ids); t = ids.shape[1]
        for i, b in enumerate(self.layers):
            if i not in skip: x = x + b.attention(x, self.cos[:t], self.sin[:t], self.mask[:t, :t])
            x = x + b.mlp(x)
        return self.lm_head(self.norm(x))

def hf_name(k):
    k = re.sub(r"\.([qkvo]_proj)", r".self_attn.\1", k); k = re.sub(r"\.((gate|up|down)_proj)", r".mlp.\1", k)
    return k if k.startswith("lm_head") else "model." + k

def save(m, out):
    head, off, blobs = {"__metadata__": {"format": "pt"}}, 0, []
    for k, p in sorted((hf_name(k), p) for k, p in m.state_dict().items()):
        b = p.detach().cpu().to(torch.bfloat16).contiguous().view(torch.int16).numpy().tobytes()
        head[k] = {"dtype": "BF16", "shape": list(p.shape), "data_offsets": [off, off + len(b)]}; off += len(b); blobs.append(b)
    h = json.dumps(head, separators=(",", ":")).encode(); h += b" " * (-len(h) % 8)
    (out / "model.safetensors").write_bytes(struct.pack("<Q", len(h)) + h + b"".join(blobs))
    (out / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": D,
        "intermediate_size": FF, "max_position_embeddings": T, "model_type": "llama", "num_attention_heads": H, "num_hidden_layers": L, "num_key_value_heads": KV,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "rope_scaling": None, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "vocab_size": V}, indent=2) + "\n")

def load(m, path):
    raw = (pathlib.Path(path) / "model.safetensors").read_bytes(); (n,) = struct.unpack_from("<Q", raw); head = json.loads(raw[8:8 + n])
    for k, p in m.state_dict().items():
        t = head[hf_name(k)]; b, e = t["data_offsets"]
        p.copy_(torch.from_numpy((np.frombuffer(raw[8 + n + b:8 + n + e], np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(t["shape"]).copy()))

@torch.no_grad()
def evaluate(m, ids, dev, skip=()):
    total = count = 0
    for i in range(0, len(ids) - 1, T):
        c = torch.from_numpy(ids[i:i + T + 1]).to(dev)
        if len(c) < 2: break
        total += F.cross_entropy(m(c[None, :-1], skip)[0], c[1:], reduction="sum").item(); count += len(c) - 1
    return total / count

def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("text"); a.add_argument("out", type=pathlib.Path); a.add_argument("--steps", type=int, default=1500); a.add_argument("--batch", type=int, default=4)
    a.add_argument("--lr", type=float, default=1.5e-3); a.add_argument("--resume"); a.add_argument("--device", default="cpu"); a.add_argument("--seed", type=int, default=1234)
    o = a.parse_args(); o.out.mkdir(parents=True, exist_ok=True); torch.manual_seed(o.seed); rng = np.random.default_rng(o.seed)
    train, valid = chapters(o.text); (o.out / "valid.txt").write_text(valid); tok = o.out / "tokenizer.model"
    if not tok.exists():
        (o.out / "train.tmp").write_text(train)
        subprocess.run(["spm_train", f"--input={o.out}/train.tmp", f"--model_prefix={o.out}/tokenizer", f"--vocab_size={V}", "--model_type=bpe", "--byte_fallback=true", "--split_digits=true",
            "--normalization_rule_name=identity", "--remove_extra_whitespaces=false", "--allow_whitespace_only_pieces=true", "--character_coverage=0.9995", "--hard_vocab_limit=true"], check=True)
        (o.out / "train.tmp").unlink(); (o.out / "tokenizer.vocab").unlink()
    sp = spm.SentencePieceProcessor(model_file=str(tok)); ids = lambda s: np.array([i for d in s.split("\n\n") if d.strip() for i in [1] + sp.encode(d) + [2]], dtype=np.int64)
    tr, va = ids(train), ids(valid); m = Model().to(o.device)
    if o.resume: load(m, o.resume)
    print(f"{sum(p.numel() for p in m.parameters())} parameters, {len(tr)} training and {len(va)} held-out tokens", flush=True)
    opt = torch.optim.AdamW([{"params": [p for p in m.parameters() if p.dim() == 2], "weight_decay": 0.1}, {"params": [p for p in m.parameters() if p.dim() < 2], "weight_decay": 0.0}], lr=o.lr, betas=(0.9, 0.95))
    start = time.time()
    for step in range(o.steps):
        for g in opt.param_groups: g["lr"] = o.lr * min(1, (step + 1) / 60) * (0.1 + 0.45 * (1 + math.cos(math.pi * step / o.steps)))
        at = rng.integers(0, len(tr) - T - 1, o.batch); batch = torch.from_numpy(np.stack([tr[i:i + T + 1] for i in at])).to(o.device)
        drop = [l for l in range(L) if rng.random() < 0.35 * l / (L - 1)]
        loss = F.cross_entropy(m(batch[:, :-1], drop).reshape(-1, V), batch[:, 1:].reshape(-1)); opt.zero_grad(set_to_none=True); loss.backward()
        nn.utils.clip_grad_norm_(m.parameters(), 1.0); opt.step()
        if step % 20 == 0: print(f"step {step} loss {loss.item():.4f} {time.time() - start:.0f} s", flush=True)
        if (step and step % 150 == 0) or step == o.steps - 1:
            save(m, o.out); print("held-out nats/token:", {n: round(evaluate(m, va, o.device, s), 4) for n, s in (("none", ()), ("attn:last=3", range(9, 12)), ("attn:last=6", range(6, 12)), ("attn:0-11", range(12)))}, flush=True)

if __name__ == "__main__": main()
