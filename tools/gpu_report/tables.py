#!/usr/bin/env python3
"""Turns what run.sh wrote into the Markdown tables of RESULTS.md, on standard output.

Usage: tables.py OUT...
Several folders, of several calls on one kind of device, give one set of tables; where two hold the
same cell, the later folder's counts. A cell without data stays empty, `failed` is one whose program
failed. Folders of different devices are refused.
"""
import json
import pathlib
import statistics
import sys

BATCHES = [1, 8, 32, 128, 256]
CONTEXTS = [128, 1024, 4096]
SKIPS = ["attn:last=8", "attn:last=11", "attn:last=16"]
PEERS = ["loop-compiled", "loop-graph", "transformers-compiled", "transformers-eager"]


# ---- Reading

class Results:
    def __init__(self, folders):
        self.hosts = [host for folder in folders for host in read_lines(folder / "host.json")]
        self.stages, self.bench, self.peers, self.serving = (
            [line for folder in folders for line in read_lines(folder / name)]
            for name in ("stages.jsonl", "bench.jsonl", "peers.jsonl", "serving.jsonl"))

    def runs(self, *stages):
        """The lines of engine-bench that these stages wrote and that hold results or an error."""
        return [line for line in self.bench if line.get("stage") in stages]


def read_lines(path):
    """A line that a killed run did not finish is left out."""
    lines = []
    for text in path.read_text("utf-8").splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            print(f"tables.py: {path}: a line is no JSON: {text[:60]}", file=sys.stderr)
    return lines


def device_of(host):
    return host.get("gpu") or host.get("cpu") or ""


def arms(run):
    """The arms of a run by the name they were asked for: canonical names differ."""
    names = run.get("skip_names", "none").split(";")
    found = dict(zip(names, run.get("skips", [])))
    for arm in run.get("skips", []):
        if arm["skip"] == "mixed":
            found["mixed"] = arm
    return found


def cells(runs, phase):
    """(rows, column, skip) -> (arm, arm it is compared with, run), of runs that have the phase."""
    found = {}
    for run in runs:
        by_name = arms(run)
        base = next(iter(by_name.values()), None)
        for name, arm in by_name.items():
            if f"{phase}_floor_ms" in arm:
                rows = run["batch"] if phase == "decode" else "prefill"
                found[rows, run["column"], name] = arm, base, run
    return found


# ---- Formatting

def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def number(value, digits=2):
    return "" if value is None else f"{value:,.{digits}f}"


def percent(ratio):
    """Nothing for 0: the ceiling was not measured."""
    return f"{100 * ratio:.0f} %" if ratio else ""


def joined(value, detail):
    return f"{value} ({detail})" if value and detail else value


def levels(found, default):
    """The levels that were measured, in their order; else those of the runbook."""
    names = [name for _, _, name in found if name not in ("none", "mixed")]
    return list(dict.fromkeys(names)) or default


def ordered(default, measured):
    return sorted(set(measured)) or default


# ---- Sections: each returns its Markdown

def header(results):
    lines = []
    for host in results.hosts:
        driver = joined(host.get("driver"), host.get("driver_cuda"))
        facts = [host.get("date"), device_of(host), driver and f"driver (its CUDA) {driver}",
                 host.get("nvcc") and f"nvcc {host['nvcc']}",
                 host.get("torch") and f"PyTorch {host['torch']}",
                 host.get("commit") and f"commit {host['commit'][:10]}"]
        lines.append("; ".join(fact for fact in facts if fact))
    commands = dict.fromkeys(stage["command"] for stage in results.stages)
    text = "".join(f"{line}  \n" for line in dict.fromkeys(lines))
    text += "".join(f"    {command}\n" for command in commands)
    runs = [run for run in results.bench + results.peers if run.get("read_bandwidth_bytes_per_s")]
    if runs:
        bandwidth = statistics.median(r["read_bandwidth_bytes_per_s"] for r in runs)
        flops = statistics.median(r["peak_flops_per_s"] for r in runs)
        text += (f"\nCeilings measured in the same processes (median): read {bandwidth / 1e9:,.0f} "
                 f"GB/s, matrix products {flops / 1e12:,.1f} TFLOP/s.\n")
    return text


def stage_results(results):
    rows = [[s["stage"], s["result"], s["seconds"], s.get("reason", "")] for s in results.stages]
    return "## Stages of the runbook\n" + table(["stage", "result", "s", "why"], rows)


