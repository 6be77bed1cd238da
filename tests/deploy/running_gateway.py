"""deploy/envoy as a child process, with a certificate and keys of its own."""
import pathlib
import subprocess

import deploy_support as support
import yaml  # its absence was reported by deploy_support
from running_envoy import RunningEnvoy

OPENSSL = support.need_tool("openssl")


class RunningGateway(RunningEnvoy):
    """`with RunningGateway(program, source, folder, server, keys) as gateway:`

    `keys`: client's name by key. `certificate` is what clients trust."""

    FILE = "deploy/envoy/gateway.yaml"

    def __init__(self, program, source, folder, upstream, keys):
        self.folder = pathlib.Path(folder)
        self.files = source / "deploy/envoy"
        (self.folder / "tls").mkdir()
        self.certificate = self.folder / "tls/tls.crt"
        self.renew_certificate()
        self.set_keys(keys)
        self._copy("tls.yaml", self._here)
        super().__init__(program, source, folder, upstream, self._change)

    def _here(self, text):
        return text.replace("/etc/envoy", str(self.folder))

    def _change(self, config):
        config.update(yaml.safe_load(self._here(yaml.safe_dump(config)).replace(
            f"{self.folder}/skipstone.pb", f"{self.files}/skipstone.pb")))

    @staticmethod
    def arguments(source, path):
        return ["--config-path", path, "--concurrency", "1"]

    @property
    def address(self):
        return self.addresses["gateway"]

    def _copy(self, name, change):
        """As a Secret's volume does it: a whole new file takes the place of the old one."""
        new = self.folder / f"{name}.new"
        new.write_text(change((self.files / name).read_text()))
        new.rename(self.folder / name)

    def set_keys(self, keys):
        def change(text):
            file = yaml.safe_load(text)
            file["resources"][0]["typed_config"]["credentials"] = [
                {"key": key, "client": client} for key, client in keys.items()]
            return yaml.safe_dump(file)

        self._copy("keys.yaml", change)

    def renew_certificate(self):
        for name in ("tls.key", "tls.crt"):
            (self.folder / "tls" / name).unlink(missing_ok=True)
        subprocess.run(
            [OPENSSL, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
             "-keyout", self.folder / "tls/new.key", "-out", self.folder / "tls/new.crt"],
            check=True, capture_output=True)
        (self.folder / "tls/new.key").rename(self.folder / "tls/tls.key")
        (self.folder / "tls/new.crt").rename(self.folder / "tls/tls.crt")
