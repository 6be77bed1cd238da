#!/usr/bin/env python3
"""The Grafana dashboard: its structure, its PromQL and the metrics it names.

Usage: dashboard_test.py SOURCE_DIR
"""
import itertools
import json
import pathlib
import re
import subprocess
import tempfile
import unittest

import deploy_support as support
import yaml  # its absence was reported by deploy_support

SOURCE = support.source_dir()
PROMTOOL = support.need_tool("promtool")
TEXT = (SOURCE / "deploy/grafana/skipstone.json").read_text()
DASHBOARD = json.loads(TEXT)
PANELS = DASHBOARD["panels"]
GRAPHS = [panel for panel in PANELS if panel["type"] != "row"]
EXPRESSIONS = support.dashboard_expressions(DASHBOARD)

GRID_COLUMNS = 24


class DashboardTest(unittest.TestCase):
    def test_is_what_its_table_makes(self):
        self.assertEqual(TEXT, support.dashboard.dashboard_text(support.METRICS),
                         "tools/dashboard.py > deploy/grafana/skipstone.json")

    def test_a_metric_that_no_panel_shows_gets_one_of_its_row(self):
        row = {"help": "What it is", "label": None, "per_request": False}
        more = {"new_total": {**row, "kind": "COUNTER", "per_request": True},
                "new_bytes": {**row, "kind": "GAUGE", "label": "use"},
                "new_seconds": {**row, "kind": "HISTOGRAM"}}
        made = support.dashboard.dashboard({**support.METRICS, **more})["panels"]
        self.assertEqual(made[:len(PANELS)], PANELS)
        self.assertIn(("row", "Other"), [(p["type"], p["title"]) for p in made])
        panels = [p for p in made[len(PANELS):] if p["type"] != "row"]
        self.assertEqual([p["title"] for p in panels], ["New", "New bytes", "New seconds"])
        self.assertEqual([p["fieldConfig"]["defaults"]["unit"] for p in panels],
                         ["ops", "bytes", "s"])
        self.assertEqual([(t["expr"], t["legendFormat"]) for p in panels[:2]
                          for t in p["targets"]],
                         [('sum by (skip_level) (rate(skipstone_new_total{'
                           'model_name=~"$model_name",skip_level=~"$skip_level",arm=~"$arm",'
                           'pod=~"$pod"}[$__rate_interval]))', "{{skip_level}}"),
                          ('sum by (use) (skipstone_new_bytes{model_name=~"$model_name",'
                           'pod=~"$pod"})', "{{use}}")])
        self.assertEqual(len(panels[2]["targets"]), 3)

    def test_has_the_identity_that_links_rely_on(self):
        self.assertEqual((DASHBOARD["uid"], DASHBOARD["title"]), ("skipstone", "Skipstone"))
        self.assertNotIn("id", DASHBOARD)  # belongs to one Grafana

    def test_every_query_goes_to_the_chosen_data_source(self):
        wanted = {"type": "prometheus", "uid": "${datasource}"}
        for panel in GRAPHS:
            self.assertEqual(panel["datasource"], wanted, panel["title"])
            for target in panel["targets"]:
                self.assertEqual(target["datasource"], wanted, panel["title"])
        for variable in DASHBOARD["templating"]["list"][1:]:
            self.assertEqual(variable["datasource"], wanted)

    def test_variables_exist_are_used_and_match_absent_labels_when_all_are_chosen(self):
        variables = {v["name"]: v for v in DASHBOARD["templating"]["list"]}
        self.assertEqual(list(variables), ["datasource", "model_name", "skip_level", "arm", "pod"])
        used = set(re.findall(r"\$\{?(\w+)", json.dumps(PANELS))) - {"__rate_interval"}
        self.assertEqual(used, set(variables))
        known = support.METRIC_NAMES
        for name, variable in itertools.islice(variables.items(), 1, None):
            self.assertEqual((variable["includeAll"], variable["allValue"]), (True, ".*"))
            metric = re.fullmatch(rf"label_values\((\w+), {name}\)", variable["definition"])[1]
            self.assertIn(metric, known)
            self.assertEqual(variable["query"]["query"], variable["definition"])

    def test_panels_have_ids_of_their_own_and_do_not_overlap(self):
        self.assertEqual(len({panel["id"] for panel in PANELS}), len(PANELS))
        for panel in PANELS:
            grid = panel["gridPos"]
            self.assertLessEqual(grid["x"] + grid["w"], GRID_COLUMNS, panel["title"])
        for a, b in itertools.combinations(PANELS, 2):
            p, q = a["gridPos"], b["gridPos"]
            apart = (p["x"] + p["w"] <= q["x"] or q["x"] + q["w"] <= p["x"] or
                     p["y"] + p["h"] <= q["y"] or q["y"] + q["h"] <= p["y"])
            self.assertTrue(apart, (a["title"], b["title"]))

    def test_panels_say_what_they_show_and_in_which_unit(self):
        self.assertEqual(len({panel["title"] for panel in PANELS}), len(PANELS))
        for panel in GRAPHS:
            self.assertTrue(panel["description"].endswith("."), panel["title"])
            unit = panel["fieldConfig"]["defaults"]["unit"]
            metrics = " ".join(target["expr"] for target in panel["targets"])
            if "histogram_quantile" in metrics and "_seconds_bucket" in metrics:
                self.assertEqual(unit, "s", panel["title"])
            references = [target["refId"] for target in panel["targets"]]
            self.assertEqual(len(set(references)), len(references))

    def test_every_metric_is_shown_or_said_why_not_and_no_other(self):
        text = " ".join(expression for _, expression in EXPRESSIONS)
        self.assertEqual(support.unknown_metrics(text, support.METRIC_NAMES), set())
        shown = {support.dashboard.base_name(m) for m in re.findall(r"skipstone_(\w+)", text)}
        self.assertEqual(set(support.METRICS) - shown, set(support.dashboard.NOT_SHOWN))

    def test_request_series_are_filtered_by_every_variable(self):
        for panel in GRAPHS:
            for target in panel["targets"]:
                for metric, labels in re.findall(r"skipstone_(\w+){([^}]*)}", target["expr"]):
                    wanted = {"model_name", "pod"}
                    if support.METRICS[support.dashboard.base_name(metric)]["per_request"]:
                        wanted |= {"skip_level", "arm"}
                    filters = set(re.findall(r'(\w+)=~"\$\1"', labels))
                    self.assertEqual(filters, wanted, (panel["title"], metric))

    def test_legends_name_labels_that_the_query_keeps(self):
        for panel in GRAPHS:
            for target in panel["targets"]:
                kept = set()
                for labels in re.findall(r"by \(([^)]*)\)", target["expr"]):
                    kept |= set(re.split(r",\s*", labels))
                named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
                self.assertLessEqual(named, kept, panel["title"])
                self.assertLessEqual(kept - named, {"le"}, panel["title"])

    def test_promql_parses(self):
        rules = [{"record": f"dashboard:{n}", "expr": expression}
                 for n, (_, expression) in enumerate(EXPRESSIONS)]
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "rules.yaml"
            path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
            result = subprocess.run([PROMTOOL, "check", "rules", path], capture_output=True,
                                    text=True)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)


if __name__ == "__main__":
    unittest.main()
