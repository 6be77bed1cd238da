#!/usr/bin/env python3
"""What the gateways add to a request of one token: rounds of calls to the server itself, by Envoy
(JSON over TLS, with a key) and by SMG (OpenAI's API), in an order that turns.

Usage: gateway_latency.py SOURCE_DIR SKIPSTONE_SERVER BUILD_FOLDER [ROUNDS]
"""
import contextlib
import http.client
import json
import os
import pathlib
import ssl
import statistics
import sys
import tempfile
import time

import smg_case
from native_client import NativeClient
from running_envoy import need_envoy
from running_gateway import RunningGateway

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 500
WARM_UP = 20
PROMPT = "In the beginning"


def post(connection, path, message, **headers):
    """The answer's JSON, over a connection that is used again."""
    connection.request("POST", path, json.dumps(message),
                       {"content-type": "application/json", **headers})
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 200, text
    return json.loads(text)


def by_envoy(stack, folder, server):
    gateway = stack.enter_context(RunningGateway(
        need_envoy(smg_case.BUILD), smg_case.SOURCE, folder, server.grpc, {"a-key": "a"}))
    trusted = ssl.create_default_context(cafile=gateway.certificate)
    connection = http.client.HTTPSConnection(
        "localhost", int(gateway.address.rsplit(":", 1)[1]), timeout=60, context=trusted)
    message = {"text": PROMPT, "sampling": {"temperature": 0}, "stopping": {"max_tokens": 1}}
    call = lambda: post(connection, "/skipstone.v1.Inference/Generate", message,
                        authorization="Bearer a-key")
    end = time.monotonic() + 30
    while True:  # until Envoy has found the server healthy
        try:
            return call() and call
        except AssertionError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def main():
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server = stack.enter_context(smg_case.SmgCase.server(folder))
        direct = stack.enter_context(NativeClient(smg_case.SOURCE, server.grpc))
        smg = stack.enter_context(smg_case.SmgCase.gateway(folder, [server]))
        kept = stack.enter_context(smg.sent("/health"))
        kept.getresponse().read()
        message = {"model": "demo", "prompt": PROMPT, "max_tokens": 1, "temperature": 0}
        envoy_folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        calls = {"direct": lambda: direct.text(PROMPT, 1),
                 "by Envoy": by_envoy(stack, envoy_folder, server),
                 "by SMG": lambda: post(kept, "/v1/completions", message)}
        times = {name: [] for name in calls}
        for turn in range(ROUNDS + WARM_UP):
            names = list(calls)
            for name in names[turn % 3:] + names[:turn % 3]:
                began = time.perf_counter()
                calls[name]()
                times[name].append(1e3 * (time.perf_counter() - began))
        times = {name: values[WARM_UP:] for name, values in times.items()}
        for name in ("by Envoy", "by SMG"):
            times["added " + name] = [a - b for a, b in zip(times[name], times["direct"])]
        for name, values in times.items():
            tenths = statistics.quantiles(values, n=10)
            print(f"{name}: median {statistics.median(values):.2f} ms, "
                  f"{tenths[0]:.2f} to {tenths[-1]:.2f} ms in 8 of 10")
        print(f"{ROUNDS} rounds, load {os.getloadavg()[0]:.1f}")


main()
