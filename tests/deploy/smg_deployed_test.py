#!/usr/bin/env python3
"""SMG as deploy/kubernetes/overlays/gateway runs it: its flags, its keys, the pod's sidecar.

Usage: smg_deployed_test.py SOURCE_DIR SKIPSTONE_SERVER BUILD_FOLDER
"""
import tempfile
import unittest

import yaml  # its absence is reported by deploy_support

from native_client import NativeClient
from running_envoy import RunningEnvoy, need_envoy
from running_smg import RunningSmg
from smg_case import BUILD, SMG, SOURCE, SmgCase

ENVOY = need_envoy(BUILD)
# Those of RunningSmg, and of a cluster.
ELSEWHERE = ("--host", "--port", "--health-check-port", "--prometheus-", "--service-discovery",
             "--selector", "--shutdown-grace-period-secs", "--health-check-interval-secs")
KEYS = {"$(API_KEY)": "sesame", "$(CONTROL_PLANE_KEY)": "open"}
KEY, ADMIN = ({"authorization": f"Bearer {key}"} for key in KEYS.values())


def flags():
    path = SOURCE / "deploy/kubernetes/overlays/gateway/smg-deployment.yaml"
    (container,) = yaml.safe_load(path.read_text())["spec"]["template"]["spec"]["containers"]
    found = [word for word in container["args"] if not word.startswith(ELSEWHERE)]
    for name, key in KEYS.items():
        found = [word.replace(name, key) for word in found]
    return found


class SmgDeployedTest(SmgCase):
    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.replica = cls.enterClassContext(cls.server(folder, "--allow_abort=any"))
        cls.envoy = cls.enterClassContext(RunningEnvoy(ENVOY, SOURCE, folder, cls.replica.grpc))
        cls.smg = cls.enterClassContext(RunningSmg(
            SMG, folder, [cls.envoy.grpc, *cls.replica.levels.values()], *flags(), headers=ADMIN))
        cls.direct = cls.enterClassContext(NativeClient(SOURCE, cls.envoy.grpc))

    def test_all_models_are_served(self):
        for model, level in (("demo", "full"), ("demo:full", "full"), ("demo:half", "half")):
            answer = self.completed(self.smg, KEY, model=model, prompt="And", max_tokens=8)
            self.assertEqual(answer["choices"][0]["text"], self.direct.text("And", 8, level))

    def test_units_reach_the_server(self):
        counted = self.served([self.replica], 1, lambda: self.completed(
            self.smg, {**KEY, "x-skipstone": "unit=alice;"}, prompt="And"))
        ((_, arm),) = counted
        self.assertIn(arm, ("e/control", "e/treatment"))

    def test_nobody_is_served_without_a_key(self):
        body = {"model": "demo", "prompt": "And", "max_tokens": 1}
        for headers in ({}, {"authorization": "Bearer sesam"}, ADMIN):
            self.assertEqual(self.smg.status("/v1/completions", body, headers), 401)

    def test_workers_are_the_operators(self):
        body = {"url": "grpc://127.0.0.1:1"}
        for headers in ({}, KEY):
            self.assertEqual(self.smg.status("/workers", body, headers), 401)
            self.assertEqual(self.smg.status("/workers", headers=headers), 401)
        self.assertEqual(self.smg.status("/workers", headers=ADMIN), 200)

    def test_who_goes_away_leaves_nothing_behind(self):
        for stream in (True, False):
            with self.subTest(stream=stream):
                before = self.requests(self.replica)
                with self.smg.sent("/v1/completions", {
                        "model": "demo", "prompt": "And", "max_tokens": 400, "n": 8,
                        "ignore_eos": True, "stream": stream}, KEY):
                    self.until("it runs", lambda: self.direct.GetLoad().running == 8)
                self.until("it is counted", lambda: self.requests(self.replica) != before)
                ((_, _, outcome),) = self.requests(self.replica) - before
                self.assertIn(outcome, ("cancelled", "aborted"))
                self.assertEqual(self.direct.GetLoad().kv_pages_used, 0)


if __name__ == "__main__":
    unittest.main()
