"""A skipstone-server as a child process, for the tests of deploy/."""
import pathlib
import re
import select
import subprocess
import time

READY_SECONDS = 60


class RunningServer:
    """`with RunningServer(binary, flags) as server:` waits for READY; drains it at the end.

    `wrapper`: a command that runs the binary, such as ("prlimit", "--nofile=1024")."""

    def __init__(self, binary, *flags, wrapper=()):
        # Flags win over the file of --config.
        self.process = subprocess.Popen(
            [*wrapper, binary, "--listen=127.0.0.1:0", "--metrics_listen=127.0.0.1:0",
             "--drain_grace=0s", *flags],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.grpc = self.metrics = None

    def __enter__(self):
        try:
            self._wait_until_ready()
        except BaseException:
            self.process.kill()
            _, log = self.process.communicate()
            print(log)
            raise
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            _, log = self.process.communicate(timeout=READY_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        assert self.process.returncode == 0, f"exit {self.process.returncode}:\n{log}"

    def resident_bytes(self, peak=False):
        """Memory of the process now, or at most since `forget_peak`."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"Vm{'HWM' if peak else 'RSS'}:\s+(\d+) kB", status)[1]) << 10

    def forget_peak(self):
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def _wait_until_ready(self):
        deadline = time.monotonic() + READY_SECONDS
        line = ""
        while not line.endswith("\n"):
            left = deadline - time.monotonic()
            if not select.select([self.process.stdout], [], [], max(left, 0))[0]:
                raise AssertionError(f"no READY line in {READY_SECONDS} s")
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError("the server ended before it was ready")
        words = line.split()
        assert words[0] == "READY", line
        fields = dict(word.split("=", 1) for word in words[1:])
        self.grpc, self.metrics = fields["grpc"], fields["metrics"]
        self.levels = {name.removeprefix("level:"): address for name, address in fields.items()
                       if name.startswith("level:")}
