#!/usr/bin/env python3
"""Hugging Face transformers' Llama on random weights: decode steps, eager and compiled.

Modes: `eager` with the default, growing cache; `compiled` with a static cache, the step including
the greedy choice under torch.compile with CUDA graphs. Only the model's forward pass is timed:
what generate() adds per token would be to the peer's disadvantage.
Usage: peer_transformers.py [--batch 1,32] [--context 128] [--json] ..., see --help.
Needs PyTorch and transformers (4.40 or newer); `compiled` a C compiler, too. Downloads nothing.
"""
import inspect
import sys

import torch
import transformers
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, StaticCache

import peer_bench


def make_model(a):
    config = LlamaConfig(
        vocab_size=a.vocab, hidden_size=a.hidden, intermediate_size=a.ffn,
        num_hidden_layers=a.layers, num_attention_heads=a.heads, num_key_value_heads=a.kv_heads,
        max_position_embeddings=4096)
    with torch.device(a.device):
        return LlamaForCausalLM(config).eval()


def make_cache(a, model, batch, positions):
    """A static cache; which arguments it takes depends on the library's version."""
    offered = {"config": model.config, "max_cache_len": positions, "max_batch_size": batch,
               "batch_size": batch, "device": a.device, "dtype": a.dtype}
    known = inspect.signature(StaticCache.__init__).parameters
    if "max_batch_size" in known:
        del offered["batch_size"]  # its older name
    return StaticCache(**{name: value for name, value in offered.items() if name in known})


class Decoder:
    """Greedy decoding over one cache: a prefill, then steps of one token per sequence."""

    def __init__(self, model, cache, batch):
        self.model = model
        known = inspect.signature(LlamaForCausalLM.forward).parameters
        # Names that changed with the library's version.
        self.keywords = {"cache" if "cache" in known else "past_key_values": cache}
        self.takes_position = "cache_position" in known
        self.batch = batch
        self.position = self.tokens = None

    def forward(self, tokens, position):
        keywords = dict(self.keywords, position_ids=position.expand(self.batch, -1))
        if self.takes_position:
            keywords["cache_position"] = position
        hidden = self.model.model(tokens, use_cache=True, **keywords)[0]
        return self.model.lm_head(hidden[:, -1:]).argmax(dim=-1)

    def prefill(self, prompt):
        position = torch.arange(prompt.shape[1], device=prompt.device)
        self.tokens = self.forward(prompt, position).clone()
        self.position = position[-1:] + 1

    def step(self):
        # Copied, because a recorded graph overwrites its result.
        self.tokens.copy_(self.forward(self.tokens, self.position))
        self.position.add_(1)


@torch.no_grad()
def measure(a, model, mode, batch, context):
    warm_up = peer_bench.warm_up_steps(context)
    cache = DynamicCache() if mode == "eager" else make_cache(a, model, batch, context + a.steps)
    decoder = Decoder(model, cache, batch)
    decoder.prefill(torch.randint(a.vocab, (batch, context - warm_up), device=a.device))
    if mode == "compiled":
        decoder.forward = torch.compile(decoder.forward, mode="reduce-overhead")
    for _ in range(warm_up):
        decoder.step()
    return peer_bench.median_step_ms(decoder.step, a.steps, a.device)


def main():
    arguments = peer_bench.parse_arguments(__doc__.splitlines()[0], ["eager", "compiled"])
    torch.manual_seed(1)
    torch.set_default_dtype(arguments.dtype)
    model = make_model(arguments)
    return peer_bench.run(arguments, "transformers",
                          lambda *shape: measure(arguments, model, *shape),
                          {"torch": torch.__version__, "transformers": transformers.__version__})


if __name__ == "__main__":
    sys.exit(main())
