"""What a hostile or careless client does to the edge of a server: one function a fault.

Each takes the running server and the seconds that it may last, works from processes of its own
where that costs, and returns when it is over. Loopback only.
"""
import gzip
import multiprocessing
import socket
import time
import typing
import urllib.request

import grpc

import http2_frames as http2
import messages

# Not forked: gRPC's threads do not survive that.
SPAWN = multiprocessing.get_context("spawn")


def connect(address):
    """A TCP connection of our own to HOST:PORT."""
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=10)


def call(address, method, request, timeout=60):
    """The status of one unary call with these bytes."""
    with grpc.insecure_channel(address) as channel:
        stub = channel.unary_unary(messages.SERVICE + method)
        try:
            stub(request, timeout=timeout)
            return grpc.StatusCode.OK
        except grpc.RpcError as error:
            return error.code()


def _repeat(address, method, request, end):
    with grpc.insecure_channel(address) as channel:
        stub = channel.unary_unary(messages.SERVICE + method)
        while time.monotonic() < end:
            try:
                stub(request, timeout=60)
            except grpc.RpcError:
                pass


def flood(method, request, clients):
    """`clients` processes that send the same request as fast as it is answered."""
    def run(server, seconds):
        end = time.monotonic() + seconds
        workers = [SPAWN.Process(target=_repeat, args=(server.grpc, method, request, end))
                   for _ in range(clients)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    return run


def idle_connections(server, seconds):
    """More connections than the server may have descriptors (ulimit -n 1024), opened and closed."""
    for _ in range(2):
        held = []
        for _ in range(1100):
            try:
                held.append(connect(server.grpc))
            except OSError:
                break
        time.sleep(seconds / 4)
        for connection in held:
            connection.close()


def gzip_bombs(server, seconds):
    """Messages of half a megabyte that inflate to half a gigabyte."""
    bomb = http2.message(gzip.compress(b"\0" * (568 << 20), 9), compressed=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with http2.Connection(server.grpc) as connection:
            connection.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, http2.grpc_headers(
                messages.SERVICE + "Generate", [("grpc-encoding", "gzip")])))
            connection.send_body(1, bomb)
            connection.answer_of(1, 1)


def silent_and_many_scrapers(server, seconds):
    """16 connections to /metrics that say nothing, and 500 scrapes at once beside them."""
    silent = [connect(server.metrics) for _ in range(16)]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        scrapers = []
        for _ in range(500):
            try:
                scraper = connect(server.metrics)
                scraper.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
                scrapers.append(scraper)
            except OSError:
                break
        for scraper in scrapers:
            try:
                scraper.settimeout(max(0.01, end - time.monotonic()))
                while scraper.recv(65536):
                    pass
            except OSError:
                pass
            scraper.close()
    for connection in silent:
        connection.close()


def scrape_seconds(server):
    """How long one scrape takes; infinity if it fails."""
    start = time.monotonic()
    try:
        with urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=10) as answer:
            answer.read()
    except OSError:
        return float("inf")
    return time.monotonic() - start


def stream_resets(server, seconds, count=100_000):
    """Calls that are reset as soon as they are made, on one connection (CVE-2023-44487)."""
    end = time.monotonic() + seconds
    headers = http2.grpc_headers(messages.SERVICE + "GenerateStream")
    with http2.Connection(server.grpc) as connection:
        for first in range(1, 2 * count, 200):
            batch = b"".join(
                http2.frame(http2.HEADERS, http2.END_HEADERS, stream, headers) +
                http2.frame(http2.RST_STREAM, 0, stream, http2.CANCEL)
                for stream in range(first, first + 200, 2))
            if not connection.send(batch) or time.monotonic() > end:
                break


def endless_headers(server, seconds, limit=100 << 20):
    """A header block that never ends (CVE-2024-27316 and its kin): one value of 100 MB."""
    end = time.monotonic() + seconds
    part = http2.frame(http2.CONTINUATION, 0, 1, b"y" * 16384)
    value = b"\0\1x\x7f" + messages.varint(limit - 127)
    with http2.Connection(server.grpc) as connection:
        connection.send(http2.frame(
            http2.HEADERS, 0, 1, http2.grpc_headers(messages.SERVICE + "Generate") + value))
        for _ in range(0, limit, 16384):
            if not connection.send(part) or time.monotonic() > end:
                break


def stalled_streams(server, seconds):
    """Streams whose reader takes nothing."""
    connections = []
    request = http2.message(messages.generate(max_tokens=400))
    for _ in range(8):
        connection = http2.Connection(server.grpc)
        for stream in range(1, 17, 2):
            connection.socket.sendall(
                http2.frame(http2.HEADERS, http2.END_HEADERS, stream,
                            http2.grpc_headers(messages.SERVICE + "GenerateStream")) +
                http2.frame(http2.DATA, http2.END_STREAM, stream, request))
        connections.append(connection)
    time.sleep(seconds)
    for connection in connections:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.socket.close()


class Fault(typing.NamedTuple):
    run: typing.Callable  # (server, seconds)
    flags: tuple = ()     # of the server
    wrapper: tuple = ()   # a command that runs it
    # Debian's gRPC holds what it sends before anything of ours sees it: what stands in front of the
    # server bounds its memory (deploy/README.md).
    left_to_the_proxy: bool = False


LARGE_TEXT = "ab " * 1_300_000
FAULTS = {
    "none": Fault(lambda server, seconds: time.sleep(seconds)),
    "8 clients: text of 3.9 MB": Fault(flood("Generate", messages.generate(LARGE_TEXT), 8)),
    "4 clients: text of 3.9 MB, truncated": Fault(
        flood("Generate", messages.generate(LARGE_TEXT, truncate=8), 4)),
    "4 clients: Score of 3.9 MB": Fault(
        flood("Score", messages.field(2, messages.field(1, messages.field(1, LARGE_TEXT))), 4)),
    "4 clients: Tokenize 3.9 MB": Fault(flood("Tokenize", messages.field(1, LARGE_TEXT), 4)),
    "4 clients: Detokenize 2,000,000 ids": Fault(
        flood("Detokenize", messages.field(1, b"\x05" * 2_000_000), 4)),
    "4 clients: chat of 200,000 messages": Fault(
        flood("Generate", messages.chat([("user", "a"), ("assistant", "b")] * 100_000), 4)),
    "4 clients: skip.spec of 2 MB": Fault(
        flood("Generate", messages.generate(skip_spec="attn:" + "1," * 1_000_000 + "1"), 4)),
    "4 clients: Abort of 1,024 ids": Fault(
        flood("Abort", b"".join(messages.field(1, f"request-{i}") for i in range(1024)), 4)),
    "1,100 idle connections, twice, ulimit -n 1024": Fault(
        idle_connections, wrapper=("prlimit", "--nofile=1024")),
    "gzip bombs": Fault(gzip_bombs),
    "a log that nobody reads": Fault(flood("Generate", messages.generate(max_tokens=1), 4),
                                     flags=("--log_level=debug",)),
    "16 silent and 500 concurrent scrapers": Fault(silent_and_many_scrapers),
    "64 streams that nobody reads": Fault(stalled_streams),
    "100,000 stream resets": Fault(stream_resets, left_to_the_proxy=True),
    "header block of 100 MB": Fault(endless_headers, left_to_the_proxy=True),
}
