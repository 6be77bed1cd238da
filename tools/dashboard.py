#!/usr/bin/env python3
"""Makes the Grafana dashboard of the table below and of the rows of server/request_metrics.h
and server/server_metrics.h.

    tools/dashboard.py > deploy/grafana/skipstone.json

A metric that no panel of the table shows gets one of its row, in the section "Other".
"""
import json
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Shown by no panel, and why.
NOT_SHOWN = {"build_info": "its labels are what it says: the variables list their values"}


def read_metrics():
    """{name: row} in the order of the two headers. A row has kind, help, label (of ..._BY, else
    None) and per_request: whether it has the labels skip_level and arm."""
    text = "".join((ROOT / "server" / name).read_text()
                   for name in ("request_metrics.h", "server_metrics.h"))
    metrics, scope = {}, ""
    for struct, kind, has_label, name, literals, rest in re.findall(
            r'^struct (\w+)|^  (COUNTER|GAUGE|HISTOGRAM|INFO)(_BY)?\(\s*(\w+),'
            r'((?:\s*"[^"]*")+)([^;]*)\);', text, flags=re.M):
        if struct:
            scope = struct
        else:
            metrics[name] = {"kind": "GAUGE" if kind == "INFO" else kind,
                             "help": "".join(re.findall(r'"([^"]*)"', literals)),
                             "label": rest.split('"')[1] if has_label else None,
                             "per_request": scope.startswith("Request")}
    return metrics


def exposed_names(metrics):
    """The names of series at /metrics."""
    return ["skipstone_" + name + suffix for name, row in metrics.items()
            for suffix in (("_bucket", "_sum", "_count") if row["kind"] == "HISTOGRAM" else ("",))]


def base_name(series):
    """The metric of a series, both without prefix."""
    return re.sub(r"_(bucket|sum|count)$", "", series)


# Queries. Where they have `name{}`, with or without filters, expand() adds those of the variables.
def rate(selector, *labels):
    return f"sum{' by (%s)' % ', '.join(labels) + ' ' if labels else ''}(rate({selector}))"


def per(part, whole):
    """A quotient; nothing, rather than infinite, while there is no whole."""
    return f"{part} / ({whole} > 0)"


def rates_ratio(part, whole, *labels):
    return per(rate(part, *labels), rate(whole, *labels))


def share_of_requests(outcome):
    """0 until there is one, for then there is no series."""
    part, whole = rate(f'requests_total{{outcome="{outcome}"}}'), rate("requests_total{}")
    return per(f"({part} or 0 * {whole})", whole)


def mean_by_arm(histogram):
    return rates_ratio(f'{histogram}_sum{{arm!=""}}', f'{histogram}_count{{arm!=""}}', "arm")


def quantiles(histogram, *labels, filters="", of=(0.5, 0.9, 0.99)):
    """{legend: query}"""
    buckets = rate(f"{histogram}_bucket{{{filters}}}", *labels, "le")
    group = "".join("{{%s}} " % label for label in labels)
    return {f"{group}p{100 * q:g}": f"histogram_quantile({q:g}, {buckets})" for q in of}


def by_level(histogram, filters=""):
    return quantiles(histogram, "skip_level", filters=filters)


