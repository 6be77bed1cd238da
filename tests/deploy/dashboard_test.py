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
DASHBOARD = support.dashboard(SOURCE)
PANELS = DASHBOARD["panels"]
GRAPHS = [panel for panel in PANELS if panel["type"] != "row"]
EXPRESSIONS = support.dashboard_expressions(DASHBOARD)

GRID_COLUMNS = 24
# Series that the engine as a whole has, not a request.
ENGINE_WIDE = re.compile(r"skipstone_(num_|kv_cache|kv_pages\b|kv_pages{|prefix_cache|rows_"
                         r"|step_|shed_|build_info|cache_config|backend_|recorded_|open_|max_fds"
                         r"|refused_connections|output_queue|log_lines)")


class DashboardTest(unittest.TestCase):
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
        known = support.metric_names(SOURCE)
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

    def test_only_exposed_metrics_are_named_and_the_main_ones_all(self):
        known = set(support.metric_names(SOURCE))
        text = " ".join(expression for _, expression in EXPRESSIONS)
        self.assertEqual(support.unknown_metrics(text, known), set())
        # What is exposed and shown nowhere is either missing here or exposed in vain.
        shown = {re.sub(r"_(bucket|sum|count)$", "", m) for m in re.findall(r"skipstone_\w+", text)}
        exposed = {re.sub(r"_(bucket|sum|count)$", "", m) for m in known}
        self.assertEqual(exposed - shown, {"skipstone_build_info"})

    def test_request_series_are_filtered_by_every_variable(self):
        for panel in GRAPHS:
            for target in panel["targets"]:
                for metric, labels in re.findall(r"(skipstone_\w+){([^}]*)}", target["expr"]):
                    wanted = {"model_name", "pod"}
                    if not ENGINE_WIDE.match(metric + "{"):
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
