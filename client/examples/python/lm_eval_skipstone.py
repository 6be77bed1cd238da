"""A model class for lm-evaluation-harness (0.4.13): its tasks measure each skip level of a server.

Make the stubs as generate.py says, pip install lm-eval grpcio, then beside generate.py:

  PYTHONPATH=build/python python3 client/examples/python/lm_eval_skipstone.py --model skipstone \
      --model_args server=localhost:50051,skip=attn:last=25% --tasks arc_easy

`skip` is a level's name or a spec; a spec with commas is given as JSON: --model_args '{"skip":
"attn:7,17"}'. Not here: chat templates, token ids (the server tokenises).
"""
import re
from concurrent.futures import ThreadPoolExecutor

import grpc
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from generate import CHANNEL_OPTIONS
from skipstone.v1 import inference_pb2 as pb
from skipstone.v1 import inference_pb2_grpc

ITEMS_PER_CALL = 16
MAX_TOKENS = 256  # of an answer, where a task does not say


@register_model("skipstone")
class SkipstoneLM(LM):
    def __init__(self, server="localhost:50051", skip="none", timeout=600, concurrency=8, **_):
        super().__init__()
        is_level = re.fullmatch("[a-z][a-z0-9._-]*", skip) and skip != "none"
        self.skip = pb.Skip(level=skip) if is_level else pb.Skip(spec=skip)
        self.timeout, self.concurrency = float(timeout), int(concurrency)
        channel = grpc.insecure_channel(server, options=CHANNEL_OPTIONS)
        self.stub = inference_pb2_grpc.InferenceStub(channel)
        self.info = self.stub.GetModel(pb.GetModelRequest(), timeout=self.timeout)

    def _each(self, call, arguments):
        """Results in the order of the arguments, with several calls in flight."""
        with ThreadPoolExecutor(self.concurrency) as pool:
            return list(pool.map(call, arguments))

    def _score(self, items):
        calls = [items[i:i + ITEMS_PER_CALL] for i in range(0, len(items), ITEMS_PER_CALL)]
        responses = self._each(lambda part: self.stub.Score(
            pb.ScoreRequest(items=part, skip=self.skip), timeout=self.timeout), calls)
        return [result for response in responses for result in response.results]

    def loglikelihood(self, requests):
        items = [pb.ScoreItem(prompt={"text": context}, continuation={"text": continuation})
                 for context, continuation in (request.args for request in requests)]
        return [(result.logprob_sum, result.greedy) for result in self._score(items)]

    def _windows(self, text):
        """Every token once, each with as much of the text before it as the context holds."""
        ids = self.stub.Tokenize(pb.TokenizeRequest(text=text, add_special_tokens=False),
                                 timeout=self.timeout).ids
        prefix = (self.info.bos_token_id if self.info.HasField("bos_token_id")
                  else self.info.eos_token_ids[0])
        # A window's last token is only predicted, but the context has to hold it too.
        pairs = get_rolling_token_windows(list(ids), prefix, self.info.max_context_tokens - 1, 1)
        return [pb.ScoreItem(prompt={"token_ids": {"ids": before}},
                             continuation={"token_ids": {"ids": predicted}})
                for before, predicted in map(make_disjoint_window, pairs)]

    def loglikelihood_rolling(self, requests):
        windows = self._each(self._windows, [request.args[0] for request in requests])
        results = iter(self._score([item for items in windows for item in items]))
        return [sum(next(results).logprob_sum for _ in items) for items in windows]

    def _generate(self, request):
        text, options = request.args
        until = options.get("until") or []
        temperature = options.get("temperature", 0) if options.get("do_sample") else 0
        response = self.stub.Generate(pb.GenerateRequest(
            text=text, skip=self.skip, sampling={"temperature": temperature},
            stopping={"max_tokens": options.get("max_gen_toks", MAX_TOKENS),
                      "stop_strings": [until] if isinstance(until, str) else until}),
            timeout=self.timeout)
        return response.outputs[0].delta.text

    def generate_until(self, requests):
        return self._each(self._generate, requests)


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate
    cli_evaluate()
