#!/usr/bin/env python3
"""The rendered Kubernetes manifests: what must fit together does.

Usage: kustomize_test.py SOURCE_DIR
"""
import re
import unittest

import yaml  # its absence is reported by deploy_support

import deploy_support as support

SOURCE = support.source_dir()
KUBECTL = support.need_kubectl()
FOLDER = SOURCE / "deploy/kubernetes"

KINDS = ["base", "overlays/gpu", "overlays/ab-test"]
RENDERED = {kind: support.render(KUBECTL, FOLDER / kind) for kind in KINDS}

# Flags that are keys as well, and the keys that are no flags.
CONFIG_KEYS = set("""
    model model_name listen metrics_listen health_listen backend threads kv_memory kv_pages
    page_tokens max_batch_tokens max_sequences max_queue max_queue_tokens itl_bound
    brownout_queue brownout_pages fair_share allow_abort drain_timeout drain_grace
    stream_stall_timeout step_stall_timeout prefix_cache tuning_cache log_level log_format
    levels default_level policy brownout experiments buckets""".split())
BROWNOUT_KEYS = {"queue", "pages"}
POLICY_KEYS = {"allow_custom_skip", "max_skipped_attention", "max_priority", "max_n", "max_logprobs",
               "max_tenant_running", "max_tenant_queued", "share_prefix_cache_across_tenants"}
EXPERIMENT_KEYS = {"name", "enabled", "unit", "isolate_prefix_cache", "salt", "arms"}
ARM_KEYS = {"name", "level", "weight"}

# From the end of the drain to the end of the process.
EXIT_SECONDS = 15


def seconds(duration):
    number, unit = re.fullmatch(r"(\d+)(s|m|h)", duration).groups()
    return int(number) * {"s": 1, "m": 60, "h": 3600}[unit]


def mebibytes(amount):
    number, unit = re.fullmatch(r"(\d+)(MiB|GiB|Mi|Gi)", amount).groups()
    return int(number) * {"M": 1, "G": 1024}[unit[0]]


class Manifests:
    """The parts of one rendering that the checks look at."""

    def __init__(self, documents):
        self.documents = documents
        self.deployment = documents["Deployment", "skipstone"]
        self.template = self.deployment["spec"]["template"]
        self.pod = self.template["spec"]
        (self.container,) = self.pod["containers"]
        (self.config_map,) = [d for (kind, _), d in documents.items() if kind == "ConfigMap"]
        self.config = yaml.safe_load(self.config_map["data"]["skipstone.yaml"])

    def of_kind(self, kind):
        return [d for (k, _), d in self.documents.items() if k == kind]

    def port(self, name):
        (port,) = [p["containerPort"] for p in self.container["ports"] if p["name"] == name]
        return port


def on_each_variant(test):
    def run(self):
        for kind in KINDS:
            with self.subTest(kind):
                test(self, Manifests(RENDERED[kind]))
    return run


