#!/usr/bin/env python3
"""client/examples/python/generate.py as its docstring says: stubs by protoc, then a real server.

Usage: python_example_test.py SOURCE_DIR SKIPSTONE_SERVER
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

from running_server import RunningServer

SKIP = 77  # ctest's SKIP_RETURN_CODE
SOURCE, SERVER = pathlib.Path(sys.argv.pop(1)).resolve(), sys.argv.pop(1)
EXAMPLE = SOURCE / "client/examples/python/generate.py"


def need(condition, package):
    if not condition:
        print(f"SKIPPED: no {package}")
        sys.exit(SKIP)


try:
    import google.protobuf  # noqa: F401
    import grpc  # noqa: F401
except ImportError:
    need(False, "python3-grpcio or python3-protobuf")
PROTOC, PLUGIN = shutil.which("protoc"), shutil.which("grpc_python_plugin")
need(PROTOC, "protobuf-compiler")
need(PLUGIN, "protobuf-compiler-grpc")


class PythonExampleTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stubs = cls.enterClassContext(tempfile.TemporaryDirectory())
        subprocess.run([PROTOC, f"--proto_path={SOURCE}/proto", f"--python_out={cls.stubs}",
                        f"--grpc_out={cls.stubs}", f"--plugin=protoc-gen-grpc={PLUGIN}",
                        f"{SOURCE}/proto/skipstone/v1/inference.proto"], check=True)
        cls.server = cls.enterClassContext(RunningServer(
            SERVER, f"--model={SOURCE}/models/demo", "--kv_memory=16MiB", "--log_level=warn"))

    def generate(self, *arguments):
        return subprocess.run([sys.executable, "-B", EXAMPLE, *arguments], capture_output=True,
                              text=True, timeout=60, env={**os.environ, "PYTHONPATH": self.stubs})

    def at_server(self, *arguments):
        return self.generate("--server", self.server.grpc, *arguments)

    def test_streams_the_text_and_counts_tokens_and_pages(self):
        full = self.at_server("--max_tokens", "16", "In the beginning")
        self.assertEqual(full.returncode, 0, full.stderr)
        self.assertGreater(len(full.stdout.split()), 3)
        self.assertRegex(full.stderr, r"^\n16 tokens, KV pages [1-9]\d* used \+ 0 windowed "
                                     r"\+ 0 omitted\n$")

    def test_skips_what_it_is_told(self):
        skipped = self.at_server("--max_tokens", "16", "--skip", "attn:last=33%",
                                 "In the beginning")
        self.assertEqual(skipped.returncode, 0, skipped.stderr)
        self.assertRegex(skipped.stderr, r"16 tokens, KV pages [1-9]\d* used \+ 0 windowed "
                                        r"\+ [1-9]\d* omitted")

    def test_windows_what_it_is_told(self):
        windowed = self.at_server("--max_tokens", "80", "--skip", "win:last=50%/16",
                                  "In the beginning")
        self.assertEqual(windowed.returncode, 0, windowed.stderr)
        self.assertRegex(windowed.stderr, r"KV pages [1-9]\d* used \+ [1-9]\d* windowed "
                                          r"\+ 0 omitted")

    def test_a_wrong_skip_ends_with_the_servers_error(self):
        wrong = self.at_server("--skip", "attn:nowhere", "In the beginning")
        self.assertEqual(wrong.returncode, 1)
        self.assertIn("INVALID_ARGUMENT: ", wrong.stderr)
        self.assertIn("nowhere", wrong.stderr)
        self.assertEqual(wrong.stdout, "")

    def test_a_server_that_is_not_there_is_an_error(self):
        with tempfile.TemporaryDirectory() as folder:
            absent = self.generate("--server", f"unix:{folder}/none", "In the beginning")
        self.assertEqual(absent.returncode, 1)
        self.assertIn("UNAVAILABLE: ", absent.stderr)

    def test_a_server_that_comes_back_serves_the_call(self):
        with RunningServer(SERVER, f"--model={SOURCE}/models/demo", "--kv_memory=16MiB",
                           "--log_level=warn") as first:
            address = first.grpc
        call = subprocess.Popen(
            [sys.executable, "-B", EXAMPLE, "--server", address, "--max_tokens", "4", "In the"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": self.stubs})
        with self.assertRaises(subprocess.TimeoutExpired):
            call.wait(1.5)
        with RunningServer(SERVER, f"--model={SOURCE}/models/demo", "--kv_memory=16MiB",
                           "--log_level=warn", f"--listen={address}"):
            _, err = call.communicate(timeout=60)
        self.assertEqual(call.returncode, 0, err)
        self.assertIn("4 tokens", err)

    def test_help_names_every_argument(self):
        usage = self.generate("--help")
        self.assertEqual(usage.returncode, 0)
        for argument in ("--server", "--skip", "--max_tokens", "--timeout", "prompt"):
            self.assertIn(argument, usage.stdout)


if __name__ == "__main__":
    unittest.main()
