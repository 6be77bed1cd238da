"""deploy/envoy as a child process, with a certificate and keys of its own."""
import pathlib
import tempfile

import deploy_support as support
import yaml  # its absence was reported by deploy_support
from running_envoy import RunningEnvoy


class SecretVolume:
    """A folder as the kubelet mounts a Secret: all files change at once, by the move of a link."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.path.mkdir()
        self.versions = 0

    def write(self, files):
        self.versions += 1
        version = self.path / f"..version-{self.versions}"
        version.mkdir()
        for name, text in files.items():
            (version / name).write_text(text)
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(f"..data/{name}")
        link = self.path / "..data_tmp"
        link.symlink_to(version.name)
        link.rename(self.path / "..data")


class RunningGateway(RunningEnvoy):
    """`with RunningGateway(program, source, folder, server, keys) as gateway:`

    `keys`: client's name by key. `certificate` is what clients trust."""

    FILE = "deploy/envoy/gateway.yaml"

    def __init__(self, program, source, folder, upstream, keys):
        self.folder = pathlib.Path(folder) / "etc"
        self.folder.mkdir()
        self.files = source / "deploy/envoy"
        for name in ("skipstone.pb", "tls.yaml"):
            (self.folder / name).write_bytes((self.files / name).read_bytes())
        tls = self.folder / "tls.yaml"
        tls.write_text(self._here(tls.read_text()))
        self.keys, self.tls = (SecretVolume(self.folder / name) for name in ("keys", "tls"))
        self.certificate = self.folder / "tls/tls.crt"
        self.renew_certificate()
        self.set_keys(keys)
        super().__init__(program, source, folder, upstream, self._change)

    def _here(self, text):
        return text.replace("/etc/envoy", str(self.folder))

    def _change(self, config):
        config.update(yaml.safe_load(self._here(yaml.safe_dump(config))))

    @staticmethod
    def arguments(source, path):
        return ["--config-path", path, "--concurrency", "1"]

    @property
    def address(self):
        return self.addresses["gateway"]

    def set_keys(self, keys):
        file = yaml.safe_load((self.files / "keys.yaml").read_text())
        file["resources"][0]["typed_config"]["credentials"] = [
            {"key": key, "client": client} for key, client in keys.items()]
        self.keys.write({"keys.yaml": yaml.safe_dump(file)})

    def renew_certificate(self):
        with tempfile.TemporaryDirectory() as folder:
            key, certificate = support.make_certificate(folder)
            self.tls.write({"tls.key": key.read_text(), "tls.crt": certificate.read_text()})
