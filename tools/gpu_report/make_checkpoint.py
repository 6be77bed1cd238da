#!/usr/bin/env python3
"""Writes a Llama checkpoint of random bf16 weights, to measure how fast one is loaded.

Usage: make_checkpoint.py FOLDER [--layers=32 --hidden=4096 --heads=32 --kv-heads=32 --ffn=11008
       --vocab=32000]
Writes config.json and model.safetensors, and prints the size of the latter in bytes. The numbers of
all matrices are those of one block: their values do not matter.
"""
import argparse
import json
import os
import pathlib
import struct

BLOCK = 64 << 20
ONE = b"\x80\x3f"


def shapes(o):
    kv = o.hidden // o.heads * o.kv_heads
    yield "model.embed_tokens.weight", [o.vocab, o.hidden]
    for layer in range(o.layers):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", [o.hidden]
        for name, rows in (("q", o.hidden), ("k", kv), ("v", kv), ("o", o.hidden)):
            yield f"{prefix}self_attn.{name}_proj.weight", [rows, o.hidden]
        yield prefix + "post_attention_layernorm.weight", [o.hidden]
        yield prefix + "mlp.gate_proj.weight", [o.ffn, o.hidden]
        yield prefix + "mlp.up_proj.weight", [o.ffn, o.hidden]
        yield prefix + "mlp.down_proj.weight", [o.hidden, o.ffn]
    yield "model.norm.weight", [o.hidden]
    yield "lm_head.weight", [o.vocab, o.hidden]


def bytes_of(shape):
    return 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)


def random_block():
    """Signs and low bits are random, magnitudes 2^-7 to 2^-5."""
    block = int.from_bytes(os.urandom(BLOCK), "little")
    pattern = lambda low, high: int.from_bytes(bytes((low, high)) * (BLOCK // 2), "little")
    return (block & pattern(0xff, 0x80) | pattern(0x00, 0x3c)).to_bytes(BLOCK, "little")


def write(path, tensors):
    header, end = {}, 0
    for name, shape in tensors:
        header[name] = {"dtype": "BF16", "shape": shape,
                        "data_offsets": [end, end + bytes_of(shape)]}
        end += bytes_of(shape)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    block = memoryview(random_block())
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, shape in tensors:
            left = bytes_of(shape)
            if len(shape) == 1:
                file.write(ONE * shape[0])
                continue
            while left > 0:
                left -= file.write(block[:min(left, BLOCK)])
    return path.stat().st_size


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    for name, default in (("layers", 32), ("hidden", 4096), ("heads", 32), ("kv-heads", None),
                          ("ffn", 11008), ("vocab", 32000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    o = parser.parse_args()
    o.kv_heads = o.kv_heads or o.heads
    o.folder.mkdir(parents=True, exist_ok=True)
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu",
              "hidden_size": o.hidden, "intermediate_size": o.ffn, "num_hidden_layers": o.layers,
              "num_attention_heads": o.heads, "num_key_value_heads": o.kv_heads,
              "vocab_size": o.vocab, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
              "rope_theta": 10000.0, "bos_token_id": 1, "eos_token_id": 2,
              "tie_word_embeddings": False, "torch_dtype": "bfloat16"}
    (o.folder / "config.json").write_text(json.dumps(config))
    print(write(o.folder / "model.safetensors", list(shapes(o))))


if __name__ == "__main__":
    main()
