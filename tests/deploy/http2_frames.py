"""HTTP/2 by hand: what no well-behaved client sends. Headers are literals without Huffman coding."""
import collections
import select
import socket
import struct
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = \
    0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4
CANCEL = struct.pack(">I", 8)


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _string(text):
    data = text if isinstance(text, bytes) else text.encode()
    if len(data) < 127:
        return bytes([len(data)]) + data
    rest, out = len(data) - 127, bytearray([127])
    while rest >= 128:
        out.append(rest % 128 + 128)
        rest //= 128
    return bytes(out) + bytes([rest]) + data


def header_block(headers):
    return b"".join(b"\x00" + _string(name) + _string(value) for name, value in headers)


def grpc_headers(path, more=()):
    return header_block([(":method", "POST"), (":scheme", "http"), (":path", path),
                         (":authority", "localhost"), ("content-type", "application/grpc"),
                         ("te", "trailers"), *more])


def message(data, compressed=False):
    """A gRPC message with its prefix."""
    return struct.pack(">BI", compressed, len(data)) + data


class Connection:
    """A connection that has sent its preface. `send` says whether the peer still takes bytes."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received, self.rest, self.open = [], b"", True
        self.granted = collections.Counter()  # by WINDOW_UPDATE, per stream; 0 is the connection
        self.sent = 0
        self.send(PREFACE + frame(SETTINGS, 0, 0))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """Sends all, reading meanwhile, so that neither side waits for the other."""
        view = memoryview(data)
        deadline = time.monotonic() + 30
        while view and self.open and time.monotonic() < deadline:
            readable, writable, _ = select.select([self.socket], [self.socket], [], 1)
            if readable:
                self._read(0)
            if writable and self.open:
                try:
                    view = view[self.socket.send(view):]
                except (BrokenPipeError, ConnectionResetError):
                    self.open = False
        return self.open

    def send_body(self, stream, body, seconds=10, end=END_STREAM):
        """A request's body to its end as the peer's windows allow; whether the peer took all."""
        sent, deadline = 0, time.monotonic() + seconds
        while sent < len(body) and self.open and time.monotonic() < deadline:
            if self.answer_of(stream, 0):
                return False
            room = 65535 + min(self.granted[0] - self.sent, self.granted[stream] - sent)
            part = body[sent:sent + min(1 << 14, room)]
            if not part:
                self._read(1)
                continue
            sent += len(part)
            self.sent += len(part)
            self.send(frame(DATA, end if sent == len(body) else 0, stream, part))
        return sent == len(body)

    def send_unfinished(self, stream, size):
        """`size` bytes of a body whose end never comes, unless the peer ends it before."""
        return self.send_body(stream, bytes(size), end=0)

    def answer_of(self, stream, seconds=10):
        """The first frame that ends a stream or the connection."""
        return self.wait_for(lambda kind, flags, of, _: kind == GOAWAY or of == stream and (
            kind == RST_STREAM or kind in (HEADERS, DATA) and flags & END_STREAM), seconds)

    def wait_for(self, found, seconds=10):
        """Reads until `found(kind, flags, stream, payload)` of a frame; None if none comes."""
        deadline = time.monotonic() + seconds
        while True:
            for one in self.received:
                if found(*one):
                    return one
            left = deadline - time.monotonic()
            if not self.open or left < 0:
                return None
            self._read(left)

    def ends(self, seconds=10):
        """Whether the peer closes the connection."""
        self.wait_for(lambda *_: False, seconds)
        return not self.open

    def _read(self, seconds):
        if not select.select([self.socket], [], [], seconds)[0]:
            return
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        self.open = bool(data)
        self.rest += data
        while len(self.rest) >= 9:
            length = int.from_bytes(self.rest[:3], "big")
            if len(self.rest) < 9 + length:
                break
            kind, flags, stream = struct.unpack(">BBI", self.rest[3:9])
            payload, self.rest = self.rest[9:9 + length], self.rest[9 + length:]
            if kind == WINDOW_UPDATE:
                self.granted[stream] += int.from_bytes(payload, "big")
            else:
                self.received.append((kind, flags, stream, payload))
