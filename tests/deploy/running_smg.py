"""SMG, the gateway that speaks OpenAI's API, as a child process before real servers."""
import contextlib
import http.client
import json
import os
import pathlib
import subprocess
import sys
import time

from pinned_wheels import need_wheels
from running_envoy import free_port

START_SECONDS = 60
STOP_SECONDS = 30


def need_smg(build):
    """The folder with the gateway; installs the pinned wheels into it where they are missing."""
    return need_wheels("smg", build)


class RunningSmg:
    """`with RunningSmg(wheels, folder, workers) as smg:` waits until it serves all of them.

    `workers`: addresses of gRPC ports, those of levels too. `flags`: more of its own. `headers`:
    what it wants of whom it tells its tokenizers."""

    def __init__(self, wheels, folder, workers, *flags, headers=()):
        self.port = free_port()
        self.workers = len(workers)
        self.headers = headers
        self.log = pathlib.Path(folder) / "smg.log"
        command = [
            sys.executable, "-m", "smg", "launch", "--host", "127.0.0.1", "--port", str(self.port),
            "--prometheus-host", "127.0.0.1", "--prometheus-port", str(free_port()),
            # By default 180 s, for which it keeps its port and says that it is ready.
            "--shutdown-grace-period-secs", "1", "--health-check-interval-secs", "1",
            "--worker-startup-check-interval", "1",
            "--request-id-headers", "x-skipstone", "x-request-id", "--log-level", "warn", *flags,
            "--worker-urls", *(f"grpc://{worker}" for worker in workers)]
        # The tokenizer is the server's, and is looked for nowhere else.
        environment = {**os.environ, "PYTHONPATH": str(wheels), "HF_HUB_OFFLINE": "1",
                       "PYTHONDONTWRITEBYTECODE": "1"}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log,
                                            stderr=log)

    def __enter__(self):
        try:
            deadline = time.monotonic() + START_SECONDS
            while not self._serves():
                assert self.process.poll() is None and time.monotonic() < deadline, "no start"
                time.sleep(0.05)
        except BaseException:
            self._end()
            print(self.log.read_text())
            raise
        return self

    def __exit__(self, *_):
        self._end()

    def _end(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _serves(self):
        """It is ready before it has the tokenizers."""
        try:
            status, state = self.call("/readiness")
            if status != 200 or state["healthy_workers"] < self.workers:
                return False
            models = self.call("/v1/models", headers=self.headers)[1]["data"]
            there = self.call("/v1/tokenizers", headers=self.headers)[1]["tokenizers"]
        except OSError:
            return False
        return {model["id"] for model in models} <= {one["name"] for one in there}

    def healthy_workers(self):
        return self.call("/readiness")[1]["healthy_workers"]

    @contextlib.contextmanager
    def sent(self, path, body=None, headers=()):
        """The connection with a request on it, whose answer is still to come. Closed at the end."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("POST" if body else "GET", path, json.dumps(body) if body else None,
                               {"content-type": "application/json", **dict(headers)})
            yield connection

    def call(self, path, body=None, headers=()):
        """Status and content of an answer."""
        with self.sent(path, body, headers) as connection:
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def status(self, *request, **more):
        with self.sent(*request, **more) as connection:
            return connection.getresponse().status

    def events(self, path, body, headers=()):
        """The events of a stream, to its proper end."""
        with self.sent(path, {**body, "stream": True}, headers) as connection:
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            for line in answer:
                if line == b"data: [DONE]\n":
                    return
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])
        raise AssertionError("the stream ended without [DONE]")
