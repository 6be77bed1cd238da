#!/usr/bin/env python3
"""Fails on an #include against the arrows of engine/README.md, and on a file over the size limits.

Usage: layering_test.py SOURCE_DIR
"""
import pathlib
import re
import sys
import unittest

SOURCE = pathlib.Path(sys.argv.pop(1)).resolve()

# Folder -> the folders below engine/ that its files may include, itself aside. The schedule sees the
# backend's plain views of a step (step), never the device interface.
ENGINE = {
    "step": [],
    "skip": [],
    "kv": ["skip"],
    "schedule": ["step", "skip", "kv"],
    "backend": ["step"],
    "cpu": ["step", "backend"],
    "cuda": ["step", "backend"],
    "model": ["step", "skip", "backend", "schedule"],
    "levels": ["step", "skip", "backend", "model"],
    "quality": ["step", "skip", "backend", "model", "levels"],
}
# What engine/ does not know; what client/ and proto/ may not need.
NOT_IN_ENGINE = r"^(grpc|google/protobuf|prometheus/|spdlog/|yaml-cpp/|server/|client/|tools/|.*\.pb\.h)"
NOT_IN_CLIENT = r"^(engine/|server/|tools/|prometheus/|spdlog/)"
NOT_IN_SERVER = r"^(client|tools)/"
NOT_IN_BASE = r"^(grpc|google/protobuf|prometheus/|spdlog/|yaml-cpp/|engine/|server/|client/|tools/|.*\.pb\.h)"
NOT_IN_TOOLS = r"^(server|client)/"
MOST_LINES = {".h": 150, ".cuh": 300, ".cc": 400, ".cu": 300}


def includes(text):
    return re.findall(r'^\s*#\s*include\s+["<]([^">]+)[">]', text, re.M)


def violation(path, include):
    """Why the file at `path` may not include `include`; empty if it may."""
    top = path.split("/")[0]
    if path.startswith("engine/levels/") and include.startswith("yaml-cpp/"):
        return ""  # the one file format of the engine that people write by hand
    banned = {"engine": NOT_IN_ENGINE, "client": NOT_IN_CLIENT, "server": NOT_IN_SERVER,
              "base": NOT_IN_BASE, "tools": NOT_IN_TOOLS}.get(top)
    if banned and re.match(banned, include):
        return f"{path}: {top}/ may not include {include}"
    if top == "client" and path.count("/") == 1 and include.startswith("base/"):
        return f"{path}: the client library stands alone; {include} is for its command line"
    if top != "engine" or not include.startswith("engine/") or path.count("/") < 2:
        return ""
    here, there = path.split("/")[1], include.split("/")[1]
    if here not in ENGINE or there == here:
        return ""
    if there not in ENGINE[here]:
        return f"{path}: engine/{here} may not include {include}"
    return ""


def sources():
    for folder in ("base", "engine", "server", "client", "tools"):
        for path in sorted((SOURCE / folder).rglob("*")):
            if path.suffix in MOST_LINES:
                yield path.relative_to(SOURCE).as_posix(), path.read_text()


class LayeringTest(unittest.TestCase):
    def test_includes_follow_the_arrows(self):
        found = list(sources())
        self.assertGreater(len(found), 100)
        wrong = [violation(path, include) for path, text in found for include in includes(text)]
        self.assertEqual([w for w in wrong if w], [])

    def test_only_make_backend_names_both_devices(self):
        both = [path for path, text in sources() if re.search(r"engine/cpu/cpu_backend\.h", text)
                and re.search(r"engine/cuda/", text)]
        self.assertLessEqual(set(both), {"engine/make_backend.cc"})

    def test_files_are_small(self):
        long = [f"{path}: {text.count(chr(10))} lines" for path, text in sources()
                if text.count("\n") > MOST_LINES[pathlib.PurePath(path).suffix]]
        self.assertEqual(long, [])

    def test_violations_are_seen(self):
        for path, include in [("engine/kv/page_pool.h", "engine/schedule/scheduler.h"),
                              ("engine/schedule/scheduler.cc", "engine/backend/backend.h"),
                              ("engine/cpu/matmul.cc", "engine/cuda/device/stream.h"),
                              ("engine/engine.cc", "spdlog/spdlog.h"),
                              ("engine/engine.cc", "skipstone/v1/inference.pb.h"),
                              ("client/client.cc", "engine/skip/skip_set.h"),
                              ("client/client.cc", "base/status.h"),
                              ("base/log.cc", "engine/engine.h"),
                              ("tools/sim/main.cc", "server/server.h"),
                              ("server/server.cc", "client/client.h")]:
            self.assertTrue(violation(path, include), f"{path} {include}")
        self.assertEqual(includes('  #  include "a/b.h"\n#include <c>\n// #include "d"\n'),
                         ["a/b.h", "c"])


if __name__ == "__main__":
    unittest.main()
