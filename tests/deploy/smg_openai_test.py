#!/usr/bin/env python3
"""OpenAI's own client library before SMG and a real server.

Usage: smg_openai_test.py SOURCE_DIR SKIPSTONE_SERVER BUILD_FOLDER
"""
import sys
import tempfile
import unittest

from pinned_wheels import need_wheels
from smg_case import BUILD, LEVELS, SmgCase

sys.path.insert(0, str(need_wheels("openai", BUILD)))
import openai  # noqa: E402

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Speak"}]


class SmgOpenAiTest(SmgCase):
    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.replica = cls.enterClassContext(cls.server(folder))
        cls.smg = cls.enterClassContext(cls.gateway(folder, [cls.replica]))
        cls.direct = cls.native(cls.replica)
        cls.client = cls.enterClassContext(openai.OpenAI(
            base_url=f"http://127.0.0.1:{cls.smg.port}/v1", api_key="any", max_retries=0,
            http_client=openai.DefaultHttpxClient(trust_env=False)))

    def test_models(self):
        self.assertEqual({model.id for model in self.client.models.list()},
                         {"demo", *(f"demo:{level}" for level in LEVELS)})

    def test_completions(self):
        for level in LEVELS:
            answer = self.client.completions.create(
                model=f"demo:{level}", prompt="In the beginning", max_tokens=12, temperature=0)
            self.assertEqual(answer.choices[0].text,
                             self.direct.text("In the beginning", 12, level))
            self.assertEqual(answer.choices[0].finish_reason, "length")

    def test_a_chat_that_streams(self):
        text, usage = "", None
        for chunk in self.client.chat.completions.create(
                model="demo", messages=CHAT, max_tokens=12, temperature=0, stream=True,
                stream_options={"include_usage": True}):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
        self.assertEqual(text.removeprefix(" "), self.direct.text(CHAT, 12))
        self.assertEqual(usage.completion_tokens, 12)

    def test_a_header_chooses_what_is_skipped(self):
        self.assertEqual(self.served([self.replica], 1, lambda: self.client.completions.create(
            model="demo", prompt="And", max_tokens=1,
            extra_headers={"x-skipstone": "skip=attn:last=33%;"})), {("custom", ""): 1})

    def test_errors_have_their_classes(self):
        def ask(skip=None, **fields):
            return self.client.completions.create(
                **{"model": "demo", "prompt": "And", "max_tokens": 1, **fields},
                extra_headers={"x-skipstone": skip} if skip else None)

        for kind, words, fields in [
                (openai.BadRequestError, "skip.spec", {"skip": "skip=attn:99;"}),
                (openai.NotFoundError, "no level 'nope'", {"skip": "level=nope;"}),
                (openai.NotFoundError, "no", {"model": "no"}),
                (openai.BadRequestError, "512 tokens", {"prompt": "x " * 600})]:
            with self.subTest(words), self.assertRaisesRegex(kind, words):
                ask(**fields)


if __name__ == "__main__":
    unittest.main()
