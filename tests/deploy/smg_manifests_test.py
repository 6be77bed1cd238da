#!/usr/bin/env python3
"""The files that run SMG and that describe the pods to other gateways: what must fit together does.

Usage: smg_manifests_test.py SOURCE_DIR
"""
import re
import unittest

import yaml  # its absence is reported by deploy_support

import deploy_support as support

SOURCE = support.source_dir()
KUBECTL = support.need_kubectl()
FOLDER = SOURCE / "deploy/kubernetes/overlays/gateway"
DOCUMENTS = support.render(KUBECTL, FOLDER)
BASE = support.render(KUBECTL, SOURCE / "deploy/kubernetes/base")
COMPOSE = yaml.safe_load((SOURCE / "docker/gateway.compose.yaml").read_text())
NAME = "skipstone-smg"
CLIENT = {"skipstone-client": "true"}


def flags_of(args):
    """Flags with their values; those without "=" have a list of the words behind them."""
    found, last = {}, None
    for word in args:
        if word.startswith("--"):
            name, _, value = word.partition("=")
            last = found.setdefault(name, value or [])
        else:
            last.append(word)
    return found


def config_of(documents):
    (found,) = [d["data"]["skipstone.yaml"] for (kind, _), d in documents.items()
                if kind == "ConfigMap" and "skipstone.yaml" in d["data"]]
    return yaml.safe_load(found)


def listened(config):
    """The port of each level."""
    return {level: int(address.rsplit(":", 1)[1]) for level, address in
            (word.split("=") for word in config["level_listen"].split(","))}


