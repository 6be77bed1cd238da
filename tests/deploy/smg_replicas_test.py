#!/usr/bin/env python3
"""SMG before servers that are full, killed and drained, and before clients that go away.

Usage: smg_replicas_test.py SOURCE_DIR SKIPSTONE_SERVER BUILD_FOLDER
"""
import contextlib
import signal
import tempfile
import threading
import unittest

from native_client import NativeClient
from smg_case import SOURCE, SmgCase

LONG = {"prompt": "In the beginning", "max_tokens": 400, "ignore_eos": True, "n": 8}


class SmgReplicasTest(SmgCase):
    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())

    def start(self, *flags, like=None):
        return self.enterContext(self.server(self.folder, *flags, like=like))

    @contextlib.contextmanager
    def load(self, smg, clients=4):
        """Requests that are answered at once, all the time; none may fail."""
        statuses, done = [], threading.Event()

        def ask():
            while not done.is_set():
                status, answer = smg.call("/v1/completions", {
                    "model": "demo", "prompt": "In the beginning", "max_tokens": 8})
                statuses.append((status, "" if status == 200 else answer))

        threads = [threading.Thread(target=ask) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield statuses
        finally:
            done.set()
            for thread in threads:
                thread.join()
        self.assertEqual([each for each in statuses if each[0] != 200], [])

    def more(self, statuses, count=50):
        end = len(statuses) + count
        self.until("requests are answered", lambda: len(statuses) >= end)

    def test_a_killed_replica_costs_no_unstreamed_request_and_comes_back(self):
        stays = self.start()
        goes = self.server(self.folder)
        self.addCleanup(goes.process.kill)
        goes.__enter__()
        smg = self.enterContext(self.gateway(self.folder, [stays, goes], "--policy", "round_robin"))
        with self.load(smg) as statuses:
            self.more(statuses)
            goes.process.kill()
            goes.process.communicate()
            self.more(statuses)
        self.until("it is missed", lambda: smg.healthy_workers() == 3)
        again = self.start(like=goes)
        self.until("it is found again", lambda: smg.healthy_workers() == 6)
        with self.load(smg) as statuses:
            self.until("it serves", lambda: self.requests(again).total() > 10)
        # Its tokenizer is another file with the same ids.
        for replica in (again, stays):
            self.served([replica], 1, lambda: [self.completed(
                smg, messages=[{"role": "user", "content": "Speak"}]) for _ in range(2)])

    def test_a_replica_is_drained_under_load_without_a_failure(self):
        stays, goes = self.start(), self.start()
        smg = self.enterContext(self.gateway(self.folder, [stays, goes], "--policy", "round_robin"))
        with self.load(smg) as statuses:
            self.more(statuses)
            goes.process.send_signal(signal.SIGTERM)
            self.until("it has ended", lambda: goes.process.poll() is not None)
            self.more(statuses)

    def test_who_goes_away_leaves_nothing_behind(self):
        server = self.start()
        smg = self.enterContext(self.gateway(self.folder, [server]))
        direct = self.enterContext(NativeClient(SOURCE, server.grpc))
        for stream in (True, False):
            for path, fields in (("/v1/completions", LONG), ("/v1/chat/completions", {
                    **LONG, "prompt": None, "messages": [{"role": "user", "content": "Speak"}]})):
                with self.subTest(path, stream=stream):
                    before = self.requests(server)
                    body = {name: value for name, value in fields.items() if value is not None}
                    with smg.sent(path, {"model": "demo", "stream": stream, **body}):
                        self.until("it runs", lambda: direct.GetLoad().running == 8)
                    self.until("its pages are free", lambda: self.idle(direct.GetLoad()))
                    self.until("it is counted", lambda: self.requests(server) != before)
                    new = self.requests(server) - before
                    self.assertIn(next(iter(new))[2], ("cancelled", "aborted"), new)

    @staticmethod
    def idle(load):
        return load.running == load.waiting == load.kv_pages_used == 0

    def test_a_full_queue_is_429_with_the_servers_words(self):
        server = self.start("--max_sequences=8", "--max_queue=8")
        smg = self.enterContext(self.gateway(self.folder, [server], "--disable-retries"))
        direct = self.enterContext(NativeClient(SOURCE, server.grpc))
        for count in ("running", "waiting"):
            self.enterContext(smg.sent("/v1/completions", {"model": "demo", **LONG}))
            self.until(f"{count} 8", lambda: getattr(direct.GetLoad(), count) == 8)
        status, message = self.refused(smg, **LONG)
        self.assertEqual(status, 429, message)
        self.assertIn("queue", message)


if __name__ == "__main__":
    unittest.main()
