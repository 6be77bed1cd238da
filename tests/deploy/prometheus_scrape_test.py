#!/usr/bin/env python3
"""A real Prometheus scrapes a real server: names, format and rules fit together.

Usage: prometheus_scrape_test.py SOURCE_DIR SKIPSTONE_SERVER SKIPSTONE_CLIENT
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

import deploy_support as support
import yaml  # its absence was reported by deploy_support
from running_server import RunningServer

SOURCE = support.source_dir()
SERVER, CLIENT = sys.argv.pop(1), sys.argv.pop(1)
PROMTOOL = support.need_tool("promtool")
PROMETHEUS = support.need_tool("prometheus")
POLL_SECONDS = 30
# Of every per-request series.
LABELS = {"model_name", "skip_level", "arm"}


def get(url):
    # Never by a proxy of the environment: the addresses are loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5) as answer:
        return answer.read().decode()


class RunningPrometheus:
    """Scrapes `target` each second, with the repository's rules; `query` asks its HTTP API."""

    def __init__(self, folder, target):
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(SOURCE / "deploy/prometheus/skipstone.rules.yaml")],
            "scrape_configs": [{"job_name": "skipstone", "static_configs": [{"targets": [target]}]}],
        }
        path = pathlib.Path(folder) / "prometheus.yaml"
        path.write_text(yaml.safe_dump(config))
        self.log = pathlib.Path(folder) / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [PROMETHEUS, f"--config.file={path}", f"--storage.tsdb.path={folder}/data",
                 "--web.listen-address=127.0.0.1:0", "--log.format=json"],
                stdout=subprocess.DEVNULL, stderr=log)
        self.address = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=60)

    def listening(self):
        """Whether it serves; finds the port that the system chose in the log."""
        if self.process.poll() is not None:
            raise AssertionError("prometheus ended:\n" + self.log.read_text())
        found = re.search(r'"address":"(127\.0\.0\.1:[1-9]\d*)"', self.log.read_text())
        self.address = found[1] if found else None
        return bool(found)

    def api(self, path, **parameters):
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        return json.loads(get(url))["data"]

    def query(self, expression):
        """The series of the answer; none while it still starts, though it listens."""
        try:
            return self.api("query", query=expression)["result"]
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            return []


def poll(what, found):
    """The first true value of `found`, asked for at most POLL_SECONDS."""
    deadline = time.monotonic() + POLL_SECONDS
    while time.monotonic() < deadline:
        value = found()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {POLL_SECONDS} s")


def labels_of(line):
    return set(re.findall(r'[{,](\w+)="', line))


class PrometheusScrapeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # Some rows have samples only where there are shadows, arms with guardrails and a ramp, TLS.
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        key, cls.certificate = support.make_certificate(folder)
        config = folder / "server.yaml"
        config.write_text(yaml.safe_dump({
            "tls_cert": str(cls.certificate), "tls_key": str(key),
            "levels": {"full": "none", "half": "attn:last=50%"}, "shadow_fraction": 1,
            "experiments": [{"name": "e", "unit": "request.experiment_key",
                             "guardrails": [{"metric": "error_rate", "max": 0.5}],
                             "ramp": {"steps": [0.1]},
                             "arms": [{"name": "a", "level": "full", "weight": 1},
                                      {"name": "b", "level": "half", "weight": 1}]}]}))
        cls.server = RunningServer(SERVER, f"--model={SOURCE}/models/demo", "--kv_memory=16MiB",
                                   "--log_level=warn", f"--config={config}")
        cls.enterClassContext(cls.server)
        # A series whose first sample is not 0 has no rate before its second: two requests.
        for _ in range(2):
            cls.generate()
        scrape = lambda: get(f"http://{cls.server.metrics}/metrics")
        poll("shadows", lambda: "skipstone_shadow_kl_nats_sum" in scrape())
        cls.metrics = scrape()

    @classmethod
    def generate(cls, *flags):
        subprocess.run([CLIENT, "generate", "--server", cls.server.grpc, "--tls", "--tls_ca",
                        cls.certificate, "--max_tokens", "8", *flags, "In the beginning"], check=True, capture_output=True, timeout=60)

    def test_promtool_finds_no_fault_in_names_types_and_help(self):
        result = subprocess.run([PROMTOOL, "check", "metrics"], input=self.metrics,
                                capture_output=True, text=True)
        self.assertEqual((result.returncode, result.stdout + result.stderr), (0, ""))

    def test_exposes_the_rows_of_the_table_and_no_others(self):
        names = {re.split(r"[{ ]", line)[0] for line in self.metrics.splitlines()
                 if line.startswith("skipstone_")}
        self.assertEqual(sorted(names), sorted(support.METRIC_NAMES))
        found = re.findall(r"^# HELP skipstone_(\w+) (.*)\n# TYPE \w+ (\w+)$", self.metrics, re.M)
        self.assertEqual({name: (kind, text) for name, text, kind in found},
                         {name: (row["kind"].lower(), row["help"])
                          for name, row in support.METRICS.items()})

    def test_has_the_labels_that_the_table_says(self):
        for line in self.metrics.splitlines():
            if not line.startswith("skipstone_"):
                continue
            row = support.METRICS[support.dashboard.base_name(re.split("[{ ]", line)[0][10:])]
            labels = labels_of(line)
            self.assertEqual(LABELS <= labels, row["per_request"], line)
            self.assertTrue(row["label"] is None or row["label"] in labels, line)

    def test_prometheus_stores_the_samples_and_evaluates_the_rules(self):
        with tempfile.TemporaryDirectory() as folder, \
                RunningPrometheus(folder, self.server.metrics) as prometheus:
            poll("prometheus listens", prometheus.listening)
            count = 'sum(skipstone_requests_total{outcome="ok"})'
            first = poll("a sample", lambda: prometheus.query(count))
            self.assertGreaterEqual(float(first[0]["value"][1]), 2)
            (up,) = prometheus.query('up{job="skipstone"}')
            self.assertEqual(up["value"][1], "1")

            self.generate()  # a counter that moves has a rate
            rate = 'job_level_outcome:skipstone_requests:rate5m{outcome="ok"} > 0'
            recorded = poll("a recorded rate", lambda: prometheus.query(rate))
            self.assertEqual(recorded[0]["metric"]["skip_level"], "full")

            rules = [r for g in prometheus.api("rules")["groups"] for r in g["rules"]]
            self.assertGreater(len(rules), 15)
            self.assertEqual([r["name"] for r in rules if r["health"] == "err"], [])
            self.assertEqual([r["name"] for r in rules if r.get("state") == "firing"], [])

    def test_reports_are_made_of_what_prometheus_has_stored(self):
        def report():
            for user in range(3):
                self.generate(f"--experiment_key=user-{user}")
            done = subprocess.run(
                [CLIENT, "experiment", "report", f"--prometheus=http://{prometheus.address}",
                 "--experiment=e", "--last=60s", "--span=10s", "--json"],
                check=True, capture_output=True, text=True, timeout=60)
            experiments = json.loads(done.stdout)["experiments"]
            return experiments and [arm for arm in experiments[0]["arms"] if arm["name"] == "a"]

        with tempfile.TemporaryDirectory() as folder, \
                RunningPrometheus(folder, self.server.metrics) as prometheus:
            poll("prometheus listens", prometheus.listening)
            (arm,) = poll("an arm with traffic", report)
            self.assertGreater(arm["requests"], 0)
            self.assertGreater(arm["values"]["attributed_s_per_token"], 0)
            self.assertIsNone(arm["values"]["agreement_ratio"])


if __name__ == "__main__":
    unittest.main()
