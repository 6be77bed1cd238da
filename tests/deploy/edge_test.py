#!/usr/bin/env python3
"""The real Envoy with the sidecar's file before a real server: what passes, and what ends there.

Usage: edge_test.py SOURCE_DIR SKIPSTONE_SERVER BUILD_FOLDER
SKIPSTONE_RESETS: how many streams are reset, 5,000 unless set.
"""
import contextlib
import gzip
import os
import pathlib
import re
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error

import deploy_support as support
import http2_frames as http2
import yaml  # its absence was reported by deploy_support
from running_envoy import RunningEnvoy, need_envoy
from running_server import RunningServer

try:
    import grpc
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
except ImportError:
    support.skip("no python3-grpcio; scripts/install_deps.sh test installs it")

SOURCE = support.source_dir()
SERVER, BUILD = sys.argv.pop(1), sys.argv.pop(1)
PROTOC = support.need_tool("protoc")
ENVOY = need_envoy(BUILD)
RESETS = int(os.environ.get("SKIPSTONE_RESETS", "5000"))
IDLE_CONNECTIONS = 2000
PATH = "/skipstone.v1.Inference/"
# What abuse may add to the server's memory, also for a moment.
MOST_GROWTH_BYTES = 32 << 20
# Of others' calls during abuse.
PROMPT_SECONDS = 5
# `grpc-status: 4` (DEADLINE_EXCEEDED) as HPACK has it: a literal, its name in Huffman coding.
GRPC_STATUS_4 = bytes.fromhex("889acac8b21234da8f0134")
CONFIG = f"""
model: {SOURCE}/models/demo
kv_pages: 96
log_level: warn
levels: {{full: none, half: "attn:last=50%"}}
default_level: full
experiments:
  - {{name: e, enabled: true, unit: "metadata:x-user-id", salt: s, arms: [
      {{name: control, level: full, weight: 50}}, {{name: treatment, level: half, weight: 50}}]}}
"""


def load_messages():
    with tempfile.NamedTemporaryFile() as file:
        subprocess.run([PROTOC, f"--proto_path={SOURCE}/proto", f"--descriptor_set_out={file.name}",
                        "skipstone/v1/inference.proto"], check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(file.name).read_bytes())
    found = message_factory.GetMessages(files.file)
    return lambda name: found[f"skipstone.v1.{name}"]


message_type = load_messages()
GenerateRequest, GenerateEvent = message_type("GenerateRequest"), message_type("GenerateEvent")


def request(max_tokens):
    made = GenerateRequest(text="In the beginning")
    made.stopping.max_tokens, made.stopping.ignore_eos = max_tokens, True
    return made


def generate(channel, max_tokens=4, **more):
    """The stream of a generation; `more` as grpcio has it."""
    method = channel.unary_stream(PATH + "GenerateStream",
                                  request_serializer=GenerateRequest.SerializeToString,
                                  response_deserializer=GenerateEvent.FromString)
    return method(request(max_tokens), timeout=60, **more)


def call(channel, method=PATH + "GetModel", body=b"", **more):
    return channel.unary_unary(method)(body, timeout=30, **more)


def http_manager(config):
    """The settings of the port that clients reach, in the parsed file."""
    (listener,) = [one for one in config["static_resources"]["listeners"] if one["name"] == "grpc"]
    return listener["filter_chains"][0]["filters"][-1]["typed_config"]