# The table: sections, and panels of id, title, unit, description, query or {legend: query}, what
# differs from the default. The legend of a query without one is what it sums by. Ids stay as they
# are, for links have them; a new one is the next.
STACKED = {"stacked": True}
SECTIONS = [
    (1, "Traffic", [
        (2, "Requests by outcome", "reqps",
         "Requests that ended, per second. aborted: Abort was called or a reader stalled; "
         "deadline: the caller's; time_limit: a partial result that was asked for; rejected: "
         "refused before the start.",
         rate("requests_total{}", "outcome"), STACKED),
        (3, "Requests by level", "reqps",
         "Requests that ended, per second, by requested level; custom: a set of the caller's own.",
         rate("requests_total{}", "skip_level"), STACKED),
        (4, "Outputs by reason", "ops", "Outputs that finished, per second.",
         rate("request_success_total{}", "finished_reason"), STACKED),
        (5, "Errors", "percentunit",
         "Share of the requests that ended in INTERNAL. The alert fires at 1 %.",
         share_of_requests("error"), {"marks": (0.001, 0.01), "width": 4}),
        (6, "Refused", "percentunit",
         "Share of the requests that were refused. The alert fires at 5 %.",
         share_of_requests("rejected"), {"marks": (0.01, 0.05), "width": 4}),
        (7, "Running and waiting", "short", "Sequences in the batch, and in the queue.",
         {"running": "sum(num_requests_running{})", "waiting": "sum(num_requests_waiting{})"}),
        (8, "Generated tokens", "short", "Tokens per second, by level.",
         rate("generation_tokens_total{}", "skip_level"), STACKED)]),
    (9, "Latency by level", [
        (10, "Time to first token", "s",
         "From arrival to the first token handed to the transport.",
         by_level("time_to_first_token_seconds")),
        (11, "Inter-token latency", "s",
         "Between consecutive tokens. Requests that share batches share it, whatever their level.",
         by_level("inter_token_latency_seconds")),
        (12, "End to end", "s",
         "From arrival to the final status, of requests that were served.",
         by_level("e2e_request_latency_seconds", 'outcome="ok"')),
        (13, "Queue time", "s", "From arrival to the first step.",
         by_level("request_queue_time_seconds")),
        (14, "Prefill time", "s", "From the first step to the first token.",
         by_level("request_prefill_time_seconds")),
        (15, "Time per output token", "s",
         "Mean over one request's tokens after the first; distribution over requests.",
         by_level("request_time_per_output_token_seconds"))]),
    (16, "What skipping saves", [
        (17, "KV pages saved per request", "short",
         "Omitted: skipped attention layers did not need them. Windowed: they had left the windows "
         "of attention layers when the request ended. Mean over requests.",
         {"{{skip_level}} omitted":
          rates_ratio("kv_pages_omitted_total{}", "requests_total{}", "skip_level"),
          "{{skip_level}} windowed":
          rates_ratio("kv_pages_windowed_total{}", "requests_total{}", "skip_level")}),
        (18, "KV pages saved", "short", "Omitted and windowed, per second.",
         {"{{skip_level}} omitted": rate("kv_pages_omitted_total{}", "skip_level"),
          "{{skip_level}} windowed": rate("kv_pages_windowed_total{}", "skip_level")}, STACKED),
        (19, "Sublayers eliminated per token run", "short",
         "(row, sublayer) pairs that requests keep and row liveness did not compute, over the rows "
         "of all steps: high while prompts are read.",
         {"sublayers per row": rates_ratio("rows_eliminated_total{}", "step_rows_sum{}")}),
        (49, "Quality of levels", "short",
         "KL to the full model, in nats per token, as it was calibrated. A level without a line was "
         "not measured.",
         "max by (level) (level_quality_kl_nats{})")]),
    (20, "Memory", [
        (21, "KV pages by state", "short", "cached: kept for equal prefixes, free for the taking.",
         "sum by (state) (kv_pages{})", STACKED),
        (22, "KV pool in use", "percentunit",
         "Share of the pages in use by sequences, the fullest and the mean server.",
         {"fullest": "max(kv_cache_usage_perc{})", "mean": "avg(kv_cache_usage_perc{})"},
         {"max": 1}),
        (23, "Preemptions", "ops",
         "Sequences thrown out for want of pages and computed again later, per second.",
         {"preemptions": rate("num_preemptions_total{}")}),
        (24, "Prefix cache hit ratio", "percentunit",
         "Prompt tokens found over prompt tokens looked up.",
         {"hit ratio": rates_ratio("prefix_cache_hits_total{}", "prefix_cache_queries_total{}")},
         {"max": 1}),
        (25, "Prompt tokens", "short", "Per second, by level.",
         rate("prompt_tokens_total{}", "skip_level"), STACKED),
        (26, "Capacity", "short",
         "Servers by the size of their pool. Without skipping it holds blocks times tokens per "
         "block.",
         {"{{num_gpu_blocks}} blocks of {{block_size}} tokens":
          "sum by (num_gpu_blocks, block_size) (cache_config_info{})"}),
        (42, "Backend memory", "bytes",
         "What the backend took at start: on the device if there is one, else of the host.",
         "sum by (use) (backend_memory_bytes{})", {"stacked": True, "width": 12}),
        (43, "Recorded steps", "short",
         "CUDA graphs of decode steps, recorded before READY. 0 on the CPU.",
         "sum by (pod) (recorded_steps{})", {"width": 12})]),
    (38, "Load-adaptive skipping", [
        (39, "Requests browned out", "percentunit",
         "Share of the requests that started at their ceiling because of the load, by the level "
         "that they asked for.",
         rates_ratio("brownouts_total{}", "requests_total{}", "skip_level")),
        (40, "Attention layers shed", "ops",
         "Layers that running requests shed for want of pages instead of being preempted, and the "
         "pages that this freed, per second.",
         {"layers": rate("shed_attention_layers_total{}"), "pages": rate("shed_pages_total{}")}),
        (41, "Prompt tokens waiting", "short",
         "Prompt tokens of the requests in the queue, which max_queue_tokens bounds.",
         {"waiting": "sum(num_waiting_prompt_tokens{})"})]),
    (27, "Steps", [
        (28, "Step duration", "s", "One step of the engine, from launch to results.",
         quantiles("step_duration_seconds")),
        (29, "Rows per step", "short", "Tokens that one step ran.",
         {"mean": rates_ratio("step_rows_sum{}", "step_rows_count{}"),
          **quantiles("step_rows", of=(0.9, 0.99))}),
        (30, "Steps per second", "ops", "Of each server.",
         rate("step_duration_seconds_count{}", "instance"))]),
    (31, "Experiments", [
        (32, "Requests by arm", "reqps", "Requests that ended, per second.",
         rate('requests_total{arm!=""}', "arm")),
        (33, "Attributed time by arm", "s",
         "Mean share of the steps' time by work: the latency comparison that is fair to arms in "
         "one batch.",
         mean_by_arm("request_attributed_time_seconds")),
        (34, "Outcomes other than ok by arm", "percentunit", "Share of each arm's requests.",
         per(rate('requests_total{arm!="",outcome!="ok"}', "arm", "outcome"),
             rate('requests_total{arm!=""}', "arm")).replace(
                 "/ (", "/ ignoring (outcome) group_left () (")),
        (35, "Prompt tokens by arm", "short",
         "Mean per request. Arms that differ here got different traffic.",
         mean_by_arm("request_prompt_tokens")),
        (36, "Generated tokens by arm", "short",
         "Mean per request: longer answers cost more, and may be worse.",
         mean_by_arm("request_generation_tokens")),
        (37, "Decode time by arm", "s",
         "Mean, first token to last. Compare it only between windows of a switchback.",
         mean_by_arm("request_decode_time_seconds"))]),
    (50, "Quality of live traffic", [
        (51, "KL to the full model", "short",
         "Nats a token, of served tokens that were scored once more beside the full model, by level "
         "and arm. The full level has exactly 0 on the CPU.",
         rates_ratio("shadow_kl_nats_sum{}", "shadow_kl_nats_count{}", "skip_level", "arm")),
        (52, "KL by place in the output", "short",
         "Nats a token, of all levels that skip: whether the cost grows with the output.",
         rates_ratio('shadow_kl_nats_sum{skip_level!="full"}',
                     'shadow_kl_nats_count{skip_level!="full"}', "position")),
        (53, "Agreement with the full model", "percentunit",
         "Share of an output's tokens whose likeliest token is the full model's, mean over outputs.",
         rates_ratio("shadow_agreement_ratio_sum{}", "shadow_agreement_ratio_count{}", "skip_level",
                     "arm"), {"max": 1}),
        (54, "Tokens scored once more", "short",
         "Per second, and outputs that were to be scored and were not, by reason.",
         {"tokens": rate("shadow_tokens_total{}"),
          "dropped: {{reason}}": rate("shadow_dropped_total{}", "reason")}),
        (55, "What that takes", "percentunit",
         "Attributed time of this scoring, as a share of one server's time.",
         rate("shadow_attributed_seconds_total{}", "pod")),
        (56, "Arms that are on", "short",
         "1: requests may get the arm; 0: a guardrail has turned it off, on some pod at least.",
         "min by (arm) (experiment_arm_enabled{})"),
        (57, "Guardrail trips", "short", "Arms turned off in the last hour, by the pod that found it.",
         "sum by (arm, pod) (increase(guardrail_trips_total{}[1h]))"),
        (58, "Steps of ramps", "short",
         "From 0; the last step has the configured weights. Pods agree within seconds.",
         "max by (experiment) (experiment_ramp_step{})")]),
    (44, "Process", [
        (45, "Descriptors in use", "percentunit",
         "Open descriptors as a share of what the process may open. At 100 % no connection is "
         "accepted any more.",
         "max by (pod) (open_fds{} / max_fds{})", {"width": 6}),
        (46, "Connections", "short",
         "Open connections to the gRPC port, and those refused a second for being above "
         "max_connections. Behind the sidecar these are its own.",
         {"{{pod}} open": "sum by (pod) (open_connections{})",
          "{{pod}} refused/s": rate("refused_connections_total{}", "pod")}, {"width": 6}),
        (47, "Output queue", "short",
         "Results of steps that wait for the output threads. It grows when streams are written "
         "more slowly than tokens are made.",
         "sum by (pod) (output_queue_events{})", {"width": 6}),
        (48, "Log lines dropped", "short",
         "Lines a second that the reader of the log did not take in time. The server does not "
         "wait for it.",
         rate("log_lines_dropped_total{}", "pod"), {"width": 6})])]
