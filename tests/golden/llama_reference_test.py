#!/usr/bin/env python3
"""The oracle against a second formulation, the definition of a window, and its own files.

Usage: llama_reference_test.py SOURCE_DIR
"""
import json
import pathlib
import sys
import unittest

FOLDER = pathlib.Path(sys.argv.pop(1)).resolve() / "tests/golden"
sys.path.insert(0, str(FOLDER))
try:
    import numpy as np
except ImportError:
    print("SKIPPED: no python3-numpy")
    sys.exit(77)  # ctest's SKIP_RETURN_CODE
import synthetic_model  # noqa: E402
from llama_reference import (SINK_TOKENS, Llama, Map, Skip, logprobs, parse_level,  # noqa: E402
                             parse_skip, visible)

ROOT = FOLDER.parents[1]
GQA = "synthetic:layers=4,hidden=64,heads=8,kv_heads=2,ffn=96,vocab=50,type=f32"
MHA = "synthetic:layers=4,hidden=64,heads=4,ffn=96,vocab=50,type=f16"


def seen(t, window):
    """Positions that the row at t sees, in order."""
    if window == 0: return list(range(t + 1))
    return sorted({*range(min(SINK_TOKENS, t + 1)), *range(max(0, t - window + 1), t + 1)})


class OneTokenAtATime:
    """Logits with a K/V cache, row by row and head by head: each row gathers the positions that it
    sees, and there is no mask. Pairs of RoPE are complex numbers."""

    def __init__(self, model, skip):
        self.m, self.skip = model, skip
        self.keys = [[] for _ in range(model.layers)]    # [position][kv head, head size / 2]
        self.values = [[] for _ in range(model.layers)]  # [position][kv head, head size]

    def weight(self, layer, name):
        return self.m.w[f"model.layers.{layer}.{name}.weight"]

    def norm(self, x, weight):
        return x * weight / np.sqrt(np.dot(x, x) / len(x) + self.m.eps)

    def turned(self, x, t):
        pairs = x.reshape(-1, 2, self.m.hd // 2)
        angles = [t * self.m.theta ** (-2 * i / self.m.hd) for i in range(self.m.hd // 2)]
        return (pairs[:, 0] + 1j * pairs[:, 1]) * np.exp(1j * np.array(angles))

    def attend(self, layer, x, t):
        q = self.turned(self.weight(layer, "self_attn.q_proj") @ x, t)
        self.keys[layer].append(self.turned(self.weight(layer, "self_attn.k_proj") @ x, t))
        v = self.weight(layer, "self_attn.v_proj") @ x
        self.values[layer].append(v.reshape(self.m.KV, self.m.hd))
        positions = seen(t, self.skip.windows.get(layer, 0))
        heads = []
        for head in range(self.m.H):
            group = head * self.m.KV // self.m.H
            scores = [(q[head].conj() @ self.keys[layer][p][group]).real for p in positions]
            weights = np.exp(np.array(scores) / self.m.hd ** 0.5)
            values = np.array([self.values[layer][p][group] for p in positions])
            heads.append(weights @ values / weights.sum())
        return self.weight(layer, "self_attn.o_proj") @ np.concatenate(heads)

    def mapped(self, sublayer, layer, x):
        """What the map adds, one output at a time; nothing without a map."""
        if (sublayer, layer) not in self.skip.maps: return np.zeros_like(x)
        bias, scale, down, up = self.skip.maps[sublayer, layer]
        vectors = [np.broadcast_to(v, x.shape) for v in (bias, scale)]
        inner = x if down is None else [np.dot(row, x) for row in down]
        products = [0 if up is None else np.dot(up[i], inner) for i in range(len(x))]
        return np.array([vectors[0][i] + vectors[1][i] * x[i] + products[i] for i in range(len(x))])

    def step(self, token, t):
        h = self.m.w["model.embed_tokens.weight"][token]
        for layer in range(self.m.layers):
            if layer not in self.skip.attention:
                h = h + self.attend(layer, self.norm(h, self.weight(layer, "input_layernorm")), t)
            else:
                h = h + self.mapped("attn", layer,
                                    self.norm(h, self.weight(layer, "input_layernorm")))
            x = self.norm(h, self.weight(layer, "post_attention_layernorm"))
            if layer in self.skip.mlp:
                h = h + self.mapped("mlp", layer, x)
            else:
                gate = self.weight(layer, "mlp.gate_proj") @ x
                up = self.weight(layer, "mlp.up_proj") @ x
                h = h + self.weight(layer, "mlp.down_proj") @ (gate * up / (1 + np.exp(-gate)))
        return self.m.head @ self.norm(h, self.m.w["model.norm.weight"])


class ReferenceTest(unittest.TestCase):
    def test_agrees_with_one_token_at_a_time(self):
        ids = np.random.RandomState(1).randint(0, 50, 90).tolist()
        for name in (GQA, MHA):
            model = Llama(name)
            for spec in ("none", "attn:1+mlp:2", "win:0-3/16", "win:last=2/24", "win:1/16",
                         "win:0/24,3/16+attn:1", "attn:3+win:1-2/32+mlp:0", "attn:2-3@bias,diag",
                         "attn:0,2+mlp:1@rank=3,full,-", "block:1-2+win:3/16@rank=1,diag,full"):
                skip = model.parse(spec)
                second = OneTokenAtATime(model, skip)
                expected = [second.step(token, t) for t, token in enumerate(ids)]
                np.testing.assert_allclose(model.forward(ids, skip), expected, rtol=0, atol=1e-9,
                                           err_msg=f"{name} {spec}")

    def test_a_map_is_what_it_says(self):
        n = np.random.RandomState(2).standard_normal((5, 64))
        eye, zeros = np.eye(64), np.zeros((64, 64))
        np.testing.assert_array_equal(Map()(n), 0 * n)
        np.testing.assert_array_equal(Map(bias=n[0])(n), np.tile(n[0], (5, 1)))
        np.testing.assert_allclose(Map(scale=n[1])(n), Map(up=np.diag(n[1]))(n), atol=1e-12)
        np.testing.assert_allclose(Map(up=2 * eye)(n), 2 * n, atol=1e-12)
        np.testing.assert_allclose(Map(down=eye[:1], up=eye[:, 5:6])(n)[:, 5], n[:, 0], atol=1e-12)
        np.testing.assert_array_equal(Map(up=zeros)(n), zeros[:5])

    def test_a_map_of_nothing_is_the_identity(self):
        model = Llama(GQA)
        ids = list(range(20))
        plain = model.forward(ids, parse_skip("attn:1+mlp:2", 4))
        maps = {("attn", 1): Map(bias=np.zeros(64)), ("mlp", 2): Map(up=np.zeros((64, 64)))}
        none = parse_skip("attn:1+mlp:2", 4)._replace(maps=maps)
        np.testing.assert_array_equal(model.forward(ids, none), plain)
        self.assertGreater(np.abs(model.forward(ids, model.parse("attn:1+mlp:2@bias")) - plain).max(),
                           0.01)

    def test_rows_see_the_sink_and_their_window(self):
        for window in (0, 16, 24, 64):
            mask = visible(150, window)
            self.assertEqual([np.flatnonzero(row).tolist() for row in mask],
                             [seen(t, window) for t in range(150)])

    def test_a_window_beyond_the_sequence_is_none(self):
        model = Llama(GQA)
        ids = list(range(40))
        full = model.forward(ids)
        np.testing.assert_array_equal(model.forward(ids, parse_skip("win:0-3/40", 4)), full)
        # The row at t misses a position first where t - window reaches the sink's end.
        changed = np.abs(model.forward(ids, parse_skip("win:0-3/16", 4)) - full).max(-1) > 1e-9
        self.assertEqual(changed.tolist(), [t - 16 >= SINK_TOKENS for t in range(40)])


class SkipTest(unittest.TestCase):
    def test_reads_windows(self):
        for text, windows in {
                "win:last=3/64": {9: 64, 10: 64, 11: 64},
                "win:last=33%/16": dict.fromkeys(range(8, 12), 16),
                "win:2/24": {2: 24},
                "win:2-4/16,9/64": {2: 16, 3: 16, 4: 16, 9: 64},
                "win:2/16+win:9/64": {2: 16, 9: 64}}.items():
            self.assertEqual(parse_skip(text, 12), Skip(windows=windows), text)
        self.assertEqual(parse_skip("attn:last=2+win:8-9/24+mlp:3+block:0", 12),
                         Skip(frozenset({0, 10, 11}), frozenset({0, 3}), {8: 24, 9: 24}))

    def test_takes_the_forms_of_maps_in_turn(self):
        skip = parse_level("attn:1,3+mlp:0-1@bias,-,rank=2", 4, 8)
        self.assertEqual(list(skip.maps), [("attn", 1), ("mlp", 0), ("mlp", 1)])
        self.assertEqual(skip.maps["mlp", 0].down.shape, (2, 8))
        self.assertEqual(skip.maps["mlp", 0].up.shape, (8, 2))
        self.assertEqual(skip.maps["mlp", 1].bias.shape, (8,))
        self.assertIsNone(skip.maps["mlp", 1].up)
        self.assertEqual(parse_level("attn:1", 4, 8), parse_skip("attn:1", 4))

    def test_reads_what_is_skipped_as_before(self):
        self.assertEqual(parse_skip("attn:last=33%", 32).attention, frozenset(range(21, 32)))
        self.assertEqual(parse_skip("block:last=2,keep-final,0", 8),
                         Skip(frozenset({0, 5, 6}), frozenset({0, 5, 6})))
        self.assertEqual(parse_skip("none", 8), Skip())

    def test_refuses_wrong_terms(self):
        for text in ("win:3", "win:3/", "win:3/0", "win:3/8", "win:3/20", "win:3/-16", "win:12/16",
                     "win:5-3/16", "win:last=0/16", "win:last=1%/16", "win:last=13/16",
                     "win:last=2/16,keep-final", "win:3/16,3/24", "win:3/16+win:2-4/16",
                     "win:3/16+attn:3", "block:last=1+win:11/16", "window:3/16", "attn:keep-final",
                     "attn:12"):
            with self.assertRaises(ValueError, msg=text): parse_skip(text, 12)


def hash_of(tensors, kind):
    """HashOf in synthetic_test.cc: FNV-1a of all tensors as they are stored."""
    def stored(name):
        tensor = tensors[name + ".weight"]
        if kind == "f16": return tensor.astype(np.float16).tobytes()
        bits = tensor.view(np.uint32)
        return (bits >> 16).astype(np.uint16).tobytes() if kind == "bf16" else bits.tobytes()
    names = ["model.embed_tokens", "model.norm", "lm_head"]
    for layer in (0, 1):
        names += [f"model.layers.{layer}.{name}" for name in (
            "input_layernorm", *(f"self_attn.{x}_proj" for x in "qkvo"),
            "post_attention_layernorm", *(f"mlp.{x}_proj" for x in ("gate", "up", "down")))]
    state = synthetic_model.fnv1a64("")
    for byte in b"".join(map(stored, names)):
        state = (state ^ byte) * 1099511628211 & synthetic_model.MASK
    return state


class SyntheticModelTest(unittest.TestCase):
    def test_weights_are_the_engines(self):
        # As in tests/engine/model/synthetic_test.cc.
        for kind, expected in {"f32": 0xE2BF7D7270C271DE, "f16": 0xC456BD869EA99059,
                               "bf16": 0xC8AADDCE64A8FA22}.items():
            name = f"synthetic:layers=2,hidden=64,heads=4,kv_heads=2,ffn=96,vocab=50,type={kind}"
            self.assertEqual(hash_of(synthetic_model.load(name, np.float32)[1], kind), expected)


class GoldenFilesTest(unittest.TestCase):
    """What lies in the repository is what the oracle says."""

    def test_files_are_the_oracles(self):
        for file in ("demo.json", "synthetic_gqa.json", "synthetic_mha.json", "compensated.json"):
            golden = json.loads((FOLDER / file).read_text())
            self.assertEqual(golden["sink_tokens"], SINK_TOKENS)
            synthetic = golden["model"].startswith("synthetic:")
            model = Llama(golden["model"] if synthetic else ROOT / golden["model"])
            for case in golden["cases"]:
                with self.subTest(file=file, skip=case["skip"], prompt=case["prompt"]):
                    self.check(model, case)

    def check(self, model, case):
        ids = case["prompt_ids"] + case["greedy_ids"]
        logits = model.forward(ids[:-1], model.parse(case["skip"]))
        own = logprobs(logits)[np.arange(len(ids) - 1), ids[1:]]
        np.testing.assert_allclose(case["prompt_logprobs"] + case["greedy_logprobs"], own, rtol=0,
                                   atol=2e-6)
        first = len(case["prompt_ids"]) - 1
        self.assertEqual(logits[first:].argmax(-1).tolist(), case["greedy_ids"])


if __name__ == "__main__":
    unittest.main()