class KustomizeTest(unittest.TestCase):
    @on_each_variant
    def test_selectors_match_the_pods_labels(self, m):
        labels = m.template["metadata"]["labels"].items()
        selectors = [m.deployment["spec"]["selector"]["matchLabels"]]
        selectors += [s["spec"]["selector"] for s in m.of_kind("Service")]
        selectors += [p["spec"]["selector"]["matchLabels"]
                      for p in m.of_kind("PodDisruptionBudget")]
        selectors += [p["spec"]["podSelector"]["matchLabels"]
                      for p in m.of_kind("NetworkPolicy")]
        selectors += [c["labelSelector"]["matchLabels"]
                      for c in m.pod["topologySpreadConstraints"]]
        self.assertEqual(len(selectors), 7)
        for selector in selectors:
            self.assertTrue(selector)
            self.assertLessEqual(selector.items(), labels)

    @on_each_variant
    def test_ports_are_those_of_the_configuration_everywhere(self, m):
        self.assertEqual(m.config["listen"], f"0.0.0.0:{m.port('grpc')}")
        self.assertEqual(m.config["metrics_listen"], f"0.0.0.0:{m.port('metrics')}")
        self.assertEqual((m.port("grpc"), m.port("metrics")), (50051, 9400))
        services = {s["metadata"]["name"]: s["spec"] for s in m.of_kind("Service")}
        named = {p["name"]: p for p in services["skipstone"]["ports"]}
        self.assertEqual(services["skipstone"]["type"], "ClusterIP")
        self.assertEqual(named["grpc"]["port"], 50051)
        self.assertEqual(named["metrics"]["port"], 9400)
        headless = services["skipstone-headless"]
        self.assertEqual(headless["clusterIP"], "None")
        self.assertEqual([p["port"] for p in headless["ports"]], [50051])
        names = {p["name"] for p in m.container["ports"]}
        for service in services.values():
            for port in service["ports"]:
                self.assertIn(port["targetPort"], names)
        (policy,) = m.of_kind("NetworkPolicy")
        allowed = {p["port"] for rule in policy["spec"]["ingress"] for p in rule["ports"]}
        self.assertEqual(allowed, names)

    @on_each_variant
    def test_probes_ask_liveness_and_readiness_of_the_grpc_port(self, m):
        for probe, service in (("startupProbe", ""), ("livenessProbe", ""),
                               ("readinessProbe", "skipstone.v1.Inference")):
            grpc = m.container[probe]["grpc"]
            self.assertEqual(grpc, {"port": m.port("grpc"), "service": service}, probe)
        startup = m.container["startupProbe"]
        # A checkpoint may have to come over the network.
        self.assertGreaterEqual(startup["periodSeconds"] * startup["failureThreshold"], 300)

    @on_each_variant
    def test_grace_period_outlives_the_drain(self, m):
        drain = seconds(m.config["drain_grace"]) + seconds(m.config["drain_timeout"])
        self.assertGreaterEqual(m.pod["terminationGracePeriodSeconds"], drain + EXIT_SECONDS)
        # Kubelet and proxies need a moment to stop sending here.
        readiness = m.container["readinessProbe"]
        self.assertGreaterEqual(seconds(m.config["drain_grace"]),
                                readiness["periodSeconds"] * readiness["failureThreshold"])

    @on_each_variant
    def test_pods_fit_the_restricted_pod_security_standard(self, m):
        pod = m.pod["securityContext"]
        self.assertIs(pod["runAsNonRoot"], True)
        self.assertEqual((pod["runAsUser"], pod["runAsGroup"]), (65532, 65532))
        self.assertEqual(pod["seccompProfile"], {"type": "RuntimeDefault"})
        container = m.container["securityContext"]
        self.assertIs(container["allowPrivilegeEscalation"], False)
        self.assertIs(container["readOnlyRootFilesystem"], True)
        self.assertEqual(container["capabilities"], {"drop": ["ALL"]})
        for forbidden in ("hostNetwork", "hostPID", "hostIPC"):
            self.assertNotIn(forbidden, m.pod)
        kinds = {k for v in m.pod["volumes"] for k in v if k != "name"}
        self.assertLessEqual(kinds, {"configMap", "emptyDir", "persistentVolumeClaim"})

    @on_each_variant
    def test_the_service_account_has_no_token(self, m):
        self.assertIs(m.pod["automountServiceAccountToken"], False)
        (account,) = m.of_kind("ServiceAccount")
        self.assertEqual(m.pod["serviceAccountName"], account["metadata"]["name"])
        self.assertIs(account["automountServiceAccountToken"], False)

    @on_each_variant
    def test_the_container_reads_the_mounted_hashed_config_map(self, m):
        name = m.config_map["metadata"]["name"]
        self.assertRegex(name, r"^skipstone-config-[a-z0-9]{10}$")
        volumes = {v["name"]: v for v in m.pod["volumes"]}
        self.assertEqual(volumes["config"]["configMap"]["name"], name)
        mounts = {v["name"]: v["mountPath"] for v in m.container["volumeMounts"]}
        self.assertEqual(set(mounts), set(volumes))
        self.assertEqual(m.container["args"], [f"--config={mounts['config']}/skipstone.yaml"])

    def test_each_variant_has_a_config_map_of_its_own(self):
        names = {Manifests(RENDERED[kind]).config_map["metadata"]["name"] for kind in KINDS}
        self.assertEqual(len(names), len(KINDS))

    @on_each_variant
    def test_configuration_has_only_known_keys_and_names(self, m):
        self.assertLessEqual(set(m.config), CONFIG_KEYS)
        self.assertLessEqual(set(m.config.get("brownout", {})), BROWNOUT_KEYS)
        self.assertLessEqual(set(m.config["policy"]), POLICY_KEYS)
        self.assertIn(m.config["default_level"], m.config["levels"])
        for level in m.config["levels"]:
            self.assertRegex(level, r"^[a-z][a-z0-9._-]*$")
        for experiment in m.config.get("experiments", []):
            self.assertLessEqual(set(experiment), EXPERIMENT_KEYS)
            for arm in experiment["arms"]:
                self.assertEqual(set(arm), ARM_KEYS)
                self.assertIn(arm["level"], m.config["levels"])

    @on_each_variant
    def test_files_of_the_configuration_lie_on_mounts_or_in_the_image(self, m):
        mounts = [v["mountPath"] for v in m.container["volumeMounts"]]
        self.assertIn(m.config["model"], mounts + ["/models/demo"])
        if "tuning_cache" in m.config:
            writable = [v["mountPath"] for v in m.container["volumeMounts"]
                        if not v.get("readOnly")]
            self.assertTrue(m.config["tuning_cache"].startswith(tuple(writable)))

    @on_each_variant
    def test_resources_are_set_and_hold_the_page_pool(self, m):
        resources = m.container["resources"]
        for kind in ("requests", "limits"):
            self.assertLessEqual({"cpu", "memory"}, set(resources[kind]))
        if "kv_memory" in m.config:
            self.assertLess(mebibytes(m.config["kv_memory"]),
                            mebibytes(resources["requests"]["memory"]))

    @on_each_variant
    def test_prometheus_finds_the_metrics_port(self, m):
        annotations = m.template["metadata"]["annotations"]
        self.assertEqual(annotations["prometheus.io/scrape"], "true")
        self.assertEqual(annotations["prometheus.io/port"], str(m.port("metrics")))
        self.assertEqual(annotations["prometheus.io/path"], "/metrics")

    @on_each_variant
    def test_either_the_autoscaler_or_the_deployment_has_the_replicas(self, m):
        scalers = m.of_kind("HorizontalPodAutoscaler")
        self.assertEqual("replicas" in m.deployment["spec"], not scalers)
        for scaler in scalers:
            target = scaler["spec"]["scaleTargetRef"]
            self.assertEqual(target, {"apiVersion": m.deployment["apiVersion"],
                                      "kind": "Deployment", "name": "skipstone"})
            # CPU use is relative to the request, which must therefore be there.
            self.assertIn("cpu", m.container["resources"]["requests"])

    @on_each_variant
    def test_disruptions_take_one_pod_at_a_time(self, m):
        (budget,) = m.of_kind("PodDisruptionBudget")
        self.assertEqual(budget["spec"]["maxUnavailable"], 1)

    def test_images_carry_the_version_of_the_project(self):
        version = re.search(r"project\(skipstone VERSION (\S+)",
                            (SOURCE / "CMakeLists.txt").read_text())[1]
        for kind in KINDS:
            suffix = "-cuda" if kind == "overlays/gpu" else ""
            image = Manifests(RENDERED[kind]).container["image"]
            self.assertEqual(image, f"skipstone:{version}{suffix}")

    def test_gpu_overlay_asks_for_one_gpu_and_a_model_volume(self):
        m = Manifests(RENDERED["overlays/gpu"])
        self.assertEqual(m.container["resources"]["limits"]["nvidia.com/gpu"], "1")
        self.assertEqual(m.config["backend"], "cuda")
        claims = {c["metadata"]["name"] for c in m.of_kind("PersistentVolumeClaim")}
        used = {v["persistentVolumeClaim"]["claimName"] for v in m.pod["volumes"]
                if "persistentVolumeClaim" in v}
        self.assertEqual(used, claims)
        loader = yaml.safe_load((FOLDER / "overlays/gpu/model-loader.yaml").read_text())
        self.assertIn(loader["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"], claims)

    def test_ab_overlay_compares_two_levels(self):
        m = Manifests(RENDERED["overlays/ab-test"])
        (experiment,) = m.config["experiments"]
        self.assertIs(experiment["enabled"], True)
        self.assertEqual({a["level"] for a in experiment["arms"]}, set(m.config["levels"]))
        self.assertEqual(len(experiment["arms"]), 2)

    def test_metrics_named_for_scaling_exist(self):
        text = (FOLDER / "base/horizontalpodautoscaler.yaml").read_text()
        self.assertIn("skipstone_num_requests_waiting", text)
        self.assertEqual(support.unknown_metrics(text, support.metric_names(SOURCE)), set())


if __name__ == "__main__":
    unittest.main()