OTHER_ID = 1000  # Of the section "Other"; its panels' follow.

VARIABLES = [("model_name", "Model", "build_info"), ("skip_level", "Level", "requests_total"),
             ("arm", "Arm", "requests_total"), ("pod", "Pod", "build_info")]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
HEIGHT, COLUMNS = 8, 24


def other_panels(metrics):
    """Of the metrics that the table does not show."""
    shown = {base_name(name) for _, _, panels in SECTIONS for panel in panels
             for name in re.findall(r"(\w+){", str(panel[4]))} | set(NOT_SHOWN)
    panels = []
    for name, row in metrics.items():
        if name in shown:
            continue
        labels = [row["label"]] if row["label"] else ["skip_level" if row["per_request"] else "pod"]
        title = re.sub("_total$", "", name).replace("_", " ").capitalize()
        unit = {"total": "ops", "seconds": "s", "bytes": "bytes"}.get(name.split("_")[-1], "short")
        query = {"COUNTER": lambda: rate(name + "{}", *labels),
                 "GAUGE": lambda: f"sum by ({labels[0]}) ({name}{{}})",
                 "HISTOGRAM": lambda: quantiles(name, *labels)}[row["kind"]]()
        panels.append((OTHER_ID + 1 + len(panels), title, unit, row["help"] + ".", query))
    return panels


