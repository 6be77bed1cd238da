#!/usr/bin/env python3
"""SMG serves a model whose tokenizer the server itself cannot read: it gets the model's own files.

Usage: smg_tokenizer_test.py SOURCE_DIR SKIPSTONE_SERVER BUILD_FOLDER
"""
import pathlib
import tempfile
import unittest

from native_client import NativeClient, grpc
from running_server import RunningServer
from running_smg import RunningSmg
from smg_case import SERVER, SMG, SOURCE, SmgCase

try:
    import tiny_byte_model as model
except ImportError:
    import deploy_support
    deploy_support.skip("no python3-numpy; scripts/install_deps.sh test installs it")


class SmgTokenizerTest(SmgCase):
    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        model.write(folder / "tiny")
        cls.replica = cls.enterClassContext(RunningServer(
            SERVER, f"--model={folder}/tiny", "--model_name=demo", "--log_level=warn",
            "--kv_pages=200"))
        cls.smg = cls.enterClassContext(RunningSmg(SMG, folder, [cls.replica.grpc]))
        cls.direct = cls.enterClassContext(NativeClient(SOURCE, cls.replica.grpc))

    def letters(self, ids, max_tokens):
        """What greedy decoding makes of ids: one letter a token."""
        answer = self.direct.Generate(
            token_ids={"ids": ids}, sampling={"temperature": 0},
            stopping={"max_tokens": max_tokens}, output={"token_ids": True})
        pieces = {id: piece for piece, id in model.vocabulary().items()}
        return "".join(pieces[token.id] for token in answer.outputs[0].delta.tokens)

    def test_completions(self):
        for prompt in ("the", "In the beginning", "<s> \u00e9\u65e5\n", " two  blanks "):
            with self.subTest(prompt):
                ids = model.ids_of(prompt)
                answer = self.completed(self.smg, prompt=prompt, max_tokens=12)
                self.assertEqual(answer["choices"][0]["text"], self.letters(ids, 12))
                self.assertEqual(answer["usage"]["prompt_tokens"], len(ids))

    def test_a_chat_has_the_models_own_template(self):
        answer = self.completed(self.smg, max_tokens=12, messages=[
            {"role": "system", "content": "Answer."}, {"role": "user", "content": "Who?"}])
        _, end, turn = range(len(model.SPECIAL))
        ids = [turn, *model.ids_of("system:Answer."), end, turn, *model.ids_of("user:Who?"), end,
               turn, *model.ids_of("assistant:")]
        self.assertEqual(answer["usage"]["prompt_tokens"], len(ids))
        self.assertEqual(answer["choices"][0]["message"]["content"], self.letters(ids, 12))

    def test_the_server_itself_takes_ids_only(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.direct.text("the", 1)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.FAILED_PRECONDITION)


if __name__ == "__main__":
    unittest.main()
