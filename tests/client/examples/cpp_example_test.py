#!/usr/bin/env python3
"""client/examples/cpp as its CMakeLists.txt says: built by itself, then run with a real server.

Usage: cpp_example_test.py SOURCE_DIR SKIPSTONE_SERVER BUILD_DIR CMAKE [CMAKE_FLAG...]
"""
import pathlib
import shutil
import subprocess
import sys
import unittest

from running_server import RunningServer

SOURCE, SERVER = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
BUILD, CMAKE, FLAGS = sys.argv[3], sys.argv[4], sys.argv[5:]
EXAMPLE = SOURCE / "client/examples/cpp"


class CppExampleTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # From nothing, but always in one place, so that a compiler cache knows it.
        shutil.rmtree(BUILD, ignore_errors=True)
        cls.run_tool(CMAKE, "-B", BUILD, "-S", EXAMPLE, *FLAGS)
        cls.run_tool(CMAKE, "--build", BUILD, "--parallel", "2")

    @staticmethod
    def run_tool(*command):
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True)
        assert result.returncode == 0, result.stdout

    def example(self, address):
        return subprocess.run([f"{BUILD}/skipstone_example", address], capture_output=True, text=True, timeout=60)

    def test_generates_with_a_third_of_attention_skipped(self):
        with RunningServer(SERVER, f"--model={SOURCE}/models/demo", "--kv_memory=16MiB",
                           "--log_level=warn") as server:
            answer = self.example(server.grpc)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertGreater(len(answer.stdout.split()), 6)
        self.assertRegex(answer.stdout, r"\nKV pages: [1-9]\d* used, 0 left their window, "
                         r"[1-9]\d* never existed\n$")

    def test_a_server_that_is_not_there_is_an_error(self):
        answer = self.example(f"unix:{BUILD}/none")
        self.assertEqual(answer.returncode, 1)
        self.assertIn("UNAVAILABLE: ", answer.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
