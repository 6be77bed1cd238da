#!/usr/bin/env python3
"""What SMG adds to a request of one token: pairs of calls, one to the server, one by the gateway.

Usage: smg_latency.py SOURCE_DIR SKIPSTONE_SERVER BUILD_FOLDER [PAIRS]
"""
import json
import os
import statistics
import sys
import tempfile
import time

import smg_case
from native_client import NativeClient

PAIRS = int(sys.argv[1]) if len(sys.argv) > 1 else 500


def main():
    with tempfile.TemporaryDirectory() as folder, smg_case.SmgCase.server(folder) as server, \
            smg_case.SmgCase.gateway(folder, [server]) as smg, \
            NativeClient(smg_case.SOURCE, server.grpc) as direct, smg.sent("/health") as kept:
        kept.getresponse().read()  # the connection is used again
        body = json.dumps({"model": "demo", "prompt": "In the beginning", "max_tokens": 1,
                           "temperature": 0})

        def by_smg():
            kept.request("POST", "/v1/completions", body, {"content-type": "application/json"})
            answer = kept.getresponse()
            assert json.loads(answer.read())["choices"][0]["text"], answer.status

        calls = {"direct": lambda: direct.text("In the beginning", 1), "by SMG": by_smg}
        times = {name: [] for name in calls}
        for pair in range(PAIRS + 20):  # the first ones warm up
            for name in sorted(calls, reverse=pair % 2):
                began = time.perf_counter()
                calls[name]()
                times[name].append(1e3 * (time.perf_counter() - began))
        added = [a - b for a, b in zip(times["by SMG"][20:], times["direct"][20:])]
        for name, values in {**{n: v[20:] for n, v in times.items()}, "added": added}.items():
            tenths = statistics.quantiles(values, n=10)
            print(f"{name}: median {statistics.median(values):.2f} ms, "
                  f"{tenths[0]:.2f} to {tenths[-1]:.2f} ms in 8 of 10")
        print(f"{PAIRS} pairs, load {os.getloadavg()[0]:.1f}")


main()