class SmgManifestsTest(unittest.TestCase):
    def setUp(self):
        self.deployment = DOCUMENTS["Deployment", NAME]
        self.template = self.deployment["spec"]["template"]
        self.pod = self.template["spec"]
        (self.container,) = self.pod["containers"]
        self.flags = flags_of(self.container["args"])
        self.servers = DOCUMENTS["Deployment", "skipstone"]["spec"]["template"]
        (self.server,) = self.servers["spec"]["containers"]
        self.config = config_of(DOCUMENTS)
        self.levels = listened(self.config)

    def worker_ports(self):
        annotation = self.servers["metadata"]["annotations"]["smg.ai/worker-ports"]
        return [int(port) for port in annotation.split(",")]

    def test_every_level_has_a_port_that_smg_knows_and_reaches(self):
        self.assertEqual(set(self.levels), set(self.config["levels"]))
        ports = {port["name"]: port["containerPort"] for port in self.server["ports"]}
        self.assertEqual(ports, {"metrics": 9400, **{
            f"level-{level}": port for level, port in self.levels.items()}})
        self.assertEqual(self.worker_ports(), [50051, *self.levels.values()])
        self.assertEqual(self.flags["--service-discovery-port"], "50051")
        label, _, value = self.flags["--selector"].partition("=")
        self.assertEqual(self.servers["metadata"]["labels"][label], value)
        outward = DOCUMENTS["NetworkPolicy", NAME]["spec"]["egress"][0]
        self.assertEqual([port["port"] for port in outward["ports"]], self.worker_ports())
        self.assertLessEqual(outward["to"][0]["podSelector"]["matchLabels"].items(),
                             self.servers["metadata"]["labels"].items())

    def test_nobody_but_smg_reaches_the_ports_of_levels(self):
        native, *as_before, rule = DOCUMENTS["NetworkPolicy", "skipstone"]["spec"]["ingress"]
        _, *others = BASE["NetworkPolicy", "skipstone"]["spec"]["ingress"]
        self.assertEqual(as_before, others)
        # Whoever may call SMG does not get round its key.
        clients = DOCUMENTS["NetworkPolicy", NAME]["spec"]["ingress"][0]["from"]
        self.assertFalse([peer for peer in native["from"] if peer in clients])
        self.assertEqual([port["port"] for port in rule["ports"]], list(self.levels.values()))
        (peer,) = rule["from"]
        self.assertEqual(peer, {"podSelector": {"matchLabels": {"app.kubernetes.io/name": NAME}}})
        for (kind, _), document in DOCUMENTS.items():
            if kind == "Service":
                for port in document["spec"]["ports"]:
                    self.assertNotIn(port["targetPort"], self.levels.values())

    def test_the_servers_are_the_bases_but_for_that(self):
        ours, theirs = self.config, config_of(BASE)
        self.assertEqual({key: value for key, value in ours.items()
                          if key not in ("level_listen", "allow_abort")}, theirs)
        # A proxy's Abort need not come over the connection of the request.
        self.assertEqual(ours["allow_abort"], "any")

    def test_the_sidecar_passes_what_smg_says(self):
        (found,) = [d["data"]["envoy.yaml"] for (kind, _), d in DOCUMENTS.items()
                    if kind == "ConfigMap" and "envoy.yaml" in d["data"]]
        listeners = yaml.safe_load(found)["static_resources"]["listeners"]
        (grpc,) = [one for one in listeners if one["name"] == "grpc"]
        manager = grpc["filter_chains"][0]["filters"][-1]["typed_config"]
        routes = manager["route_config"]["virtual_hosts"][0]["routes"]
        prefixes = [r["match"].get("prefix") for r in routes if "route" in r]
        self.assertIn("/vllm.grpc.engine.VllmEngine/", prefixes)
        self.assertLessEqual(CLIENT.items(), self.template["metadata"]["labels"].items())

    def test_selectors_match_its_labels(self):
        labels = self.template["metadata"]["labels"].items()
        (spread,) = self.pod["topologySpreadConstraints"]
        for selector in (self.deployment["spec"]["selector"]["matchLabels"],
                         DOCUMENTS["Service", NAME]["spec"]["selector"],
                         DOCUMENTS["PodDisruptionBudget", NAME]["spec"]["selector"]["matchLabels"],
                         DOCUMENTS["NetworkPolicy", NAME]["spec"]["podSelector"]["matchLabels"],
                         spread["labelSelector"]["matchLabels"]):
            self.assertLessEqual(selector.items(), labels)
        for service in ("skipstone", "skipstone-headless"):
            self.assertFalse(BASE["Service", service]["spec"]["selector"].items() <= labels)

    def test_its_ports_fit(self):
        ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        self.assertEqual(ports, {"http": int(self.flags["--port"]),
                                 "health": int(self.flags["--health-check-port"]),
                                 "metrics": int(self.flags["--prometheus-port"])})
        (port,) = DOCUMENTS["Service", NAME]["spec"]["ports"]
        self.assertIn(port["targetPort"], ports)
        for probe, path in (("startupProbe", "/liveness"), ("livenessProbe", "/liveness"),
                            ("readinessProbe", "/readiness")):
            self.assertEqual(self.container[probe]["httpGet"], {"path": path, "port": "health"})
        self.assertEqual(self.template["metadata"]["annotations"]["prometheus.io/port"],
                         str(ports["metrics"]))
        rules = DOCUMENTS["NetworkPolicy", NAME]["spec"]["ingress"]
        self.assertEqual([[port["port"] for port in rule["ports"]] for rule in rules],
                         [[ports["http"]], [ports["metrics"]]])
        # As at the base's edge.
        self.assertEqual([rule["from"] for rule in rules], [
            rule["from"] for rule in BASE["NetworkPolicy", "skipstone"]["spec"]["ingress"]])

    def test_keys_come_from_a_secret(self):
        secrets = {each["name"] for each in self.container["env"]
                   if "secretKeyRef" in each.get("valueFrom", {})}
        self.assertEqual(secrets, {"API_KEY", "CONTROL_PLANE_KEY"})
        self.assertEqual(self.flags["--api-key"], "$(API_KEY)")
        self.assertTrue(self.flags["--control-plane-api-keys"].endswith(":$(CONTROL_PLANE_KEY)"))

    def test_it_may_read_pods_and_nothing_else(self):
        self.assertEqual(DOCUMENTS["Role", NAME]["rules"], [
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}])
        binding = DOCUMENTS["RoleBinding", NAME]
        self.assertEqual(binding["roleRef"]["name"], NAME)
        self.assertEqual([s["name"] for s in binding["subjects"]], [self.pod["serviceAccountName"]])
        self.assertFalse([name for kind, name in DOCUMENTS if kind.startswith("Cluster")])
        self.assertEqual(self.flags["--service-discovery-namespace"], "$(NAMESPACE)")

    def test_its_pod_fits_the_restricted_standard(self):
        base = BASE["Deployment", "skipstone"]["spec"]["template"]["spec"]
        self.assertEqual(self.pod["securityContext"], base["securityContext"])
        self.assertEqual(self.container["securityContext"],
                         base["containers"][0]["securityContext"])
        (volume,) = self.pod["volumes"]
        self.assertIn("emptyDir", volume)
        for kind in ("requests", "limits"):
            self.assertLessEqual({"cpu", "memory"}, set(self.container["resources"][kind]))

    def test_a_drain_is_seen_before_it_refuses(self):
        interval = int(self.flags["--health-check-interval-secs"])
        self.assertLess(2 * interval, int(self.config["drain_grace"].removesuffix("s")))
        self.assertLess(int(self.flags["--shutdown-grace-period-secs"]),
                        self.pod["terminationGracePeriodSeconds"])

    def test_the_image_is_the_tested_version(self):
        pinned = (SOURCE / "tests/deploy/smg_requirements.txt").read_text()
        version = re.search(r"^smg==(\S+)", pinned)[1]
        self.assertEqual(self.container["image"], f"lightseekorg/smg:{version}")
        self.assertEqual(COMPOSE["services"]["smg"]["image"], f"lightseekorg/smg:{version}")

    def test_compose_runs_the_same(self):
        services = dict(COMPOSE["services"])
        smg = services.pop("smg")
        flags = flags_of(smg["command"])
        urls = flags.pop("--worker-urls")
        self.assertEqual(urls, [f"grpc://{server}:{port}" for server in services
                                for port in self.worker_ports()])
        self.assertEqual(len(services), 2)
        for name, value in flags.items():
            if "key" not in name:
                self.assertEqual(self.flags[name], value, name)
        for name in ("--api-key", "--control-plane-api-keys"):
            self.assertRegex(flags[name], r"\$\{[A-Z_]+:\?")
        for server in services.values():
            self.assertEqual(server["networks"], ["servers"])
            self.assertNotIn("ports", server)
            self.assertIn("--listen=0.0.0.0:50051", server["command"])
            ((file, mounted, _),) = [each.split(":") for each in server["volumes"]]
            self.assertEqual((SOURCE / "docker" / file).resolve(), FOLDER / "skipstone.yaml")
            self.assertIn(f"--config={mounted}", server["command"])
        self.assertIs(COMPOSE["networks"]["servers"]["internal"], True)
        for port in smg["ports"]:
            self.assertTrue(port.startswith("127.0.0.1:"))
        for service in (*services.values(), smg):
            self.assertIs(service["read_only"], True)
            self.assertEqual(service["cap_drop"], ["ALL"])


