#!/usr/bin/env python3
"""OpenAI's API by the real SMG before real servers: it says what the native contract says.

Usage: smg_test.py SOURCE_DIR SKIPSTONE_SERVER BUILD_FOLDER
SKIPSTONE_PROMPTS: how many random prompts are compared at each level, 20 unless set.
"""
import os
import random
import tempfile
import unittest

from smg_case import DEMO, LEVELS, SmgCase

PROMPTS = int(os.environ.get("SKIPSTONE_PROMPTS", "20"))
CONTROL_IDS = {0, 1, 2}  # of the demo model: <unk>, <s>, </s>
STRANGE = [
    "<s>", "</s>", "<unk>", "<0x0A>", "[INST]", "<<SYS>>", "\u00e9", "e\u0301", "\u65e5", "\x7f",
    "\U0001f600", "\u2581", "\u00a0", "\n", "\n\n", "\t", " ", "  ", "   ", "<", "s>", "the",
    " LORD", "a", "Z", "0"]
CHAT = [{"role": "system", "content": "Answer as a prophet.  "},
        {"role": "user", "content": " Who made the heaven? "},
        {"role": "assistant", "content": "God"},
        {"role": "user", "content": "And the <s>earth</s>?"}]


class SmgTest(SmgCase):
    @classmethod
    def setUpClass(cls):
        folders = [cls.enterClassContext(tempfile.TemporaryDirectory()) for _ in range(2)]
        cls.servers = [cls.enterClassContext(cls.server(folder)) for folder in folders]
        cls.smg = cls.enterClassContext(
            cls.gateway(folders[0], cls.servers, "--policy", "round_robin"))
        cls.direct = cls.native(cls.servers[0])
        cls.valid = (DEMO / "valid.txt").read_text()

    def setUp(self):
        self.random = random.Random(1)

    def prompt(self):
        """Some words of the model's kind, or some of any kind."""
        if self.random.random() < 0.3:
            return self.strange()
        start = self.random.randrange(len(self.valid) - 300)
        return self.valid[start:start + self.random.randint(1, 200)]

    def strange(self):
        return "".join(self.random.choices(STRANGE, k=self.random.randint(1, 30)))

    def text(self, **fields):
        return self.completed(self.smg, **fields)["choices"][0]["text"]

    def ids(self, text):
        status, answer = self.smg.call("/v1/tokenize", {"model": "demo", "prompt": text})
        self.assertEqual(status, 200, answer)
        return answer["tokens"]

    # What is there.

    def test_levels_are_models(self):
        status, answer = self.smg.call("/v1/models")
        self.assertEqual(status, 200)
        self.assertEqual({one["id"] for one in answer["data"]},
                         {"demo", *(f"demo:{level}" for level in LEVELS)})

    # Texts.

    def test_completions_have_the_text_of_generate(self):
        for number in range(PROMPTS):
            prompt = self.prompt()
            for level in LEVELS:
                with self.subTest(prompt=prompt, level=level):
                    self.assertEqual(
                        self.text(model=f"demo:{level}", prompt=prompt, max_tokens=16),
                        self.direct.text(prompt, 16, level))

    def test_texts_become_the_same_ids(self):
        for text in ["", *STRANGE, *(self.strange() for _ in range(10 * PROMPTS)),
                     *(self.prompt() for _ in range(PROMPTS))]:
            with self.subTest(text=text):
                self.assertEqual(self.ids(text), list(
                    self.direct.Tokenize(text=text, add_special_tokens=False).ids))

    def test_a_stream_has_the_text_of_one_answer(self):
        for fields in ({"prompt": "In the beginning"}, {"prompt": "\u00e9 <s>", "temperature": 1},
                       {"prompt": "Moses", "temperature": 1.2, "n": 3, "stop": ["the"]}):
            with self.subTest(fields):
                fields = {"model": "demo:half", "max_tokens": 24, "seed": 7, **fields}
                whole = self.completed(self.smg, **fields)
                texts, reasons, usage = {}, {}, None
                for event in self.smg.events("/v1/completions", {
                        "temperature": 0, **fields, "stream_options": {"include_usage": True}}):
                    usage = event.get("usage") or usage
                    for choice in event["choices"]:
                        index = choice["index"]
                        texts[index] = texts.get(index, "") + choice["text"]
                        reasons[index] = choice["finish_reason"] or reasons.get(index)
                for choice in whole["choices"]:
                    index = choice["index"]
                    self.assertEqual((texts[index], reasons[index]),
                                     (choice["text"], choice["finish_reason"]))
                self.assertEqual(usage["completion_tokens"], whole["usage"]["completion_tokens"])
                self.assertEqual(usage["prompt_tokens"], whole["usage"]["prompt_tokens"])

    def test_chats_are_those_of_the_native_contract(self):
        for messages in (CHAT[1:2], CHAT[:2], CHAT[1:], CHAT):
            with self.subTest(messages):
                answer = self.completed(self.smg, messages=messages, max_tokens=16)
                ids = self.direct.Tokenize(chat={"messages": messages}).ids
                self.assertEqual(answer["usage"]["prompt_tokens"], len(ids))
                text = answer["choices"][0]["message"]["content"]
                # The gateway keeps the blank that the vocabulary puts in front of a word.
                self.assertEqual(text.removeprefix(" "), self.direct.text(messages, 16))

    def test_several_outputs_are_those_of_the_seed(self):
        answer = self.completed(self.smg, prompt="Moses", n=3, seed=5, temperature=1, max_tokens=8)
        native = self.direct.Generate(text="Moses", n=3, sampling={"seed": 5, "temperature": 1},
                                      stopping={"max_tokens": 8})
        self.assertEqual([choice["text"] for choice in answer["choices"]],
                         [output.delta.text for output in native.outputs])
        self.assertEqual(len({choice["text"] for choice in answer["choices"]}), 3)

    def test_stop_strings_end_the_text(self):
        for stop in (["the"], ["zzz", "ang"], ["\n"]):
            with self.subTest(stop):
                prompt = "In the beginning"
                answer = self.completed(self.smg, prompt=prompt, max_tokens=40, stop=stop)
                native = self.direct.Generate(text=prompt, sampling={"temperature": 0},
                                              stopping={"max_tokens": 40, "stop_strings": stop})
                (choice,) = answer["choices"]
                self.assertEqual(choice["text"], native.outputs[0].delta.text)
                self.assertEqual(choice["finish_reason"], "stop")
                self.assertEqual(answer["usage"]["completion_tokens"],
                                 native.outputs[0].finished.usage.completion_tokens)

    def test_a_list_of_prompts_is_answered_in_order(self):
        prompts = ["Moses", "In the beginning", "And"]
        answer = self.completed(self.smg, prompt=prompts, max_tokens=8)
        self.assertEqual([choice["text"] for choice in answer["choices"]],
                         [self.direct.text(prompt, 8) for prompt in prompts])

    def test_log_probabilities_of_a_chat_are_the_native_ones(self):
        answer = self.completed(self.smg, messages=CHAT[1:2], max_tokens=8, logprobs=True,
                                top_logprobs=3)
        native = self.direct.Generate(
            chat={"messages": CHAT[1:2]}, sampling={"temperature": 0},
            stopping={"max_tokens": 8}, output={"logprobs": 3}).outputs[0].delta.tokens
        content = answer["choices"][0]["logprobs"]["content"]
        self.assertEqual(len(content), len(native))
        for ours, token in zip(content, native):
            self.assertAlmostEqual(ours["logprob"], token.logprob, places=5)
            self.assertEqual(len(ours["top_logprobs"]), 3)

    # Control tokens are no text.

    def test_no_text_becomes_a_control_token(self):
        for text in ("<s>", "</s>", "<unk>", "a <s> b", "<s></s>" * 3):
            self.assertFalse(CONTROL_IDS & set(self.ids(text)), text)

    def test_no_text_that_is_shown_names_a_control_token(self):
        asked = {"sampling": {"temperature": 2, "seed": 3},
                 "stopping": {"max_tokens": 200, "ignore_eos": True}, "output": {"logprobs": 20}}
        native = self.direct.Generate(chat={"messages": CHAT[1:2]}, **asked)
        tops = [top.id for token in native.outputs[0].delta.tokens for top in token.top]
        self.assertTrue(CONTROL_IDS & set(tops), "the end is not among the likeliest: another seed")
        answer = self.completed(
            self.smg, messages=CHAT[1:2], temperature=2, seed=3, max_tokens=200, ignore_eos=True,
            logprobs=True, top_logprobs=20, skip_special_tokens=False)
        content = answer["choices"][0]["logprobs"]["content"]
        shown = {top["token"] for token in content for top in [token, *token["top_logprobs"]]}
        shown.add(self.text(prompt="Moses", temperature=2, seed=3, max_tokens=200, ignore_eos=True,
                            skip_special_tokens=False))
        for control in CONTROL_IDS:
            _, answer = self.smg.call("/v1/detokenize", {"model": "demo", "tokens": [control],
                                                         "skip_special_tokens": False})
            shown.add(answer["text"])
        for text in shown:
            self.assertFalse(CONTROL_IDS & set(self.ids(text)), text)

    # Who chooses the level.

    def test_headers_and_ids_choose_what_is_skipped(self):
        carried = {"skip=attn:last=33%;": ("custom", ""), "level=half;": ("half", ""),
                   "salt=s;priority=-1;level=half;": ("half", ""), "": ("full", "")}
        for prefix, expected in carried.items():
            for fields in ({"prompt": "And"}, {"messages": CHAT[1:2]}):
                with self.subTest(prefix=prefix, fields=fields):
                    headers = {"x-skipstone": prefix} if prefix else {}
                    self.assertEqual(self.served(self.servers, 1, lambda: self.completed(
                        self.smg, headers, **fields)), {expected: 1})
                    rid = f"{prefix}{self.random.getrandbits(64):x}"
                    self.assertEqual(self.served(self.servers, 1, lambda: self.completed(
                        self.smg, rid=rid, **fields)), {expected: 1})

    def test_a_level_of_the_model_is_what_is_served(self):
        for level in LEVELS:
            self.assertEqual(self.served(self.servers, 1, lambda: self.completed(
                self.smg, model=f"demo:{level}", prompt="And")), {(level, ""): 1})

    def test_units_keep_their_arms_over_replicas(self):
        before = [self.requests(server).total() for server in self.servers]
        arms = set()
        for unit in range(24):
            headers = {"x-skipstone": f"unit=user-{unit};"}
            counted = self.served(self.servers, 3, lambda: [
                self.completed(self.smg, headers, prompt="And") for _ in range(3)])
            (arm,) = counted
            self.assertEqual(counted[arm], 3)
            arms.add(arm)
        self.assertEqual(arms, {("full", "e/control"), ("half", "e/treatment")})
        for server, earlier in zip(self.servers, before):
            self.assertGreater(self.requests(server).total(), earlier)

    # Errors.

    def test_errors_keep_their_words(self):
        for headers, status, words in [
                ("skip=attn:99;", 400, "skip.spec: "),
                ("skip=attn:0-11;", 400, "the policy's limit is 9 of 12"),
                ("level=nope;", 404, "no level 'nope'; the levels are: full, half"),
                ("priority=7;", 400, "priority"),
                ("level=half;colour=red;", 400, "colour")]:
            with self.subTest(headers):
                answered, message = self.refused(self.smg, {"x-skipstone": headers}, prompt="And")
                self.assertEqual(answered, status, message)
                self.assertIn(words, message)
        for status, fields in [(400, {"prompt": "And", "max_tokens": 0}),
                               (400, {"prompt": "And", "temperature": 9}),
                               (400, {"prompt": "x " * 600}),
                               (404, {"prompt": "And", "model": "no"})]:
            with self.subTest(fields):
                self.assertEqual(self.refused(self.smg, **fields)[0], status)

    def test_what_would_constrain_the_text_is_refused_by_name(self):
        schema = {"name": "x", "schema": {"type": "object"}}
        tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object",
                                                                             "properties": {}}}}
        for name, fields in [
                ("regex", {"prompt": "And", "regex": "a+"}),
                ("json_schema", {"messages": CHAT[1:2], "response_format": {
                    "type": "json_object"}}),
                ("json_schema", {"messages": CHAT[1:2], "response_format": {
                    "type": "json_schema", "json_schema": schema}}),
                ("", {"messages": CHAT[1:2], "tools": [tool], "tool_choice": "required"})]:
            with self.subTest(fields):
                status, message = self.refused(self.smg, **fields)
                self.assertEqual(status, 400, message)
                self.assertIn(f"sampling_params.{name}", message)


if __name__ == "__main__":
    unittest.main()