class EdgeTest(unittest.TestCase):
    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())

    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        config = pathlib.Path(folder) / "skipstone.yaml"
        config.write_text(CONFIG)
        cls.server = cls.enterClassContext(RunningServer(SERVER, f"--config={config}"))
        with grpc.insecure_channel(cls.server.grpc) as channel:
            list(generate(channel))  # what the first request allocates is not growth

    def start(self, change=lambda config: None, upstream=None):
        """Envoy before the server."""
        return self.enterContext(
            RunningEnvoy(ENVOY, SOURCE, self.folder, upstream or self.server.grpc, change))

    def channel(self, address):
        return self.enterContext(grpc.insecure_channel(address))

    @contextlib.contextmanager
    def no_harm(self, envoy):
        """Others are served after and, in the block, whenever it yields; the server stays small."""
        before = self.server.resident_bytes()
        self.server.forget_peak()
        yield
        began = time.monotonic()
        list(generate(self.channel(envoy.grpc)))
        self.assertLess(time.monotonic() - began, PROMPT_SECONDS)
        self.assertLess(self.server.resident_bytes(peak=True) - before, MOST_GROWTH_BYTES)

    def assert_refused(self, code, text, make):
        with self.assertRaises(grpc.RpcError) as caught:
            make()
        self.assertEqual(caught.exception.code(), code, caught.exception.details())
        self.assertIn(text, caught.exception.details())
        return dict(caught.exception.trailing_metadata())

    # What passes.

    def test_a_stream_comes_through_with_the_users_metadata_and_the_trailers(self):
        channel = self.channel(self.start().grpc)
        arms = {}
        for user in range(12):
            metadata = (("x-user-id", f"user{user}"), ("x_under-score", "kept"))
            for _ in range(2):
                stream = generate(channel, metadata=metadata)
                events = list(stream)
                self.assertEqual(events[0].WhichOneof("event"), "accepted")
                self.assertEqual(events[-1].WhichOneof("event"), "finished")
                arm = dict(stream.trailing_metadata())["skipstone-arm"]
                self.assertEqual(arms.setdefault(user, arm), arm)
        self.assertEqual(set(arms.values()), {"e/control", "e/treatment"})

    def test_refusals_keep_code_text_and_pushback(self):
        channel = self.channel(self.start().grpc)
        unknown = message_type("GenerateRequest")(text="a")
        unknown.skip.level = "nope"
        self.assert_refused(grpc.StatusCode.NOT_FOUND, "nope", lambda: call(
            channel, PATH + "Generate", unknown.SerializeToString()))
        trailers = self.assert_refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "pages", lambda: list(
            generate(channel, max_tokens=400)))
        self.assertEqual(trailers["grpc-retry-pushback-ms"], "-1")

    def test_only_the_service_and_health_are_there(self):
        envoy = self.start()
        channel = self.channel(envoy.grpc)
        self.assertEqual(call(channel, "/grpc.health.v1.Health/Check"), b"\x08\x01")
        for method in ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                       "/other.Service/Call", "/ready", "/stats/prometheus"):
            self.assert_refused(grpc.StatusCode.UNIMPLEMENTED, "", lambda: call(channel, method))

    def test_the_status_port_has_health_readiness_and_figures_and_nothing_else(self):
        envoy = self.start()
        channel = self.channel(envoy.status)
        self.assertEqual(call(channel, "/grpc.health.v1.Health/Check"), b"\x08\x01")
        self.assert_refused(grpc.StatusCode.UNIMPLEMENTED, "", lambda: call(channel))
        self.assertEqual(envoy.ask("/ready", envoy.status), "LIVE\n")
        rules = (SOURCE / "deploy/prometheus/skipstone.rules.yaml").read_text()
        figures = envoy.ask("/stats/prometheus", envoy.status)
        named = set(re.findall(r"envoy_\w+", rules))
        self.assertTrue(named)
        self.assertEqual({name for name in named if f"\n{name}{{" not in figures}, set())
        for path in ("/config_dump", "/stats", "/ready/../quitquitquit", "/"):
            with self.assertRaises(urllib.error.HTTPError) as caught:
                envoy.ask(path, envoy.status)
            self.assertEqual(caught.exception.code, 404, path)

    def test_a_server_that_is_not_there_is_unavailable(self):
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))  # and does not listen
            envoy = self.start(upstream=f"127.0.0.1:{nobody.getsockname()[1]}")
            channel = self.channel(envoy.grpc)
            self.assert_refused(grpc.StatusCode.UNAVAILABLE, "", lambda: call(channel))

    # Connections come and go without a failed call.

    def test_old_connections_end_and_calls_and_streams_do_not(self):
        def often(config):
            options = http_manager(config)["common_http_protocol_options"]
            self.assertTrue(options["max_connection_duration"])
            options["max_connection_duration"] = "0.2s"
            http_manager(config)["drain_timeout"] = "0.2s"
        envoy = self.start(often)
        channel = self.channel(envoy.grpc)
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=60)
        self.assertEqual(next(watch), b"\x08\x01")
        reached = "http.grpc.downstream_cx_max_duration_reached"
        deadline = time.monotonic() + 30
        while envoy.counter(reached) < 5 and time.monotonic() < deadline:
            call(channel)
        self.assertGreaterEqual(envoy.counter(reached), 5)
        self.assertTrue(watch.is_active())
        watch.cancel()

    def test_the_pre_stop_hook_moves_clients_away_and_leaves_streams_alone(self):
        folder = pathlib.Path(self.folder)
        with RunningServer(SERVER, f"--model={SOURCE}/models/demo", "--log_level=warn") as server:
            envoy = self.start(upstream=server.grpc)
            channel = self.channel(envoy.grpc)
            watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(
                b"\n\x16skipstone.v1.Inference", timeout=60)
            self.assertEqual(next(watch), b"\x08\x01")
            self.run_pre_stop(envoy, folder)
            # An answer, then GOAWAY: by and by the channel is elsewhere.
            drained = "http.grpc.downstream_cx_drain_close"
            call(channel)
            self.wait_until("GOAWAY", lambda: envoy.counter(drained) >= 1)
            self.wait_until("nobody new is taken", lambda: not self.connects(envoy.grpc))
            self.assertEqual(call(self.channel(envoy.status), "/grpc.health.v1.Health/Check"),
                             b"\x08\x01")
            server.process.terminate()
            self.assertEqual(next(watch), b"\x08\x02")  # NOT_SERVING, on the old stream
            server.process.wait(timeout=60)

    def test_a_restart_of_one_of_two_pods_loses_no_call(self):
        stay = self.start()
        restarted = RunningServer(SERVER, f"--model={SOURCE}/models/demo", "--log_level=warn",
                                  "--drain_grace=5s")
        with restarted as server, tempfile.TemporaryDirectory() as folder:
            with RunningEnvoy(ENVOY, SOURCE, folder, server.grpc) as envoy:
                channel = self.enterContext(grpc.insecure_channel(
                    f"ipv4:{stay.grpc},{envoy.grpc}",
                    options=[("grpc.lb_policy_name", "round_robin")]))
                total = "http.grpc.downstream_rq_total"
                self.wait_until("both are used", lambda: call(channel) and min(
                    one.counter(total) for one in (stay, envoy)) > 5)
                # As the kubelet does it: the hook, SIGTERM, and the sidecar when the server ended.
                self.run_pre_stop(envoy, pathlib.Path(folder))
                server.process.terminate()
                while server.process.poll() is None:
                    call(channel)
            for _ in range(100):
                call(channel)

    def run_pre_stop(self, envoy, folder):
        deployment = yaml.safe_load(
            (SOURCE / "deploy/kubernetes/base/deployment.yaml").read_text())
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        command = container["lifecycle"]["preStop"]["exec"]["command"]
        here = [word.replace("/127.0.0.1/9901", f"/127.0.0.1/{envoy.admin.split(':')[1]}")
                for word in command]
        self.assertNotEqual(command, here)
        subprocess.run(here, check=True, timeout=10, cwd=folder)

    def wait_until(self, what, found):
        deadline = time.monotonic() + 30
        while not found():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.05)

    @staticmethod
    def connects(address):
        host, port = address.split(":")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except ConnectionRefusedError:
            return False
        return True

    # What ends at the edge.

    def test_rapid_resets_end_the_connection(self):
        envoy = self.start()
        block = http2.grpc_headers(PATH + "GenerateStream")
        body = http2.message(request(8).SerializeToString())

        def open_and_reset(stream):
            return (http2.frame(http2.HEADERS, http2.END_HEADERS, stream, block) +
                    http2.frame(http2.DATA, http2.END_STREAM, stream, body) +
                    http2.frame(http2.RST_STREAM, 0, stream, http2.CANCEL))
        with self.no_harm(envoy):
            resets = 0
            while resets < RESETS:
                with http2.Connection(envoy.grpc) as connection:
                    stream = 1
                    while stream < 2 * RESETS and connection.send(open_and_reset(stream)):
                        stream += 2
                    self.assertTrue(connection.ends())
                    resets += stream // 2
        self.assertGreater(envoy.counter("http.grpc.downstream_rq_too_many_premature_resets"), 0)
        # What reached the server: of each connection no more than fits its limit.
        self.assertLess(envoy.counter("cluster.skipstone.upstream_rq_total"),
                        200 * envoy.counter("http.grpc.downstream_cx_total"))

    def test_floods_of_other_frames_end_the_connection_or_do_nothing(self):
        block = http2.grpc_headers(PATH + "GenerateStream")

        def stream_and(kind, payload):
            """A whole request, and what makes the peer reset its stream."""
            return lambda stream: (
                http2.frame(http2.HEADERS, http2.END_HEADERS, stream, block) +
                http2.frame(http2.DATA, http2.END_STREAM, stream, http2.message(b"")) +
                http2.frame(kind, 0, stream, payload))
        floods = {
            "increments of 0": stream_and(http2.WINDOW_UPDATE, bytes(4)),
            "too large windows": stream_and(http2.WINDOW_UPDATE, b"\x7f\xff\xff\xff"),
            "data after the end": stream_and(http2.DATA, b"x"),
            "pings": lambda _: http2.frame(http2.PING, 0, 0, bytes(8)),
            "settings": lambda _: http2.frame(http2.SETTINGS, 0, 0),
            "empty data": lambda stream: (b"" if stream > 1 else http2.frame(
                http2.HEADERS, http2.END_HEADERS, 1, block)) + http2.frame(http2.DATA, 0, 1),
        }
        envoy = self.start()
        for name, of in floods.items():
            with self.subTest(name), self.no_harm(envoy), \
                    http2.Connection(envoy.grpc) as connection:
                stream = 1
                while stream < 40000 and connection.send(of(stream)):
                    stream += 2
                # Pings and settings are answered, as long as somebody takes the answers.
                if name not in ("pings", "settings"):
                    self.assertTrue(connection.ends())
        self.assertLess(envoy.resident_bytes(), envoy.memory_limit(SOURCE))

    def test_endless_headers_end_the_connection(self):
        block = http2.grpc_headers(PATH + "GetModel")
        endless = {
            "names": ([http2.header_block([(f"x{n}", "y" * 1000)]) for n in range(100)], 100),
            "one value": ([b"\x00\x01x\x7f\xff\xff\xff\x7f"] + [b"y" * 16000] * 99, 100),
            "empty frames": ([b""] * 100, 10000),
        }
        for name, (payloads, times) in endless.items():
            with self.subTest(name):
                envoy = self.start()
                frames = b"".join(http2.frame(http2.CONTINUATION, 0, 1, p) for p in payloads)
                with self.no_harm(envoy), http2.Connection(envoy.grpc) as connection:
                    connection.send(http2.frame(http2.HEADERS, 0, 1, block))
                    for _ in range(times):
                        if not connection.send(frames):
                            break
                    self.assertTrue(connection.ends(), name)
                self.assertEqual(envoy.counter("cluster.skipstone.upstream_rq_total"), 1)

    def test_too_many_and_too_long_headers_are_refused(self):
        envoy = self.start()
        plain = http2.grpc_headers(PATH + "GetModel")
        for name, more in (("many", [(f"x{n}", "y") for n in range(100)]),
                           ("long", [("x", "y" * 9000)])):
            with self.subTest(name), self.no_harm(envoy), \
                    http2.Connection(envoy.grpc) as connection:
                connection.send(http2.frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, 1,
                                            plain + http2.header_block(more)))
                kind, *_ = connection.answer_of(1) or (None,)
                self.assertIn(kind, (http2.RST_STREAM, http2.GOAWAY))
        self.assertEqual(envoy.counter("cluster.skipstone.upstream_rq_total"), 2)  # ours

    def test_a_compressed_message_never_reaches_the_server(self):
        envoy = self.start()
        channel = self.channel(envoy.grpc)
        self.assert_refused(
            grpc.StatusCode.UNIMPLEMENTED, "identity", lambda: channel.unary_unary(PATH + "Tokenize")(
                b"\n\x80\x08" + b"a" * 1024, compression=grpc.Compression.Gzip, timeout=30))
        bomb = http2.message(gzip.compress(bytes(568 << 20)), compressed=True)
        self.assertLess(len(bomb), 1 << 20)
        for encodings in (["gzip"], [], ["identity"], ["identity", "gzip"], ["gzip", "identity"],
                          ["identity,gzip"], ["GZIP"], ["deflate"]):
            with self.subTest(encodings), self.no_harm(envoy), \
                    http2.Connection(envoy.grpc) as connection:
                headers = http2.grpc_headers(PATH + "Tokenize",
                                             [("grpc-encoding", value) for value in encodings])
                connection.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, headers))
                connection.send_body(1, bomb)
                self.assertIsNotNone(connection.answer_of(1))

    def test_a_request_that_is_too_large_is_refused_for_good(self):
        envoy = self.start()
        channel = self.channel(envoy.grpc)
        call(channel)
        for size in ((8 << 20) + 1, 100 << 20):
            with self.subTest(size), self.no_harm(envoy):
                trailers = self.assert_refused(
                    grpc.StatusCode.RESOURCE_EXHAUSTED, "Too Large",
                    lambda: call(channel, PATH + "Tokenize", b"a" * size))
                self.assertEqual(trailers["grpc-retry-pushback-ms"], "-1")

    def test_headers_that_the_server_cannot_read_harm_their_sender_only(self):
        envoy = self.start()
        watch = self.channel(envoy.grpc).unary_stream("/grpc.health.v1.Health/Watch")(
            b"", timeout=60)
        self.assertEqual(next(watch), b"\x08\x01")
        for bad in (("x-bin", "!!!"), ("grpc-trace-bin", "a"), ("grpc-timeout", "soon"),
                    ("te", "x"), ("content-type", "text/plain"), ("grpc-encoding", "?"),
                    ("x", "\x7f"), ("x", "y" * 7000)):
            with self.subTest(bad[0]), self.no_harm(envoy), \
                    http2.Connection(envoy.grpc) as connection:
                connection.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 1,
                                            http2.grpc_headers(PATH + "GetModel", [bad])) +
                                http2.frame(http2.DATA, http2.END_STREAM, 1, http2.message(b"")))
                connection.answer_of(1)
            self.assertTrue(watch.is_active(), bad)
        watch.cancel()

    def test_clients_that_come_call_and_go_leave_no_connections_behind(self):
        envoy = self.start()
        whole = (http2.frame(http2.HEADERS, http2.END_HEADERS, 1,
                             http2.grpc_headers(PATH + "GetModel")) +
                 http2.frame(http2.DATA, http2.END_STREAM, 1, http2.message(b"")))
        with self.no_harm(envoy):
            for _ in range(500):
                with http2.Connection(envoy.grpc) as connection:
                    connection.send(whole)
                    self.assertEqual(connection.answer_of(1)[0], http2.HEADERS)
        self.wait_until("connections to the server end", lambda: envoy.counter(
            "cluster.skipstone.upstream_cx_active") == 0)

    def test_a_request_that_never_ends_is_ended(self):
        def soon(config):
            self.assertTrue(http_manager(config)["request_timeout"])
            http_manager(config)["request_timeout"] = "0.5s"
        envoy = self.start(soon)
        with self.no_harm(envoy), http2.Connection(envoy.grpc) as connection:
            connection.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 1,
                                        http2.grpc_headers(PATH + "Generate")) +
                            http2.frame(http2.DATA, 0, 1, b"\x00"))
            *_, headers = connection.answer_of(1)
            self.assertIn(GRPC_STATUS_4, headers)
        self.assertEqual(envoy.counter("cluster.skipstone.upstream_rq_total"), 1)  # ours

    def test_unfinished_requests_do_not_fill_the_memory(self):
        envoy = self.start()
        block = http2.grpc_headers(PATH + "Generate")
        with self.no_harm(envoy), contextlib.ExitStack() as open_connections:
            threads = []
            for _ in range(2):
                connection = open_connections.enter_context(http2.Connection(envoy.grpc))
                threads.append(threading.Thread(target=self.fill, args=(connection, block)))
                threads[-1].start()
            for thread in threads:
                thread.join()
            list(generate(self.channel(envoy.grpc)))  # beside them
        self.assertGreater(envoy.counter("envoy.overload_actions.reset_high_memory_stream.count"), 0)
        self.assertLess(envoy.resident_bytes(), envoy.memory_limit(SOURCE))

    @staticmethod
    def fill(connection, block):
        """80 bodies of 8 MiB whose ends never come."""
        for stream in range(1, 161, 2):
            connection.send(http2.frame(http2.HEADERS, http2.END_HEADERS, stream, block))
            connection.send_unfinished(stream, 8 << 20)

    def test_idle_connections_leave_room_for_others_and_for_probes(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = IDLE_CONNECTIONS + 200
        if hard < needed:
            self.skipTest(f"needs {needed} descriptors, may have {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        envoy = self.start()
        host, port = envoy.grpc.split(":")
        with self.no_harm(envoy), contextlib.ExitStack() as idle:
            for _ in range(IDLE_CONNECTIONS):
                idle.enter_context(socket.create_connection((host, int(port))))
            list(generate(self.channel(envoy.grpc)))

    def test_probes_and_figures_answer_when_the_edge_is_full(self):
        def small(config):
            (monitor,) = [m["typed_config"] for m in config["overload_manager"]["resource_monitors"]
                          if m["name"].endswith("global_downstream_max_connections")]
            self.assertGreater(monitor["max_active_downstream_connections"],
                               1.5 * IDLE_CONNECTIONS)
            monitor["max_active_downstream_connections"] = 20
        envoy = self.start(small)
        host, port = envoy.grpc.split(":")
        with contextlib.ExitStack() as idle:
            for _ in range(40):
                idle.enter_context(socket.create_connection((host, int(port))))
            self.wait_until("some are refused", lambda: envoy.counter(
                "listener.127.0.0.1_0.downstream_global_cx_overflow") > 0)
            channel = self.channel(envoy.status)
            self.assertEqual(call(channel, "/grpc.health.v1.Health/Check"), b"\x08\x01")
        list(generate(self.channel(envoy.grpc), wait_for_ready=True))


if __name__ == "__main__":
    unittest.main()
