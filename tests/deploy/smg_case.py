"""What the tests with SMG have in common: servers, the gateway before them, figures of both."""
import collections
import pathlib
import re
import sys
import time
import unittest
import urllib.request

import deploy_support as support
from native_client import NativeClient
from running_server import RunningServer
from running_smg import RunningSmg, need_smg

SOURCE = support.source_dir()
SERVER, BUILD = (pathlib.Path(sys.argv.pop(1)).resolve() for _ in range(2))
SMG = need_smg(BUILD)
DEMO = SOURCE / "models/demo"
LEVELS = ("full", "half")
PATIENCE_SECONDS = 30
CONFIG = """
model: {model}
kv_pages: 6400
log_level: warn
levels: {{full: none, half: "attn:last=50%"}}
level_listen: "{level_listen}"
policy: {{max_skipped_attention: 75%}}
experiments:
  - {{name: e, unit: request.experiment_key, arms: [
      {{name: control, level: full, weight: 50}}, {{name: treatment, level: half, weight: 50}}]}}
"""


class SmgCase(unittest.TestCase):
    """Each class has servers of its own, which start(), in a folder of its own."""

    @classmethod
    def server(cls, folder, *flags, like=None):
        """A server that is not started; `like` another, on the ports that that one had."""
        ports = like.levels if like else dict.fromkeys(LEVELS, "127.0.0.1:0")
        config = pathlib.Path(folder) / "skipstone.yaml"
        config.write_text(CONFIG.format(model=DEMO, level_listen=",".join(
            f"{level}={address}" for level, address in ports.items())))
        return RunningServer(SERVER, f"--config={config}",
                             *([f"--listen={like.grpc}"] if like else []), *flags)

    @classmethod
    def gateway(cls, folder, servers, *flags):
        workers = [address for server in servers
                   for address in (server.grpc, *server.levels.values())]
        return RunningSmg(SMG, folder, workers, *flags)

    @classmethod
    def native(cls, server):
        return cls.enterClassContext(NativeClient(SOURCE, server.grpc))

    def until(self, what, holds):
        end = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.01)

    def completed(self, smg, headers=(), **fields):
        """An answer of /v1/completions or, with `messages`, of /v1/chat/completions."""
        path = "/v1/chat/completions" if "messages" in fields else "/v1/completions"
        status, answer = smg.call(path, {"model": "demo", "temperature": 0, "max_tokens": 1,
                                         **fields}, headers)
        self.assertEqual(status, 200, answer)
        return answer

    def refused(self, smg, headers=(), **fields):
        """Status and message of an error."""
        path = "/v1/chat/completions" if "messages" in fields else "/v1/completions"
        status, answer = smg.call(path, {"model": "demo", "max_tokens": 1, **fields}, headers)
        self.assertIn("error", answer)
        return status, answer["error"]["message"]

    @staticmethod
    def requests(*servers):
        """How many requests have ended, by level, arm and outcome."""
        counts = collections.Counter()
        for server in servers:
            text = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                f"http://{server.metrics}/metrics", timeout=30).read().decode()
            for labels, value in re.findall(r"^skipstone_requests_total\{(.*)\} (\d+)", text, re.M):
                label = dict(re.findall(r'(\w+)="([^"]*)"', labels))
                counts[label["skip_level"], label["arm"], label["outcome"]] += int(value)
        return +counts

    def served(self, servers, count, make):
        """Of `count` requests that `make` sends: how many ended, by (level, arm)."""
        before = self.requests(*servers)
        make()
        # Counted when they end, which may be after the answer.
        self.until("requests are counted",
                   lambda: (self.requests(*servers) - before).total() >= count)
        new = self.requests(*servers) - before
        self.assertEqual({outcome for _, _, outcome in new}, {"ok"})
        return {(level, arm): n for (level, arm, _), n in new.items()}
