#!/usr/bin/env python3
"""The server takes the configuration of each kustomization, which alone knows its keys.

Usage: server_config_test.py SOURCE_DIR SKIPSTONE_SERVER
"""
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import deploy_support as support
import yaml  # its absence was reported by deploy_support
from running_server import RunningServer

SOURCE = support.source_dir()
SERVER = sys.argv.pop(1)
FOLDER = SOURCE / "deploy/kubernetes"


class ServerConfigTest(unittest.TestCase):
    def test_starts_with_the_configuration_of_each_variant(self):
        configs = sorted(FOLDER.glob("**/skipstone.yaml"))
        self.assertEqual(len(configs), 4)
        for config in configs:
            # Fixed ports may be somebody's here.
            levels = re.sub(r":\d+", ":0", yaml.safe_load(config.read_text()).get("level_listen", ""))
            with self.subTest(config.parent.name), tempfile.TemporaryDirectory() as folder:
                # What depends on the machine: paths of the image, a GPU, the memory of a node.
                with RunningServer(SERVER, f"--config={config}", "--backend=cpu",
                                   f"--model={SOURCE}/models/demo", "--kv_memory=16MiB",
                                   f"--level_listen={levels.replace('0.0.0.0', '127.0.0.1')}",
                                   f"--tuning_cache={folder}/tuning.txt") as server:
                    self.assertIsNotNone(server.grpc)
                    self.assertEqual(len(server.levels), levels.count("="))

    def test_a_level_of_windows_can_be_added(self):
        with tempfile.TemporaryDirectory() as folder:
            config = pathlib.Path(folder) / "skipstone.yaml"
            text = (FOLDER / "base/skipstone.yaml").read_text()
            config.write_text(text.replace("\ndefault_level:",
                                           "\n  win-50: win:last=50%/64\ndefault_level:"))
            self.assertNotEqual(config.read_text(), text)
            with RunningServer(SERVER, f"--config={config}", "--default_level=win-50",
                               f"--model={SOURCE}/models/demo", "--kv_memory=16MiB") as server:
                self.assertIsNotNone(server.grpc)

    def test_an_unknown_key_stops_the_server(self):
        with tempfile.TemporaryDirectory() as folder:
            config = pathlib.Path(folder) / "skipstone.yaml"
            config.write_text((FOLDER / "base/skipstone.yaml").read_text() + "max_que: 1\n")
            result = subprocess.run([SERVER, f"--config={config}", f"--model={SOURCE}/models/demo",
                                     "--listen=127.0.0.1:0", "--metrics_listen=127.0.0.1:0"],
                                    capture_output=True, text=True, timeout=60)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("max_que", result.stderr)


if __name__ == "__main__":
    unittest.main()
