#!/usr/bin/env python3
"""What can be known of the Dockerfiles without a Docker engine.

Usage: dockerfile_test.py SOURCE_DIR
"""
import dataclasses
import fnmatch
import json
import re
import shlex
import unittest

import deploy_support as support
import yaml  # its absence was reported by deploy_support

SOURCE = support.source_dir()
PRESETS = {"docker/cpu.Dockerfile": "release", "docker/cuda.Dockerfile": "cuda"}


@dataclasses.dataclass
class Stage:
    image: str
    name: str
    steps: list  # (instruction, rest of the line)

    def all(self, instruction):
        return [rest for word, rest in self.steps if word == instruction]

    def only(self, instruction):
        (rest,) = self.all(instruction)
        return rest


def parse(path):
    """The stages of a Dockerfile, with the ARGs before the first FROM filled in."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.M).replace("\\\n", " ")
    arguments, stages = {}, []
    for line in filter(None, map(str.strip, text.splitlines())):
        word, rest = line.split(None, 1)
        if word == "ARG" and not stages:
            arguments.update([rest.split("=", 1)])
        for name, value in arguments.items():
            rest = rest.replace("${%s}" % name, value)
        if word == "FROM":
            image, *name = re.split(r"\s+AS\s+", rest)
            stages.append(Stage(image, name[0] if name else "", []))
        elif stages:
            stages[-1].steps.append((word, rest))
    return stages


def copies(stage):
    """(--from or None, sources, destination) of each COPY."""
    for rest in stage.all("COPY"):
        words = shlex.split(rest)
        origin = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else None
        yield origin, words[:-1], words[-1]


def from_context(stage):
    """Paths of the build context that a stage reads."""
    paths = [s for origin, sources, _ in copies(stage) if origin is None for s in sources]
    for rest in stage.all("RUN"):
        paths += re.findall(r"--mount=type=bind,source=([^,\s]+)", rest)
    return [p.rstrip("/") for p in paths]


def ignored(path):
    """As .dockerignore has it: the last line that matches the path or a parent decides."""
    verdict = False
    for line in (SOURCE / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.lstrip("!").rstrip("/").removeprefix("**/")
        parts = path.split("/")
        parents = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
        if any(fnmatch.fnmatchcase(p, pattern) for p in parents):
            verdict = not line.startswith("!")
    return verdict


def on_each_dockerfile(test):
    def run(self):
        for name, preset in PRESETS.items():
            with self.subTest(name):
                test(self, parse(SOURCE / name), preset)
    return run


class DockerfileTest(unittest.TestCase):
    @on_each_dockerfile
    def test_what_is_copied_exists_and_is_not_ignored(self, stages, _):
        paths = [p for stage in stages for p in from_context(stage)]
        self.assertIn("models/demo", paths)
        for path in paths:
            self.assertTrue((SOURCE / path).exists(), path)
            self.assertFalse(ignored(path), path)

    def test_the_context_has_no_build_products_history_or_checkpoints(self):
        for path in ("build/dev/bin/skipstone", ".git/HEAD", "models/llama-2-7b-hf/x.safetensors",
                     "tests/CMakeLists.txt", "dist/skipstone.tar"):
            self.assertTrue(ignored(path), path)

    @on_each_dockerfile
    def test_the_builder_has_every_folder_that_the_build_reads(self, stages, _):
        (build,) = [s for s in stages if s.name == "build"]
        have = set(from_context(build))
        lists = (SOURCE / "CMakeLists.txt").read_text()
        read = set(re.findall(r"(?:add_subdirectory|include)\(([\w/]+)", lists))
        folders = {path.split("/")[0] for path in read if (SOURCE / path.split("/")[0]).is_dir()}
        self.assertLess({"proto", "engine", "server", "cmake"}, folders)
        self.assertLessEqual(folders - {"tests", "tools"}, have)
        self.assertLessEqual({"CMakeLists.txt", "CMakePresets.json"}, have)

    @on_each_dockerfile
    def test_programs_are_targets_of_the_preset_that_builds_them(self, stages, preset):
        (build,) = [s for s in stages if s.name == "build"]
        (compile_step,) = [r for r in build.all("RUN") if "cmake --build" in r]
        presets = json.loads((SOURCE / "CMakePresets.json").read_text())
        for kind in ("configurePresets", "buildPresets"):
            self.assertIn(preset, [p["name"] for p in presets[kind]])
        self.assertIn(f"cmake --preset {preset}", compile_step)
        self.assertIn(f"cmake --build --preset {preset} ", compile_step)
        built = re.search(r"--target ([\w -]+?) &&", compile_step)[1].split()

        (installed,) = [s for origin, s, to in copies(stages[-1]) if to == "/usr/local/bin/"]
        self.assertEqual(installed, [f"/src/build/{preset}/bin/{name}" for name in built])
        self.assertEqual(set(built), {"skipstone-server", "skipstone", "skipstone-calibrate"})
        lists = "".join((SOURCE / f / "CMakeLists.txt").read_text() for f in ("server", "client", "tools/calibrate"))
        for name in built:
            self.assertIn(f"add_executable({name} ", lists)

    @on_each_dockerfile
    def test_tests_are_not_built(self, stages, preset):
        (build,) = [s for s in stages if s.name == "build"]
        presets = json.loads((SOURCE / "CMakePresets.json").read_text())["configurePresets"]
        (own,) = [p["cacheVariables"] for p in presets if p["name"] == preset]
        flag = any("-DSKIPSTONE_TESTS=OFF" in r for r in build.all("RUN"))
        self.assertTrue(flag or own.get("SKIPSTONE_TESTS") == "OFF")

    @on_each_dockerfile
    def test_copies_between_stages_name_stages(self, stages, _):
        names = {s.name for s in stages if s.name}
        for stage in stages:
            for origin, _, _ in copies(stage):
                self.assertIn(origin, names | {None})

    @on_each_dockerfile
    def test_packages_come_from_the_one_list(self, stages, _):
        script = (SOURCE / "scripts/install_deps.sh").read_text()
        for stage, package_set in ((stages[-2], "build"), (stages[-1], "runtime")):
            (call,) = re.findall(r"/tmp/install_deps\.sh (\w+)", " ".join(stage.all("RUN")))
            self.assertEqual(call, package_set)
            self.assertRegex(script, rf"(?m)^    {package_set}\) wanted=")
            self.assertNotIn("apt-get", " ".join(stage.all("RUN")))
            self.assertTrue(stage.image.startswith("debian:bookworm"), stage.image)

    @on_each_dockerfile
    def test_ports_and_user_are_those_of_the_kubernetes_base(self, stages, _):
        base = SOURCE / "deploy/kubernetes/base"
        pod = yaml.safe_load((base / "deployment.yaml").read_text())["spec"]["template"]["spec"]
        ports = {p["name"]: str(p["containerPort"])
                 for c in pod["initContainers"] + pod["containers"] for p in c["ports"]}
        self.assertEqual(stages[-1].only("EXPOSE").split(), [ports["grpc"], ports["metrics"]])
        context = pod["securityContext"]
        self.assertEqual(stages[-1].only("USER"),
                         f"{context['runAsUser']}:{context['runAsGroup']}")

    @on_each_dockerfile
    def test_starts_the_server_on_the_demo_model_as_process_one(self, stages, _):
        final = stages[-1]
        self.assertEqual(json.loads(final.only("ENTRYPOINT")), ["/usr/local/bin/skipstone-server"])
        # The default is loopback, where nobody outside of the container would reach it.
        port = final.only("EXPOSE").split()[0]
        self.assertEqual(json.loads(final.only("CMD")),
                         ["--model=/models/demo", f"--listen=0.0.0.0:{port}"])
        self.assertIn((None, ["models/demo/"], "/models/demo/"), list(copies(final)))
        self.assertEqual(final.only("STOPSIGNAL"), "SIGTERM")
        self.assertEqual(final.all("HEALTHCHECK"), [])

    def test_documented_runs_listen_and_publish_to_loopback_only(self):
        for name in PRESETS:
            text = re.sub(r" *\\\n# *", " ", (SOURCE / name).read_text())
            (command,) = re.findall(r"docker run .*", text)
            published = re.findall(r"-p (\S+)", command)
            self.assertEqual(len(published), 2)
            for port in published:
                self.assertRegex(port, r"^127\.0\.0\.1:(\d+):\1$")
            arguments = command.split("skipstone:", 1)[1].split()[1:]
            self.assertTrue(not arguments or "--listen=0.0.0.0:50051" in arguments, command)

    def test_compose_puts_the_server_behind_the_edge_as_kubernetes_does(self):
        services = yaml.safe_load((SOURCE / "docker/compose.yaml").read_text())["services"]
        edge, server = services["edge"], services["skipstone"]
        base = SOURCE / "deploy/kubernetes/base"
        envoy = yaml.safe_load((base / "envoy.yaml").read_text())["static_resources"]
        (cluster,) = [c for c in envoy["clusters"] if c["name"] == "skipstone"]
        (end,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
        target = end["endpoint"]["address"]["socket_address"]
        self.assertIn(f"--listen={target['address']}:{target['port_value']}", server["command"])
        self.assertEqual(server["network_mode"], "service:edge")
        self.assertNotIn("ports", server)
        public = [port for port in edge["ports"] if not port.startswith("127.0.0.1:")]
        self.assertEqual(public, ["50051:50051"])
        (mount,) = edge["volumes"]
        path, inside, _ = mount.split(":")
        self.assertEqual((SOURCE / "docker" / path).resolve(), base / "envoy.yaml")
        self.assertEqual(edge["command"][:2], ["--config-path", inside])
        kustomization = yaml.safe_load((base / "kustomization.yaml").read_text())
        images = {f"{i['name']}:{i['newTag']}" for i in kustomization["images"]}
        self.assertEqual({edge["image"], server["image"]}, images)
        self.assertEqual(parse(SOURCE / "docker/cpu.Dockerfile")[-1].only("USER"), edge["user"])

    def test_the_cuda_image_has_the_libraries_that_the_server_loads(self):
        stages = parse(SOURCE / "docker/cuda.Dockerfile")
        (build,) = [s for s in stages if s.name == "build"]
        copied = re.findall(r"(lib\w+\.so\.\d+)\*", " ".join(build.all("RUN")))
        cuda = SOURCE / "engine/cuda"
        linked = re.findall(r"CUDA::(\w+)", (cuda / "CMakeLists.txt").read_text())
        opened = re.findall(r'"(lib\w+\.so\.(\d+))"', (cuda / "products/cublas_lt.cc").read_text())
        ((_, version),) = opened
        wanted = [f"lib{name}.so.{version}" for name in linked] + [name for name, _ in opened]
        self.assertCountEqual(copied, wanted)

    @on_each_dockerfile
    def test_carries_the_project_version_in_a_label(self, stages, _):
        version = re.search(r"project\(skipstone VERSION (\S+)",
                            (SOURCE / "CMakeLists.txt").read_text())[1]
        self.assertIn(f"VERSION={version}", stages[-1].all("ARG"))
        self.assertIn('org.opencontainers.image.version="${VERSION}"', stages[-1].only("LABEL"))


if __name__ == "__main__":
    unittest.main()
