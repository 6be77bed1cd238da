"""Messages of the contract by hand: an attacker needs no stubs."""
SERVICE = "/skipstone.v1.Inference/"


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


def generate(text="In the beginning", max_tokens=4, truncate=None, skip_spec=None):
    """A GenerateRequest."""
    message = field(2, text) + field(8, field(1, max_tokens))
    if truncate is not None:
        message += field(5, truncate)
    if skip_spec is not None:
        message += field(6, field(2, skip_spec))
    return message


def chat(messages):
    turns = b"".join(field(1, field(1, role) + field(2, content)) for role, content in messages)
    return field(4, turns) + field(8, field(1, 1))