class InferencePoolTest(unittest.TestCase):
    def setUp(self):
        text = (SOURCE / "deploy/llm-d/inferencepool.yaml").read_text()
        self.documents = {d["kind"]: d for d in yaml.safe_load_all(text)}
        self.text = text
        self.picker = yaml.safe_load(self.documents["ConfigMap"]["data"]["picker.yaml"])

    def test_the_pool_is_the_bases_pods(self):
        pool = self.documents["InferencePool"]["spec"]
        template = BASE["Deployment", "skipstone"]["spec"]["template"]
        self.assertLessEqual(pool["selector"]["matchLabels"].items(),
                             template["metadata"]["labels"].items())
        self.assertEqual(pool["targetPorts"], [{"number": 50051}])
        policy = self.documents["NetworkPolicy"]["spec"]
        self.assertEqual(policy["podSelector"], pool["selector"])
        self.assertEqual(policy["ingress"][0]["ports"], [{"port": 9400}])
        self.assertIn("--model-server-metrics-port=9400", self.text)

    def test_metrics_exist_and_plugins_are_named(self):
        plugins = {one.get("name", one["type"]): one for one in self.picker["plugins"]}
        (engine,) = plugins["core-metrics-extractor"]["parameters"]["engineConfigs"]
        for key in ("queuedRequestsSpec", "runningRequestsSpec", "kvUsageSpec", "cacheInfoSpec"):
            self.assertIn(engine[key], support.METRIC_NAMES)
        self.assertEqual(plugins["core-metrics-extractor"]["parameters"]["defaultEngine"],
                         engine["name"])
        named = set(re.findall(r"pluginRef: ([\w-]+)",
                               self.documents["ConfigMap"]["data"]["picker.yaml"]))
        self.assertLessEqual(named, set(plugins))


if __name__ == "__main__":
    unittest.main()
