#!/usr/bin/env python3
"""Makes tables, and plots if asked, of what skipstone-sim prints.

Usage: skipstone-sim FLAG... | report.py [--svg FILE]
"""
import argparse
import html
import json
import math
import sys

LATENCIES = {"TTFT": "ttft_ms", "ITL": "itl_ms", "TPOT": "tpot_ms", "E2E": "e2e_ms"}
WIDTH, HEIGHT = 480, 320  # of one plot, margins included
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 34, 46
TICKS = 5
# Distinguishable with any colour vision (Okabe and Ito 2008).
COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]


def share(part, whole):
    return 100 * part / whole if whole else 0


def aligned(rows, left):
    """Rows of text in columns, the first `left` of them on the left."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.ljust(width) if i < left else cell.rjust(width)
                      for i, (cell, width) in enumerate(zip(row, widths))) for row in rows]


def tables(report):
    groups = dict(report["levels"])
    if len(groups) > 1:  # a single level is the same as all
        groups["all"] = report["all"]
    pages, waiting = report["kv_pages"], report["waiting"]
    summary = (
        f"{report['replicas']} replicas, {report['seconds']:.1f} s: "
        f"busy {100 * report['busy_fraction']:.1f} %, {report['rows_per_step']:.1f} rows/step, "
        f"K/V pages {share(pages['mean'], pages['total']):.1f} % mean, "
        f"{share(pages['max'], pages['total']):.1f} % max of {pages['total']}, "
        f"waiting {waiting['mean']:.1f} mean, {waiting['max']:.0f} max")
    counts = [["skip", "requests", "refused", "requests/s", "output tok/s", "total tok/s",
               "goodput/s", "good %", "pages/req.", "preemptions", "hit %", "kept", "windowed",
               "brown-out", "shed"]]
    counts += [[name, str(g["requests"]), str(g["refused"]), f"{g['requests_per_s']:.2f}",
                f"{g['output_tokens_per_s']:.1f}", f"{g['total_tokens_per_s']:.1f}",
                f"{g['goodput_per_s']:.2f}", f"{share(g['good'], g['requests']):.2f}",
                f"{g['kv_pages_per_request']:.1f}", str(g["preemptions"]),
                f"{100 * g['prefix_hit_rate']:.1f}", f"{g['kept_attention_per_request']:.2f}",
                f"{g['windowed_attention_per_request']:.2f}", str(g["browned_out"]),
                str(g["shed"])] for name, g in groups.items()]
    columns = ["mean", "p50", "p90", "p99", "max"]
    times = [["ms", "skip"] + columns]
    for title, key in LATENCIES.items():
        for name, g in groups.items():
            values = [g[key][column] for column in columns]  # null: no request had one
            times.append([title, name] + ["-" if v is None else f"{v:.2f}" for v in values])
    return "\n".join([summary, "", *aligned(counts, 1), "", *aligned(times, 2)]) + "\n"


def round_ticks(low, high, count):
    """About `count` round numbers that cover [low, high], at least two."""
    high = high if high > low else low + 1
    raw = (high - low) / count
    power = 10 ** math.floor(math.log10(raw))
    step = next((f for f in (1, 2, 5) if f * power >= raw), 10) * power
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def log_ticks(low, high, count):
    """1, 2 and 5 times powers of ten, or over more than `count` powers those alone."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1
    factors = (1, 2, 5) if last - first <= count else (1,)
    ticks = [f * 10.0 ** power for power in range(first, last + 1) for f in factors]
    while len(ticks) > 2 and ticks[1] <= low:
        ticks.pop(0)
    while len(ticks) > 2 and ticks[-2] >= high:
        ticks.pop()
    return ticks


def plot(title, x_label, y_label, lines, log_x=False):
    """SVG of lines {name: [(x, y)]} with x ascending, and above 0 on a logarithmic axis."""
    points = [point for line in lines.values() for point in line]
    low, high = min((x for x, _ in points), default=1), max((x for x, _ in points), default=1)
    x_ticks = log_ticks(low, high, TICKS) if log_x else round_ticks(min(0, low), high, TICKS)
    y_ticks = round_ticks(0, max((y for _, y in points), default=0), TICKS)
    right, bottom, svg = WIDTH - RIGHT, HEIGHT - BOTTOM, []

    def pixel(value, ticks, first, last, scale=lambda v: v):
        begin, end = scale(ticks[0]), scale(ticks[-1])
        return first + (scale(value) - begin) / (end - begin) * (last - first)

    def x_of(value):
        return pixel(value, x_ticks, LEFT, right, math.log10 if log_x else float)

    def y_of(value):
        return pixel(value, y_ticks, bottom, TOP)

    def line(x1, y1, x2, y2, color):
        svg.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
                   f'stroke="{color}"/>')

    def text(x, y, anchor, content, attributes=""):
        svg.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{attributes}>'
                   f"{html.escape(content, quote=False)}</text>")

    text(WIDTH / 2, 18, "middle", title, ' font-weight="bold"')
    for tick in x_ticks:
        line(x_of(tick), bottom, x_of(tick), TOP, "#dddddd")
        text(x_of(tick), bottom + 16, "middle", f"{tick:g}")
    for tick in y_ticks:
        line(LEFT, y_of(tick), right, y_of(tick), "#dddddd")
        text(LEFT - 6, y_of(tick) + 4, "end", f"{tick:g}")
    line(LEFT, bottom, right, bottom, "#444444")
    line(LEFT, bottom, LEFT, TOP, "#444444")
    text(WIDTH / 2, HEIGHT - 10, "middle", x_label)
    middle = (bottom + TOP) / 2
    text(14, middle, "middle", y_label, f' transform="rotate(-90 14.0 {middle:.1f})"')
    for number, (name, values) in enumerate(lines.items()):
        color = COLORS[number % len(COLORS)]
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in values)
        svg.append(f'<polyline fill="none" stroke="{color}" stroke-width="1.5" points="{path}"/>')
        if name:  # in the lower right corner, which a cumulative curve leaves free
            y = bottom - 12 - 16 * (len(lines) - 1 - number)
            line(right - 30, y, right - 8, y, color)
            text(right - 36, y + 4, "end", name)
    return "\n".join(svg)


def plots(report):
    def cumulative(title, key):
        lines = {name: [(ms, 100 * part) for ms, part in level[key]["cumulative"]]
                 for name, level in report["levels"].items()}
        return plot(title, "milliseconds", "% of all", lines, log_x=True)

    def over_time(title, y_label, series, scale):
        return plot(title, "seconds", y_label, {"": [(s, scale * v) for s, v in series["points"]]})

    pages = report["kv_pages"]
    made = [cumulative("Time to first token", "ttft_ms"),
            cumulative("Gap between tokens", "itl_ms"),
            over_time("K/V pages in use", "% of all", pages, share(1, pages["total"])),
            over_time("Requests waiting", "requests", report["waiting"], 1)]
    placed = "".join(f'<g transform="translate({i % 2 * WIDTH} {i // 2 * HEIGHT})">\n{svg}\n</g>\n'
                     for i, svg in enumerate(made))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" height="{2 * HEIGHT}" '
            'font-family="sans-serif" font-size="12">\n'
            f'<rect width="100%" height="100%" fill="white"/>\n{placed}</svg>\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--svg", help="file for plots")
    arguments = parser.parse_args()
    report = json.load(sys.stdin)
    if arguments.svg:
        with open(arguments.svg, "w") as file:
            file.write(plots(report))
    sys.stdout.write(tables(report))


if __name__ == "__main__":
    main()
