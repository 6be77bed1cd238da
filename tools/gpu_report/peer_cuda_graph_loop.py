#!/usr/bin/env python3
"""A decode loop in plain PyTorch, compiled and replayed as a CUDA graph: the peer to beat.

Llama's layers on random weights, one fused matrix for q, k, v and one for gate and up, a static K/V
cache, greedy choice on the device. Modes: `compiled` is torch.compile with its own CUDA graphs and
tuned kernels, `graph` records the eager step by hand (CUDA only, needs no compiler).
Usage: peer_cuda_graph_loop.py [--batch 1,32] [--context 128] [--json] ..., see --help.
Needs PyTorch; `compiled` a C compiler, too.
"""
import sys

import torch
from torch import nn
from torch.nn import functional as F

import peer_bench


class Layer(nn.Module):
    def __init__(self, a, batch, positions):
        super().__init__()
        dim = a.hidden // a.heads
        self.heads, self.kv_heads, self.dim = a.heads, a.kv_heads, dim
        self.attention_norm = nn.RMSNorm(a.hidden, eps=1e-5)
        self.qkv = nn.Linear(a.hidden, (a.heads + 2 * a.kv_heads) * dim, bias=False)
        self.out = nn.Linear(a.heads * dim, a.hidden, bias=False)
        self.mlp_norm = nn.RMSNorm(a.hidden, eps=1e-5)
        self.gate_up = nn.Linear(a.hidden, 2 * a.ffn, bias=False)
        self.down = nn.Linear(a.ffn, a.hidden, bias=False)
        for name in ("k", "v"):
            self.register_buffer(name, torch.zeros(batch, a.kv_heads, positions, dim))

    def forward(self, x, rotation, position, mask):
        q, k, v = self.qkv(self.attention_norm(x)).split(
            [self.heads * self.dim, self.kv_heads * self.dim, self.kv_heads * self.dim], dim=-1)
        q, k, v = (t.unflatten(-1, (-1, self.dim)).transpose(1, 2) for t in (q, k, v))
        self.k.index_copy_(2, position, rotate(k, rotation))
        self.v.index_copy_(2, position, v)
        attended = F.scaled_dot_product_attention(
            rotate(q, rotation), self.k, self.v, attn_mask=mask,
            enable_gqa=self.heads != self.kv_heads)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


def rotate(x, rotation):
    """Turns pairs (i, i + dim/2) of x [batch, heads, rows, dim] by the angles of `rotation`."""
    cosine, sine = rotation
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cosine - b * sine, b * cosine + a * sine), dim=-1)


class Llama(nn.Module):
    def __init__(self, a, batch, positions):
        super().__init__()
        self.embedding = nn.Embedding(a.vocab, a.hidden)
        self.layers = nn.ModuleList(Layer(a, batch, positions) for _ in range(a.layers))
        self.norm = nn.RMSNorm(a.hidden, eps=1e-5)
        self.head = nn.Linear(a.hidden, a.vocab, bias=False)
        dim = a.hidden // a.heads
        frequencies = 10000.0 ** (-torch.arange(0, dim, 2, dtype=torch.float32) / dim)
        angles = torch.arange(positions, dtype=torch.float32)[:, None] * frequencies
        self.register_buffer("cosine", angles.cos().to(a.dtype))
        self.register_buffer("sine", angles.sin().to(a.dtype))
        self.register_buffer("visible", torch.ones(positions, positions, dtype=torch.bool).tril())

    def forward(self, tokens, position):
        """tokens [batch, rows] at position [rows] -> the likeliest next ids [batch, 1]."""
        x = self.embedding(tokens)
        rotation = self.cosine[position], self.sine[position]
        mask = self.visible[position][None, None]
        for layer in self.layers:
            x = layer(x, rotation, position, mask)
        return self.head(self.norm(x[:, -1:])).argmax(dim=-1)


def record(model, tokens, position):
    """A step that replays the eager one; it takes its input from the given tensors."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # libraries must have set themselves up before the recording
        for _ in range(3):
            model(tokens, position)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        tokens.copy_(model(tokens, position))
        position.add_(1)
    return graph.replay


@torch.no_grad()
def measure(a, mode, batch, context):
    if mode == "graph" and a.device != "cuda":
        raise ValueError("CUDA graphs need --device cuda")
    torch.manual_seed(1)
    warm_up = peer_bench.warm_up_steps(context)
    with torch.device(a.device):
        model = Llama(a, batch, context + a.steps)
        prompt = torch.randint(a.vocab, (batch, context - warm_up))
        position = torch.tensor([context - warm_up])
        tokens = model(prompt, torch.arange(context - warm_up)).clone()
    if mode == "graph":
        step = record(model, tokens, position)
    else:
        compiled = torch.compile(model, mode="reduce-overhead", fullgraph=True)

        def step():
            tokens.copy_(compiled(tokens, position))
            position.add_(1)
    for _ in range(warm_up):
        step()
    return peer_bench.median_step_ms(step, a.steps, a.device)


def main():
    arguments = peer_bench.parse_arguments(__doc__.splitlines()[0], ["compiled", "graph"])
    torch.set_default_dtype(arguments.dtype)
    # Without it a product of one row goes to a library kernel that reaches less bandwidth.
    torch._inductor.config.coordinate_descent_tuning = True
    return peer_bench.run(arguments, "loop", lambda *shape: measure(arguments, *shape),
                          {"torch": torch.__version__})


if __name__ == "__main__":
    sys.exit(main())
