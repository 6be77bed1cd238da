"""What a hostile or careless client does to the edge of a server: one function a fault.

Each takes the running server and the seconds that it may last, works from processes of its own
where that costs, and returns when it is over. Loopback only.
"""
import gzip
import multiprocessing
import socket
import time
import urllib.request

import grpc

import wire


def call(address, method, request, timeout=60):
    """The status of one unary call with these bytes."""
    with grpc.insecure_channel(address) as channel:
        stub = channel.unary_unary(wire.SERVICE + method)
        try:
            stub(request, timeout=timeout)
            return grpc.StatusCode.OK
        except grpc.RpcError as error:
            return error.code()


def _repeat(address, method, request, end):
    with grpc.insecure_channel(address) as channel:
        stub = channel.unary_unary(wire.SERVICE + method)
        while time.monotonic() < end:
            try:
                stub(request, timeout=60)
            except grpc.RpcError:
                pass


def flood(method, request, clients):
    """`clients` processes that send the same request as fast as it is answered."""
    def run(server, seconds):
        end = time.monotonic() + seconds
        workers = [multiprocessing.Process(target=_repeat,
                                           args=(server.grpc, method, request, end))
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
                held.append(wire.connect(server.grpc))
            except OSError:
                break
        time.sleep(seconds / 4)
        for connection in held:
            connection.close()


def gzip_bombs(server, seconds):
    """Messages of half a megabyte that inflate to half a gigabyte."""
    bomb = gzip.compress(b"\0" * (568 << 20), 9)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with wire.open_session(server.grpc) as session:
                session.sendall(wire.frame(wire.HEADERS, wire.END_HEADERS, 1, wire.call_headers(
                    "Generate", ("grpc-encoding", "gzip"))))
                message = wire.grpc_message(bomb, compressed=True)
                for at in range(0, len(message), 16384):
                    session.sendall(wire.frame(wire.DATA, 0, 1, message[at:at + 16384]))
                session.settimeout(1)
                while session.recv(65536):
                    pass
        except OSError:
            pass


def silent_and_many_scrapers(server, seconds):
    """16 connections to /metrics that say nothing, and 500 scrapes at once beside them."""
    silent = [wire.connect(server.metrics) for _ in range(16)]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        scrapers = []
        for _ in range(500):
            try:
                scraper = wire.connect(server.metrics)
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
    stream = 1
    headers = wire.call_headers("GenerateStream")
    reset = (8).to_bytes(4, "big")
    try:
        with wire.open_session(server.grpc) as session:
            session.settimeout(1)
            while count > 0 and time.monotonic() < end:
                batch = b""
                for _ in range(100):
                    batch += wire.frame(wire.HEADERS, wire.END_HEADERS, stream, headers)
                    batch += wire.frame(wire.RST_STREAM, 0, stream, reset)
                    stream += 2
                session.sendall(batch)
                count -= 100
    except OSError:
        pass  # it hung up on us, as it should


def endless_headers(server, seconds, limit=100 << 20):
    """A header block that never ends (CVE-2024-27316 and its kin): one value of 100 MB."""
    end = time.monotonic() + seconds
    part = wire.frame(wire.CONTINUATION, 0, 1, b"y" * 16384)
    try:
        with wire.open_session(server.grpc) as session:
            session.settimeout(1)
            value = b"\0\1x\x7f" + wire.varint(limit - 127)
            session.sendall(wire.frame(wire.HEADERS, 0, 1,
                                       wire.call_headers("Generate") + value))
            sent = 0
            while sent < limit and time.monotonic() < end:
                session.sendall(part)
                sent += len(part)
    except OSError:
        pass


def stalled_streams(server, seconds):
    """Streams whose reader takes nothing."""
    sessions = []
    request = wire.grpc_message(wire.generate(max_tokens=400))
    for _ in range(8):
        session = wire.open_session(server.grpc)
        for stream in range(1, 17, 2):
            session.sendall(
                wire.frame(wire.HEADERS, wire.END_HEADERS, stream,
                           wire.call_headers("GenerateStream")) +
                wire.frame(wire.DATA, wire.END_STREAM, stream, request))
        sessions.append(session)
    time.sleep(seconds)
    for session in sessions:
        session.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        session.close()


LARGE_TEXT = wire.generate("ab " * 1_300_000)
FAULTS = {
    "8 clients: text of 3.9 MB": flood("Generate", LARGE_TEXT, 8),
    "4 clients: text of 3.9 MB, truncated": flood(
        "Generate", wire.generate("ab " * 1_300_000, truncate=8), 4),
    "4 clients: Score of 3.9 MB": flood(
        "Score", wire.field(2, wire.field(1, wire.field(1, "ab " * 1_300_000))), 4),
    "4 clients: Tokenize 3.9 MB": flood("Tokenize", wire.field(1, "ab " * 1_300_000), 4),
    "4 clients: Detokenize 2,000,000 ids": flood(
        "Detokenize", wire.field(1, b"\x05" * 2_000_000), 4),
    "4 clients: chat of 200,000 messages": flood(
        "Generate", wire.chat([("user", "a"), ("assistant", "b")] * 100_000), 4),
    "4 clients: skip.spec of 2 MB": flood(
        "Generate", wire.generate(skip_spec="attn:" + "1," * 1_000_000 + "1"), 4),
    "4 clients: Abort of 1,024 ids": flood(
        "Abort", b"".join(wire.field(1, f"request-{i}") for i in range(1024)), 4),
    "1,100 idle connections, twice, ulimit -n 1024": idle_connections,
    "gzip bombs": gzip_bombs,
    "16 silent and 500 concurrent scrapers": silent_and_many_scrapers,
    "100,000 stream resets": stream_resets,
    "header block of 100 MB": endless_headers,
    "64 streams that nobody reads": stalled_streams,
}
