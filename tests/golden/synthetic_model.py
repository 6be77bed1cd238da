"""The models that the engine calls "synthetic:layers=...", in NumPy, from what
engine/model/synthetic.h and engine/backend/random_fill.h say about their weights."""
import numpy as np

MASK = (1 << 64) - 1
GIVEN = {"kv_heads": None, "context": "4096", "type": "bf16"}   # where the name does not say it


def fnv1a64(name):
    state = 14695981039346656037
    for byte in name.encode():
        state = (state ^ byte) * 1099511628211 & MASK
    return state


def mix64(x):
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def rounded(values, type_name):
    """f32 values as their type holds them: bf16 with ties to even, f16 with ties away from zero."""
    bits = values.view(np.uint32)
    if type_name == "bf16":
        return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32)
    if type_name == "f16":
        half = (bits + 0x1000 & 0xFFFFE000).view(np.float32)
        return np.where(np.abs(values) < 2.0**-14, np.copysign(np.float32(0), values), half)
    return values


def matrix(name, rows, cols, type_name):
    """[rows, cols], uniform with the variance 1 / cols: four elements of a 64-bit random number."""
    blocks = np.arange(0, rows * cols, 4, dtype=np.uint64)
    bits = mix64(blocks + np.uint64(fnv1a64(name)))
    lanes = bits[:, None] >> np.array([0, 16, 32, 48], np.uint64)
    integers = lanes.astype(np.uint16).view(np.int16).ravel()[:rows * cols]
    scale = np.sqrt(np.float32(3) / np.float32(cols)) / np.float32(32768)
    values = (integers.astype(np.float32) + np.float32(0.5)) * scale
    return rounded(values, type_name).reshape(rows, cols)


def map_tensors(sublayer, layer, form, hidden):
    """{name: tensor} of a map of the goldens, in bf16: "bias", "diag", "rank=R" or "full", each
    with a bias. `sublayer`: "attn" or "mlp". As in tests/support/seeded_maps.h."""
    shapes = {"bias": (1, hidden)}
    if form == "diag": shapes["scale"] = (1, hidden)
    if form == "full": shapes["up"] = (hidden, hidden)
    if form.startswith("rank="):
        rank = int(form[5:])
        shapes |= {"down": (rank, hidden), "up": (hidden, rank)}
    return {name: matrix(f"map {sublayer} {layer} {form} {name}", *shape, "bf16")
            for name, shape in shapes.items()}


def load(model, dtype):
    """-> (config.json's content, tensors by their Hugging Face names)."""
    spec = GIVEN | dict(field.split("=") for field in model.removeprefix("synthetic:").split(","))
    n = {key: int(value or spec["heads"]) for key, value in spec.items() if key != "type"}
    hidden, ffn, kv = n["hidden"], n["ffn"], n["hidden"] // n["heads"] * n["kv_heads"]
    config = {"num_hidden_layers": n["layers"], "hidden_size": hidden, "vocab_size": n["vocab"],
              "num_attention_heads": n["heads"], "num_key_value_heads": n["kv_heads"],
              "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": n["context"]}
    shapes = {"q": ("self_attn.q_proj", hidden, hidden), "k": ("self_attn.k_proj", kv, hidden),
              "v": ("self_attn.v_proj", kv, hidden), "o": ("self_attn.o_proj", hidden, hidden),
              "gate": ("mlp.gate_proj", ffn, hidden), "up": ("mlp.up_proj", ffn, hidden),
              "down": ("mlp.down_proj", hidden, ffn)}
    tensors = {"model.embed_tokens": matrix("embedding", n["vocab"], hidden, spec["type"]),
               "lm_head": matrix("head", n["vocab"], hidden, spec["type"]),
               "model.norm": np.ones(hidden)}
    for layer in range(n["layers"]):
        prefix = f"model.layers.{layer}."
        for name, (stored, rows, cols) in shapes.items():
            tensors[prefix + stored] = matrix(f"layer {layer} {name}", rows, cols, spec["type"])
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[prefix + norm] = np.ones(hidden)
    return config, {f"{name}.weight": t.astype(dtype) for name, t in tensors.items()}
