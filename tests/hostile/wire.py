"""Messages of the contract and frames of HTTP/2 by hand: an attacker needs no stubs."""
import socket
import struct

SERVICE = "/skipstone.v1.Inference/"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def field(number, value):
    """A field of a protobuf message: bytes and text length-delimited, integers as varints."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def generate(text="In the beginning", max_tokens=4, **more):
    """A GenerateRequest; `more`: skip_spec, truncate, priority."""
    message = field(2, text) + field(8, field(1, max_tokens))
    if "truncate" in more:
        message += field(5, more["truncate"])
    if "skip_spec" in more:
        message += field(6, field(2, more["skip_spec"]))
    return message


def chat(messages):
    turns = b"".join(field(1, field(1, role) + field(2, content)) for role, content in messages)
    return field(4, turns) + field(8, field(1, 1))


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(
        ">I", stream) + payload


def header(name, value):
    """A literal header field without indexing and without Huffman coding (RFC 7541, 6.2.2)."""
    def text(s):
        s = s.encode()
        if len(s) < 127:
            return bytes([len(s)]) + s
        return b"\x7f" + varint(len(s) - 127) + s
    return b"\0" + text(name) + text(value)


def call_headers(method, *more):
    return b"".join(header(*pair) for pair in (
        (":method", "POST"), (":scheme", "http"), (":path", SERVICE + method),
        (":authority", "localhost"), ("content-type", "application/grpc"), ("te", "trailers"),
        *more))


def grpc_message(message, compressed=False):
    return struct.pack(">BI", compressed, len(message)) + message


def connect(address):
    """A TCP connection of our own to HOST:PORT."""
    host, port = address.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def open_session(address):
    connection = connect(address)
    connection.sendall(PREFACE + frame(SETTINGS, 0, 0) + frame(SETTINGS, ACK, 0))
    return connection
