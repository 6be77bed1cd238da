#!/usr/bin/env python3
"""Write added_token_cases.json, what the Python package `tokenizers` says about added tokens beside
a model in both forms that Hugging Face has had of Llama's tokenizer:

    pip install sentencepiece tokenizers
    make_added_token_cases.py models/demo/tokenizer.model > tests/engine/model/added_token_cases.json
"""
import json
import random
import sys

import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

BLANK = "\u2581"
ADDED = [
    AddedToken("<|im_start|>", normalized=False),
    AddedToken("<|im_end|>", normalized=False, special=True),
    AddedToken("<|im_end|>x", normalized=False),
    AddedToken("<left>", lstrip=True, normalized=False),
    AddedToken("<right>", rstrip=True, normalized=False),
    AddedToken("<both>", lstrip=True, rstrip=True, normalized=False, special=True),
    AddedToken("the", normalized=False),
    AddedToken("_the_", normalized=True),
]
PARTS = ["<|im_start|>", "<|im_end|>", "<|im_end|>x", " <left>", "<right> \n", " \t<both>\u3000", "the",
         "_the_", " ", "  ", "\n", "user", " And", "LORD", "\u00e9", "\u6211", "<|im_", "ther"]


def tokenizer(model, legacy, added):
    vocab = {model.id_to_piece(i): i for i in range(model.vocab_size())}
    normal = {p for p, i in vocab.items()
              if not (model.is_control(i) or model.is_unknown(i) or model.is_byte(i))}
    merges = [(vocab[p], p[:i], p[i:]) for p in normal for i in range(1, len(p))
              if p[:i] in normal and p[i:] in normal]
    made = Tokenizer(models.BPE(vocab=vocab, merges=[m[1:] for m in sorted(merges)],
                                unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if legacy:
        made.normalizer = normalizers.Sequence(
            [normalizers.Prepend(BLANK), normalizers.Replace(" ", BLANK)])
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace(BLANK, prepend_scheme="first", split=False)
    made.decoder = decoders.Sequence([decoders.Replace(BLANK, " "), decoders.ByteFallback(),
                                      decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    for token in added:
        (made.add_special_tokens if token.special else made.add_tokens)([token])
    return made


def main():
    model = sentencepiece.SentencePieceProcessor(model_file=sys.argv[1])
    rng = random.Random(1)
    groups = []
    for legacy in (True, False):
        # Under a normaliser that puts a blank in front, `normalized` tokens are only found there.
        added = [t for t in ADDED if not (legacy and t.normalized)]
        made = tokenizer(model, legacy, added)
        decoder = {str(model.vocab_size() + i): {
            "content": t.content, "lstrip": t.lstrip, "rstrip": t.rstrip, "special": t.special,
            "normalized": t.normalized, "single_word": False} for i, t in enumerate(added)}
        cases = []
        while len(cases) < 60:
            text = "".join(rng.choice(PARTS) for _ in range(rng.randrange(1, 9)))
            # Metaspace puts no blank in front of one; SentencePiece does.
            if not legacy and text.startswith(" ") and not text.startswith((" <left>", " \t<both>")):
                continue
            ids = made.encode(text, add_special_tokens=False).ids
            cases.append([text, ids, made.decode(ids, skip_special_tokens=True)])
        groups.append({"tokenizer_config": {"legacy": legacy, "added_tokens_decoder": decoder},
                       "cases": cases})
    lines = []
    for group in groups:
        lines.append('{"tokenizer_config": ' + json.dumps(group["tokenizer_config"]) +
                     ', "cases": [\n' + ",\n".join("  " + json.dumps(c) for c in group["cases"]) + "]}")
    print("[" + ",\n".join(lines) + "]")


if __name__ == "__main__":
    main()