def decode_cell(runs):
    """Of one batch and column; the last run counts."""
    if not runs:
        return ""
    run = runs[-1]
    if "left_out" in run:
        return "does not fit"
    name, arm = next(iter(arms(run).items()), ("none", None))
    if arm is None:
        return "failed"
    mark = "" if name == "none" else f", {name}"
    return joined(number(arm["decode_ms_per_token"]),
                  percent(arm.get("decode_floor_fraction")) + mark)


def decode(results):
    runs = [run for run in results.runs("decode") if "column" in run]
    by_cell = {}
    for run in runs:
        by_cell.setdefault((run["batch"], run["column"]), []).append(run)
    contexts = ordered(CONTEXTS, [column for _, column in by_cell])
    batches = ordered(BATCHES, [batch for batch, _ in by_cell])
    rows = [[b, *(decode_cell(by_cell.get((b, c), [])) for c in contexts)] for b in batches]
    return ("## Decode, ms per step and % of the floor\n" + table(["batch", *contexts], rows) +
            "\nThe last column's steps end at the model's last position. Cells with a skip set do "
            "not fit without.\n")


def speed_up(found, rows, column, name, phase):
    if (rows, column, name) not in found:
        return ""
    arm = found[rows, column, name][0]
    measured, ideal = arm[f"{phase}_speedup"], arm[f"{phase}_floor_speedup"]
    if not ideal:
        return number(measured)
    return f"{measured:.3f} / {ideal:.3f} ({percent(measured / ideal)})"


def skipping(results):
    decodes = cells(results.runs("skip"), "decode")
    prefills = cells(results.runs("skip"), "prefill")
    names = levels([*decodes, *prefills], SKIPS)
    shapes = ordered([(b, c) for b in (1, 32) for c in (128, 2048)], [key[:2] for key in decodes])
    prompts = ordered([128, 512, 2048, 4096], [key[1] for key in prefills])
    rows = [[f"decode, batch {b}, context {c}",
             *(speed_up(decodes, b, c, name, "decode") for name in names)] for b, c in shapes]
    rows += [[f"prefill {p}",
              *(speed_up(prefills, "prefill", p, name, "prefill") for name in names)]
             for p in prompts]
    rows.append(["KV pages, none / level", *(page_ratio(decodes, name) for name in names)])
    return ("## Skipping: measured / ideal speed-up, and their ratio\n" +
            table(["", *names], rows) + "\nIdeal is the ratio of the floors.\n")


def page_ratio(decodes, name):
    for (_, _, found), (arm, base, _) in decodes.items():
        if found == name and arm["kv_pages_used"]:
            return number(base["kv_pages_used"] / arm["kv_pages_used"])
    return ""


def prefill(results):
    found = cells(results.runs("skip"), "prefill")
    prompts = ordered([128, 512, 2048, 4096], [key[1] for key in found])
    names = ["none", *levels(found, SKIPS)]
    rows = []
    for name in names:
        arms_of_row = [found.get(("prefill", p, name), [None])[0] for p in prompts]
        rows.append([name, *(arm and joined(number(arm["prefill_tokens_per_s"], 0),
                                            percent(arm["flops_fraction"])) or ""
                             for arm in arms_of_row)])
    return ("## Prefill, tokens/s and % of the measured GEMM peak\n" +
            table(["prompt", *prompts], rows))


def mixed(results):
    rows = []
    for run in results.runs("mixed"):
        by_name = arms(run)
        if "mixed" not in by_name:
            continue
        arm = by_name["mixed"]
        ours = arm["decode_floor_fraction"]
        others = arm["decode_homogeneous_floor_fraction"]
        rows.append([run["batch"], run["column"], run["skip_names"].replace(";", ", "),
                     number(arm["decode_ms_per_token"]),
                     percent(others), percent(ours), percent(ours / others if others else 0)])
    return ("## A batch that mixes the levels\n" +
            table(["batch", "context", "sets", "ms per step", "levels alone, % of floor",
                   "mixed, % of floor", "ratio"], rows or [[""] * 7]))


def stage_row(name, stage, run):
    ms, floor = stage["ms"], stage["floor_ms"]
    row = [name, number(ms, 3), number(floor, 3), percent(floor / ms if ms else 0)]
    for key, ceiling, unit in (("bytes", "read_bandwidth_bytes_per_s", 1e9),
                               ("flops", "peak_flops_per_s", 1e12)):
        rate = stage.get(key, 0) / ms * 1e3 if ms else 0
        row.append(joined(number(rate / unit, 1 if unit == 1e12 else 0) if rate else "",
                          percent(rate / run[ceiling] if run.get(ceiling) else 0)))
    return row


