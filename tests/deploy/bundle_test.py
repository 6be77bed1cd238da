#!/usr/bin/env python3
"""A bundle runs after it was moved, with glibc's libraries as the only ones of the host.

Usage: bundle_test.py SOURCE_DIR BIN_DIR
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

from deploy_support import source_dir
from running_server import RunningServer

SOURCE = source_dir()
BIN = pathlib.Path(sys.argv.pop(1)).resolve()
HOSTS = re.compile(r"(linux-vdso|ld-linux-x86-64|libc|libm|libdl|librt|libpthread|libresolv|libcuda)\.so")
MOST_BYTES = 60 << 20  # compressed


class BundleTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        made = pathlib.Path(cls.folder.name) / "made"
        subprocess.run([SOURCE / "scripts/bundle.sh", BIN, made], check=True, capture_output=True,
                       env={**os.environ, "XZ_OPT": "-1"})
        cls.archive = made.with_suffix(".tar.xz")
        cls.bundle = pathlib.Path(cls.folder.name) / "moved elsewhere"
        made.rename(cls.bundle)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_takes_no_library_of_the_host_but_glibc(self):
        for program in (self.bundle / "bin").iterdir():
            answer = subprocess.run(["ldd", program], check=True, capture_output=True, text=True)
            for line in answer.stdout.splitlines():
                self.assertNotIn("not found", line)
                name = line.split()[0].rsplit("/", 1)[-1]
                if HOSTS.match(name):
                    continue
                self.assertIn(str(self.bundle / "lib"), line.replace("bin/../lib", "lib"), program)

    def test_serves_and_generates(self):
        with RunningServer(self.bundle / "bin/skipstone-server",
                           f"--model={self.bundle / 'models/demo'}") as server:
            answer = subprocess.run(
                [self.bundle / "bin/skipstone", "generate", f"--server={server.grpc}",
                 "--max_tokens=4", "--temperature=0", "In the beginning"],
                check=True, capture_output=True, text=True)
            self.assertTrue(answer.stdout.strip())

    def test_is_small(self):
        self.assertLess(self.archive.stat().st_size, MOST_BYTES)

    def test_refuses_what_it_does_not_know(self):
        answer = subprocess.run([SOURCE / "scripts/bundle.sh", BIN, self.folder.name + "/x", "--fast"],
                                capture_output=True, text=True)
        self.assertEqual(answer.returncode, 1)
        self.assertIn("usage", answer.stderr)


if __name__ == "__main__":
    unittest.main()
