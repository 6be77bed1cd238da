#!/usr/bin/env python3
"""Prints what a measurement is to be read with, as JSON: date, device, driver, compilers, commit.

Usage: host.py [PYTHON_OF_THE_PEERS]. What the host does not have is an empty string.
"""
import datetime
import json
import os
import pathlib
import platform
import re
import subprocess
import sys

GPU = {"gpu": "name", "driver": "driver_version", "memory_mib": "memory.total",
       "power_limit_w": "power.limit", "sm_clock_mhz": "clocks.max.sm",
       "memory_clock_mhz": "clocks.max.mem"}
VERSION = "from importlib.metadata import version; print(version('{}'))"


def answer(*command):
    """What a command prints, or nothing where it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True,
                              cwd=pathlib.Path(__file__).parent)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def first(pattern, text):
    found = re.search(pattern, text, re.MULTILINE)
    return found[1] if found else ""


def gpu_facts():
    row = answer("nvidia-smi", f"--query-gpu={','.join(GPU.values())}",
                 "--format=csv,noheader,nounits").split("\n")[0].split(", ")
    if len(row) != len(GPU):
        return dict.fromkeys(GPU, "")
    return dict(zip(GPU, row))


def main():
    python = sys.argv[1] if len(sys.argv) > 1 else sys.executable
    now = datetime.datetime.now(datetime.timezone.utc)
    facts = {"date": now.strftime("%Y-%m-%d %H:%M UTC")}
    facts |= gpu_facts()
    facts |= {
        "driver_cuda": first(r"CUDA Version: *([0-9.]+)", answer("nvidia-smi")),
        "nvcc": first(r"release ([0-9.]+)", answer("nvcc", "--version")),
        "cpu": first(r"^model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text("utf-8")),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "torch": answer(python, "-c", VERSION.format("torch")),
        "transformers": answer(python, "-c", VERSION.format("transformers")),
        "commit": answer("git", "rev-parse", "HEAD"),
    }
    json.dump(facts, sys.stdout)


if __name__ == "__main__":
    main()
