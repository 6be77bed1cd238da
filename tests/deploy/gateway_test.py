#!/usr/bin/env python3
"""deploy/envoy with the real Envoy before a real server: JSON, SSE, gRPC and gRPC-Web over TLS.

Usage: gateway_test.py SOURCE_DIR SKIPSTONE_SERVER BUILD_FOLDER
"""
import http.client
import json
import pathlib
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

import deploy_support as support
from running_envoy import need_envoy
from running_gateway import RunningGateway
from running_server import RunningServer

try:
    import grpc
except ImportError:
    support.skip("no python3-grpcio; scripts/install_deps.sh test installs it")

SOURCE = support.source_dir()
SERVER, BUILD = sys.argv.pop(1), sys.argv.pop(1)
PROTOC = support.need_tool("protoc")
ENVOY = need_envoy(BUILD)
PATH = "/skipstone.v1.Inference/"
SECONDS = 10  # within which a replaced file is read
CONFIG = f"""
model: {SOURCE}/models/demo
kv_pages: 400
log_level: warn
fair_share: metadata:x-tenant-id
levels: {{full: none, half: "attn:last=50%"}}
experiments:
  - {{name: e, unit: "metadata:x-user-id", exclude: {{tenants: [excluded]}}, arms: [
      {{name: control, level: full, weight: 50}}, {{name: treatment, level: half, weight: 50}}]}}
"""


def request(max_tokens=8, **fields):
    return {"text": "In the beginning", "sampling": {"temperature": 0},
            "stopping": {"max_tokens": max_tokens, "ignore_eos": True}, **fields}


