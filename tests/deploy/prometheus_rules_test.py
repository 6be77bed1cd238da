#!/usr/bin/env python3
"""The rules and the scrape configuration, by promtool; their metrics and runbooks exist.

Usage: prometheus_rules_test.py SOURCE_DIR
"""
import pathlib
import re
import subprocess
import tempfile
import unittest

import deploy_support as support
import yaml  # its absence was reported by deploy_support

SOURCE = support.source_dir()
PROMTOOL = support.need_tool("promtool")
FOLDER = SOURCE / "deploy/prometheus"
RULES = yaml.safe_load((FOLDER / "skipstone.rules.yaml").read_text())
TESTS = yaml.safe_load((FOLDER / "skipstone.rules_test.yaml").read_text())["tests"]

ALL = [rule for group in RULES["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in ALL if "alert" in rule}
RECORDED = {rule["record"] for rule in ALL if "record" in rule}


class PrometheusRulesTest(unittest.TestCase):
    def promtool(self, *arguments):
        result = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_rules_are_well_formed(self):
        self.promtool("check", "rules", "--lint-fatal", FOLDER / "skipstone.rules.yaml")

    def test_rules_do_on_given_series_what_the_rules_test_says(self):
        self.promtool("test", "rules", FOLDER / "skipstone.rules_test.yaml")

    def test_the_rules_test_fires_and_silences_each_alert(self):
        fired, silent = set(), set()
        for test in TESTS:
            for check in test.get("alert_rule_test", []):
                (fired if check["exp_alerts"] else silent).add(check["alertname"])
        self.assertEqual(fired, set(ALERTS))
        self.assertEqual(silent, set(ALERTS))

    def test_the_rules_test_or_an_alert_reads_each_recorded_series(self):
        expressions = [c["expr"] for t in TESTS for c in t.get("promql_expr_test", [])]
        text = " ".join(expressions + [a["expr"] for a in ALERTS.values()])
        self.assertEqual({name for name in RECORDED if name not in text}, set())

    def test_only_exposed_and_recorded_metrics_are_used(self):
        known = support.METRIC_NAMES
        for rule in ALL:
            self.assertEqual(support.unknown_metrics(rule["expr"], known, RECORDED), set())
        series = " ".join(s["series"] for t in TESTS for s in t["input_series"])
        self.assertEqual(support.unknown_metrics(series, known), set())

    def test_each_alert_has_a_severity_and_a_runbook_entry(self):
        readme = (SOURCE / "deploy/README.md").read_text()
        entries = set(re.findall(r"^#+ (Skipstone\w+)$", readme, flags=re.M))
        self.assertEqual(entries, set(ALERTS))
        for name, alert in ALERTS.items():
            self.assertIn(alert["labels"]["severity"], ("warning", "critical"))
            self.assertEqual(alert["annotations"]["runbook"], f"deploy/README.md#{name.lower()}")

    def test_the_scrape_configuration_is_valid_and_its_job_is_what_alerts_look_for(self):
        config = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
        job, edge = config["scrape_configs"]
        for alert in ("SkipstoneDown", "SkipstoneAbsent"):
            self.assertIn(f'job="{job["job_name"]}"', ALERTS[alert]["expr"])
        self.assertEqual(edge["metrics_path"], "/stats/prometheus")
        for one in (job, edge):
            # Debian's promtool is built without Kubernetes; all else of the job it can check.
            self.assertEqual(one.pop("kubernetes_sd_configs"), [{"role": "pod"}])
            one["static_configs"] = [{"targets": ["127.0.0.1:9400"]}]
        config["rule_files"] = [str(FOLDER / name) for name in config["rule_files"]]
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "prometheus.yaml"
            path.write_text(yaml.safe_dump(config))
            self.promtool("check", "config", path)


if __name__ == "__main__":
    unittest.main()