def stages(results):
    text = "## Where a step's time goes\n"
    head = ["stage", "ms", "floor, ms", "% of floor", "GB/s", "TFLOP/s"]
    for run in results.runs("stages"):
        for phase in ("decode", "prefill"):
            found = run.get(f"{phase}_stages")
            if not found:
                continue
            what = (f"decode, batch {run['batch']}, context {run['column']}"
                    if phase == "decode" else f"prefill {run['column']}")
            text += f"{what}\n" + table(head, [stage_row(n, s, run) for n, s in found.items()])
            text += "\n"
    return text


def host_overhead(results):
    """Of the runs without --stages, which launch as a server does."""
    rows = []
    for phase, stage, total in (("decode", "decode", "decode_ms_per_token"),
                                ("prefill", "skip", "prefill_ms")):
        for (batch, column, name), (arm, _, _) in cells(results.runs(stage), phase).items():
            launch = arm.get(f"{phase}_launch_ms")
            if launch is not None and (phase == "decode" or name == "none"):
                what = f"decode, batch {batch}, context" if phase == "decode" else "prefill"
                rows.append([f"{what} {column}", number(launch, 3), percent(launch / arm[total])])
    return ("## Host: enqueueing a step\n" +
            table(["", "ms", "of the step"], rows or [[""] * 3]))


def peers(results):
    ms = {}
    for line in results.peers:
        if line.get("decode_ms_per_token"):
            ms.setdefault((line["batch"], line.get("peer")), []).append(line["decode_ms_per_token"])
    batches = ordered([1, 32], [batch for batch, _ in ms])
    rows = []
    for batch in batches:
        ours = ms.get((batch, "skipstone"))
        row = [batch, number(statistics.median(ours), 3) if ours else ""]
        for peer in PEERS:
            theirs = ms.get((batch, peer))
            ratio = statistics.median(theirs) / statistics.median(ours) if ours and theirs else None
            row.append(joined(number(statistics.median(theirs), 3), number(ratio) + "×")
                       if theirs and ratio else "")
        rows.append(row)
    return ("## Side by side: ms per decode step, context 128 (and over ours)\n" +
            table(["batch", "skipstone", *PEERS], rows))


def serving(results):
    rows = []
    for line in results.serving:
        if line.get("workload") in (None, "warm-up", "demo"):
            continue
        found = line.get("all", {})
        ttft, itl = found.get("ttft_ms", {}), found.get("itl_ms", {})
        rows.append([line["workload"], line.get("level", ""),
                     number(found.get("output_tokens_per_s"), 0) or "failed",
                     *(number(ttft.get(p), 0) for p in ("p50", "p90", "p99")),
                     *(number(itl.get(p), 1) for p in ("p50", "p90", "p99")),
                     found.get("ok", ""), found.get("requests", 0) - found.get("ok", 0)])
    ready = [line["ready_s"] for line in results.serving
             if "ready_s" in line and line.get("stage") not in ("demo", "load")]
    loads = [line for line in results.serving if line.get("stage") == "load"]
    load_s = [line["ready_s"] for line in loads if "ready_s" in line]
    size = [line["checkpoint_bytes"] for line in loads if "checkpoint_bytes" in line]
    head = ["tokens in/out", "level", "output tokens/s", "TTFT ms p50", "p90", "p99",
            "ITL ms p50", "p90", "p99", "requests", "failed"]
    text = "## Serving on loopback\n" + table(head, rows or [[""] * len(head)])
    if ready:
        text += f"\nStart to READY, random weights: {statistics.median(ready):.1f} s.\n"
    if load_s and size:
        text += (f"\nStart to READY from a checkpoint in the page cache: {load_s[-1]:.1f} s for "
                 f"{size[-1] / 1e9:.1f} GB, {size[-1] / load_s[-1] / 1e9:.1f} GB/s over all.\n")
    return text


SECTIONS = [header, stage_results, decode, skipping, prefill, mixed, peers, stages, host_overhead,
            serving]


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    folders = [pathlib.Path(argument) for argument in sys.argv[1:]]
    results = Results(folders)
    devices = {device_of(host) for host in results.hosts}
    if len(devices) > 1:
        sys.exit(f"tables.py: folders of different devices: {', '.join(sorted(devices))}")
    print("\n".join(section(results) for section in SECTIONS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
