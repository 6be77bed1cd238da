"""A small random Llama whose tokenizer is not Llama 2's: bytes and a few merges, with a chat
template of its own. Greedy answers are letters."""
import json
import pathlib

import numpy

HIDDEN, FFN, LAYERS, HEADS, KV_HEADS, HEAD_DIM = 16, 24, 2, 2, 1, 8
SPECIAL = ("<|begin|>", "<|end|>", "<|turn|>")
MERGED = ("th", "the")
LETTERS = b"abcdefghijklmnopqrstuvwxyz"
TEMPLATE = ("{% for message in messages %}<|turn|>{{ message['role'] }}:{{ message['content'] }}"
            "<|end|>{% endfor %}{% if add_generation_prompt %}<|turn|>assistant:{% endif %}")


def symbols():
    """The character that stands for each byte in a byte-level vocabulary."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in shown else next(others)) for byte in range(256)]


def vocabulary():
    return {piece: id for id, piece in enumerate([*SPECIAL, *symbols(), *MERGED])}


def ids_of(text):
    """What the tokenizer has to make of a text without special tokens or their strings."""
    vocab, pieces = vocabulary(), [symbols()[byte] for byte in text.encode()]
    joined = "\0".join(pieces).replace("t\0h", "th").replace("th\0e", "the")
    return [vocab[piece] for piece in joined.split("\0")] if joined else []


def tokenizer_json():
    bytes_of = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                "use_regex": True}
    return {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None,
        "added_tokens": [
            {"id": id, "content": piece, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True} for id, piece in enumerate(SPECIAL)],
        "pre_tokenizer": bytes_of, "post_processor": None, "decoder": bytes_of,
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": False,
                  "byte_fallback": False, "vocab": vocabulary(), "merges": ["t h", "th e"]}}


def tensors():
    random = numpy.random.default_rng(1)
    vocab = len(vocabulary())

    def matrix(rows, columns):
        return random.normal(0, 0.5, (rows, columns)).astype(numpy.float32)

    found = {"model.embed_tokens.weight": matrix(vocab, HIDDEN),
             "model.norm.weight": numpy.ones(HIDDEN, numpy.float32)}
    for layer in range(LAYERS):
        of = f"model.layers.{layer}"
        for name, rows, columns in (
                ("self_attn.q_proj", HEADS * HEAD_DIM, HIDDEN),
                ("self_attn.k_proj", KV_HEADS * HEAD_DIM, HIDDEN),
                ("self_attn.v_proj", KV_HEADS * HEAD_DIM, HIDDEN),
                ("self_attn.o_proj", HIDDEN, HEADS * HEAD_DIM),
                ("mlp.gate_proj", FFN, HIDDEN), ("mlp.up_proj", FFN, HIDDEN),
                ("mlp.down_proj", HIDDEN, FFN)):
            found[f"{of}.{name}.weight"] = matrix(rows, columns)
        for name in ("input_layernorm", "post_attention_layernorm"):
            found[f"{of}.{name}.weight"] = numpy.ones(HIDDEN, numpy.float32)
    head = matrix(vocab, HIDDEN)
    letters = {vocabulary()[chr(letter)] for letter in LETTERS}
    for id in range(vocab):
        if id not in letters:
            head[id] = 0  # below the best of the letters
    found["lm_head.weight"] = head
    return found


def write(folder):
    folder = pathlib.Path(folder)
    folder.mkdir()
    header, data = {}, b""
    for name, values in tensors().items():
        header[name] = {"dtype": "F32", "shape": list(values.shape),
                        "data_offsets": [len(data), len(data) + values.nbytes]}
        data += values.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    files = {
        "config.json": {
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
            "hidden_size": HIDDEN, "intermediate_size": FFN, "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0, "max_position_embeddings": 256, "bos_token_id": 0,
            "eos_token_id": 1, "tie_word_embeddings": False, "torch_dtype": "float32",
            "vocab_size": len(vocabulary())},
        "tokenizer.json": tokenizer_json(),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": SPECIAL[0],
            "eos_token": SPECIAL[1], "add_bos_token": False, "chat_template": TEMPLATE}}
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