def expand(query, metrics):
    """The PromQL of a query of the table: names, filters and windows in full."""
    def selector(match):
        row = metrics.get(match[1]) or metrics[base_name(match[1])]
        filters = ["%s=~\"$%s\"" % (label, label) for label, _, _ in VARIABLES
                   if row["per_request"] or label not in ("skip_level", "arm")]
        return "skipstone_%s{%s}" % (match[1], ",".join(filters + ([match[2]] if match[2] else [])))
    query = re.sub(r"(\w+){([^}]*)}", selector, query)
    return re.sub(r"(rate\([^)]*)", r"\1[$__rate_interval]", query)


def graph_options(unit, stacked=False, most=None):
    defaults = {
        "unit": unit, "min": 0,
        "custom": {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 20 if stacked else 0,
                   "showPoints": "never", "spanNulls": False,
                   "stacking": {"mode": "normal" if stacked else "none", "group": "A"}},
        "color": {"mode": "palette-classic"}}
    if most is not None:
        defaults["max"] = most
    legend = {"displayMode": "table", "placement": "bottom", "calcs": ["mean", "max"],
              "showLegend": True}
    return defaults, {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}


def number_options(unit, orange, red):
    steps = [{"color": "green", "value": None}, {"color": "orange", "value": orange},
             {"color": "red", "value": red}]
    return ({"unit": unit, "color": {"mode": "thresholds"},
             "thresholds": {"mode": "absolute", "steps": steps}},
            {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
             "graphMode": "area", "colorMode": "value", "textMode": "auto", "justifyMode": "auto",
             "orientation": "auto"})


