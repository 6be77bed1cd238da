#!/usr/bin/env python3
"""Write tokenizer_cases.json, what the Python package `sentencepiece` says about a model:

    pip install sentencepiece
    make_tokenizer_cases.py models/demo/tokenizer.model > tests/engine/model/tokenizer_cases.json
"""
import json
import random
import sys

import sentencepiece

TEXTS = [
    "",
    " ",
    "  ",
    "     ",
    "\n",
    "\n\n",
    "\t",
    "\r\n",
    "a",
    " a",
    "a ",
    "  a  b  ",
    "In the beginning God created the heaven and the earth.",
    " And God said, Let there be light: and there was light.",
    "And the LORD spake unto Moses, saying,\nSpeak unto the children of Israel",
    "Hello, world! It's 12:34, isn't it?",
    "0 1 22 333 4444 55555",
    "naïve café — “quoted” … ½ €",
    "Größe, Äpfel, Übermut, Straße",
    "Привет, мир",
    "Ελληνικά και ελληνικά",
    "שלום עולם",
    "مرحبا بالعالم",
    "नमस्ते दुनिया",
    "我想在apple工作1314151天～",
    "こんにちは世界",
    "안녕하세요 세계",
    "កាន់តែពិសេស",
    "👋🏽 👨‍👩‍👧‍👦 🏳️‍🌈",
    "<s>",
    "</s>",
    "<unk>",
    "<s>[INST] hi [/INST]</s>",
    "<0x0A>",
    "<0xE2><0x82><0xAC>",
    "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST]",
    "\u0000",
    "a\u0000b",
    "\u0007\u001b[0m",
    "\ufeffbyte order mark",
    "\u00a0no-break\u3000ideographic",
    "e\u0301 combining, \u00e9 composed",
    "\ufffd",
    "\U0010ffff\ue000",
    "def f(x):\n    return x  # two  blanks\n",
    '{"a": [1, 2.5, null], "b": "\\n"}',
    "http://example.org/?q=a%20b&c=d#e",
    "ALL CAPS and MiXeD",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "the the the the the the the the",
    "word " * 20,
]


def main():
    model = sentencepiece.SentencePieceProcessor(model_file=sys.argv[1])
    rng = random.Random(1)
    encode = [[text, model.encode(text)] for text in TEXTS]
    decode = []
    for _ in range(40):
        # Text pieces and control tokens; a byte piece only where it is a whole character.
        ids = [rng.choice([1, 2, rng.randrange(3, 3 + 128), rng.randrange(259, model.vocab_size())])
               for _ in range(rng.randrange(1, 9))]
        decode.append([ids, model.decode(ids)])
    lines = ["{\"encode\": ["]
    lines += [",\n".join("  " + json.dumps(case) for case in encode), "], \"decode\": ["]
    lines += [",\n".join("  " + json.dumps(case) for case in decode), "]}"]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