class GatewayTest(unittest.TestCase):
    def setUp(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        config = folder / "skipstone.yaml"
        config.write_text(CONFIG)
        self.server = self.enterContext(RunningServer(SERVER, f"--config={config}"))
        self.gateway = self.enterContext(RunningGateway(
            ENVOY, SOURCE, folder, self.server.grpc, {"a-key": "a", "another": "excluded"}))
        self.port = int(self.gateway.address.rsplit(":", 1)[1])
        self.until("the pod is healthy", lambda: self.call("GetModel", {})[0] == 200)

    def until(self, what, holds):
        end = time.monotonic() + SECONDS
        while not holds():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.05)

    def post(self, method, body, headers=(), key="a-key"):
        """An answer whose body is still to be read."""
        trusted = ssl.create_default_context(cafile=self.gateway.certificate)
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=60, context=trusted)
        self.addCleanup(connection.close)
        sent = {"content-type": "application/json", **dict(headers)}
        if key:
            sent["authorization"] = f"Bearer {key}"
        connection.request("POST", PATH + method, body, sent)
        return connection.getresponse()

    def call(self, method, message, headers=(), key="a-key"):
        answer = self.post(method, json.dumps(message), headers, key)
        text = answer.read().decode()
        is_json = answer.headers["content-type"] == "application/json"
        return answer.status, json.loads(text) if is_json else text

    def events(self, answer):
        self.assertEqual(answer.headers["content-type"], "text/event-stream")
        for line in answer:
            if line.startswith(b"data: "):
                yield json.loads(line[6:])

    def channel(self):
        roots = self.gateway.certificate.read_bytes()
        return self.enterContext(grpc.secure_channel(
            f"localhost:{self.port}", grpc.ssl_channel_credentials(roots)))

    def level_of(self, user, headers=(), key="a-key"):
        status, answer = self.call("Generate", request(1), {"x-user-id": user, **dict(headers)}, key)
        self.assertEqual(status, 200, answer)
        return answer["accepted"]["applied_skip"]

    def test_the_descriptors_are_those_of_the_contract(self):
        with tempfile.NamedTemporaryFile() as file:
            subprocess.run([PROTOC, f"--proto_path={SOURCE}/proto", "--include_imports",
                            f"--descriptor_set_out={file.name}", "skipstone/v1/inference.proto"],
                           check=True)
            self.assertEqual(pathlib.Path(file.name).read_bytes(),
                             (SOURCE / "deploy/envoy/skipstone.pb").read_bytes())

    def test_json_and_events_say_the_same(self):
        status, whole = self.call("Generate", request())
        self.assertEqual(status, 200, whole)
        events = list(self.events(self.post("GenerateStream", json.dumps(request()))))
        self.assertIn("accepted", events[0])
        self.assertIn("finished", events[-1])
        streamed = "".join(event["delta"].get("text", "") for event in events if "delta" in event)
        self.assertEqual(streamed, whole["outputs"][0]["delta"]["text"])
        status, score = self.call("Score", {"items": [{"prompt": {"text": "In the beginning"}}]})
        self.assertEqual(status, 200, score)

    def test_errors_keep_their_words(self):
        for message, status, code, text in [
                (request(skip={"level": "nope"}), 404, 5, "no level 'nope'; the levels are: full, half"),
                (request(skip={"spec": "attn:99"}), 400, 3, "attn:99"),
                (request(sampling={"temperature": 9}), 400, 3, "sampling.temperature")]:
            answered, error = self.call("Generate", message)
            self.assertEqual((answered, error["code"]), (status, code), error)
            self.assertIn(text, error["message"])
        self.assertEqual(self.call("Generat", request())[0], 404)
        self.assertEqual(self.post("Generate", "{").status, 400)
        self.assertEqual(self.post("Generate", b"x" * (5 << 20)).status, 413)

    def test_nobody_comes_in_without_a_key(self):
        for key in (None, "a-ke", "A-KEY", ""):
            self.assertEqual(self.call("GetModel", {}, key=key)[0], 401)
        call = self.channel().unary_unary(PATH + "GetModel")
        with self.assertRaises(grpc.RpcError) as caught:
            call(b"", timeout=30)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAUTHENTICATED)
        with self.assertRaises((http.client.HTTPException, OSError)):
            plain = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            plain.request("POST", PATH + "GetModel", "{}")
            plain.getresponse()

    def test_a_client_is_whom_its_key_names(self):
        self.assertNotIn("arm", self.level_of("u1", key="another"))
        self.assertIn("arm", self.level_of("u1", {"x-tenant-id": "excluded"}))

    def test_users_keep_their_arms(self):
        arms = {user: self.level_of(f"u{user}")["arm"] for user in range(12)}
        self.assertEqual(set(arms.values()), {"control", "treatment"})
        self.assertEqual(arms, {user: self.level_of(f"u{user}")["arm"] for user in arms})

    def test_grpc_and_grpc_web(self):
        key = [("authorization", "Bearer a-key")]
        model = self.channel().unary_unary(PATH + "GetModel")(b"", timeout=30, metadata=key)
        self.assertIn(b"demo", model)
        answer = self.post("GetModel", b"\0" * 5, {"content-type": "application/grpc-web+proto",
                                                 "x-grpc-web": "1"})
        body = answer.read()
        self.assertEqual(answer.status, 200)
        length = int.from_bytes(body[1:5], "big")
        self.assertEqual(body[5:5 + length], model)
        trailer = body[5 + length:]
        self.assertEqual(trailer[0], 0x80)
        self.assertIn(b"grpc-status:0", trailer.replace(b" ", b""))

    def test_keys_and_certificates_change_under_a_stream(self):
        answer = self.post("GenerateStream", json.dumps(request(400)))
        events = self.events(answer)
        self.assertIn("accepted", next(events))
        self.gateway.set_keys({"new-key": "a"})
        self.until("the new key is taken",
                   lambda: self.call("GetModel", {}, key="new-key")[0] == 200)
        self.assertEqual(self.call("GetModel", {})[0], 401)
        self.gateway.renew_certificate()
        trusted = ssl.create_default_context(cafile=self.gateway.certificate)

        def new_one_is_served():
            connection = http.client.HTTPSConnection("localhost", self.port, timeout=10,
                                                     context=trusted)
            self.addCleanup(connection.close)
            try:
                connection.connect()
                return True
            except ssl.SSLCertVerificationError:
                return False

        self.until("the new certificate is served", new_one_is_served)
        *_, last = events
        self.assertEqual(last["finished"]["reason"], "MAX_TOKENS")


if __name__ == "__main__":
    unittest.main()