def panel_json(row, metrics, x, y):
    number, title, unit, description, queries, more = row
    defaults, options = (number_options(unit, *more["marks"]) if "marks" in more else
                         graph_options(unit, more.get("stacked", False), more.get("max")))
    if isinstance(queries, str):
        summed_by = re.search(r"by \(([^)]*)\)", queries)
        labels = summed_by[1].split(", ") if summed_by else []
        queries = {" ".join("{{%s}}" % label for label in labels): queries}
    return {"id": number, "type": "stat" if "marks" in more else "timeseries", "title": title,
            "description": description, "datasource": SOURCE,
            "gridPos": {"h": HEIGHT, "w": more["width"], "x": x, "y": y},
            "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options,
            "targets": [{"refId": chr(ord("A") + n), "datasource": SOURCE,
                         "expr": expand(query, metrics), "legendFormat": legend}
                        for n, (legend, query) in enumerate(queries.items())]}


def panels_json(metrics):
    """Sections below each other, their panels from left to right."""
    panels, y = [], 0
    others = other_panels(metrics)
    for number, title, rows in SECTIONS + ([(OTHER_ID, "Other", others)] if others else []):
        panels.append({"id": number, "type": "row", "title": title, "collapsed": False,
                       "panels": [], "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": y}})
        x, y = 0, y + 1
        for row in rows:
            more = {"width": 8, **(row[5] if len(row) > 5 else {})}
            if x + more["width"] > COLUMNS:
                x, y = 0, y + HEIGHT
            panels.append(panel_json((*row[:5], more), metrics, x, y))
            x += more["width"]
        y += HEIGHT
    return panels


def variable_json(name, label, metric):
    values = f"label_values(skipstone_{metric}, {name})"
    return {"name": name, "label": label, "type": "query", "datasource": SOURCE,
            "definition": values, "query": {"query": values, "refId": name}, "refresh": 2,
            "sort": 1, "multi": True, "includeAll": True, "allValue": ".*",
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]}, "options": [],
            "hide": 0, "regex": "", "skipUrlSync": False}


def dashboard(metrics):
    restarts = {"name": "Restarts", "enable": True, "iconColor": "orange", "datasource": SOURCE,
                "expr": expand("resets(step_duration_seconds_count{}[1m]) > 0", metrics),
                "step": "60s", "titleFormat": "restart", "textFormat": "{{instance}}"}
    source = {"name": "datasource", "label": "Data source", "type": "datasource",
              "query": "prometheus", "refresh": 1, "regex": "", "hide": 0, "includeAll": False,
              "multi": False, "options": [], "current": {}, "skipUrlSync": False}
    return {"uid": "skipstone", "title": "Skipstone",
            "description": "Llama 2 over gRPC with per-request sublayer skipping.",
            "tags": ["llm", "skipstone"], "schemaVersion": 39, "version": 1, "editable": True,
            "graphTooltip": 1, "refresh": "30s", "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser", "timepicker": {}, "fiscalYearStartMonth": 0, "liveNow": False,
            "links": [], "annotations": {"list": [restarts]},
            "templating": {"list": [source] + [variable_json(*row) for row in VARIABLES]},
            "panels": panels_json(metrics)}


def dashboard_text(metrics):
    """JSON with a panel a line, so that a change of one is a line."""
    made = dashboard(metrics)
    panels = ",\n".join(json.dumps(panel) for panel in made.pop("panels"))
    lines = [f'"{key}": {json.dumps(value)}' for key, value in made.items()]
    return "{\n" + ",\n".join(lines) + ',\n"panels": [\n' + panels + "\n]\n}\n"


if __name__ == "__main__":
    print(dashboard_text(read_metrics()), end="")
