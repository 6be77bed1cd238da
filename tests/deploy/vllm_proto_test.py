#!/usr/bin/env python3
"""Our files of vLLM's and SMG's gRPC interface agree with those that SMG publishes.

Usage: vllm_proto_test.py SOURCE_DIR BUILD_FOLDER
"""
import pathlib
import re
import sys
import tempfile
import unittest

import deploy_support as support
from native_client import describe
from pinned_wheels import install, need_wheels

SOURCE = support.source_dir()
BUILD = sys.argv.pop(1)
PROTOC = support.need_tool("protoc")
PUBLISHED = need_wheels("smg_grpc_proto", BUILD)
OURS = ("vllm/engine.proto", "smg/common.proto")


def messages_of(messages, prefix):
    for message in messages:
        name = f"{prefix}.{message.name}"
        yield name, message
        yield from messages_of(message.nested_type, name)


def wire(message):
    """What a field is to others, by its number."""
    return {field.number: (
        field.name, field.Type.Name(field.type), field.Label.Name(field.label), field.type_name,
        field.proto3_optional,
        message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else None)
        for field in message.field}


class Interface:
    """Messages, enums and calls of some .proto files."""

    def __init__(self, folder, *files):
        self.messages, self.calls, self.enums = {}, {}, {}
        for file in describe(PROTOC, folder, *files).file:
            for name, message in messages_of(file.message_type, file.package):
                self.messages[name] = wire(message)
                self.enums.update((f"{name}.{e.name}", e) for e in message.enum_type)
            self.enums.update((f"{file.package}.{e.name}", e) for e in file.enum_type)
            for service in file.service:
                for call in service.method:
                    self.calls[f"/{file.package}.{service.name}/{call.name}"] = (
                        call.input_type, call.output_type, call.client_streaming,
                        call.server_streaming)

    def differences(self, other):
        """What is here and is not the same in `other`, which may have more."""
        for path, call in self.calls.items():
            if other.calls.get(path) != call:
                yield f"{path}: {call}, published {other.calls.get(path)}"
        for name, fields in self.messages.items():
            if name not in other.messages:
                yield f"{name}: not published"
                continue
            for number, field in fields.items():
                theirs = other.messages[name].get(number)
                if theirs != field:
                    yield f"{name} {number}: {field}, published {theirs}"


def published(folder):
    return Interface(pathlib.Path(folder) / "smg_grpc_proto/proto", "vllm_engine.proto",
                     "common.proto")


class VllmProtoTest(unittest.TestCase):
    def setUp(self):
        self.ours = Interface(SOURCE / "proto", *OURS)

    def test_all_of_ours_is_published_so(self):
        self.assertGreater(sum(map(len, self.ours.messages.values())), 80)
        self.assertIn("/vllm.grpc.engine.VllmEngine/Generate", self.ours.calls)
        self.assertEqual(self.ours.enums, {})  # which are not compared
        self.assertEqual(list(self.ours.differences(published(PUBLISHED))), [])

    def test_a_difference_is_found(self):
        text = (SOURCE / "proto" / OURS[0]).read_text()
        changes = {"string finish_reason = 2;": "string finish_reason = 13;",
                   "float top_p = 2;": "double top_p = 2;",
                   "bool ignore_eos = 14;": "repeated bool ignore_eos = 14;",
                   "optional int32 seed = 24;": "int32 seed = 24;",
                   "rpc Abort(AbortRequest)": "rpc Abort(stream AbortRequest)"}
        for line, changed in changes.items():
            with self.subTest(line), tempfile.TemporaryDirectory() as folder:
                self.assertEqual(text.count(line), 1)
                for file in OURS:
                    path = pathlib.Path(folder) / file
                    path.parent.mkdir()
                    path.write_text((SOURCE / "proto" / file).read_text().replace(line, changed))
                found = list(Interface(folder, *OURS).differences(published(PUBLISHED)))
                self.assertEqual(len(found), 1, found)

    def test_of_the_newest_only_a_note(self):
        with tempfile.TemporaryDirectory() as folder:
            failed = install(pathlib.Path(folder) / "newest", "smg-grpc-proto")
            if failed:
                self.skipTest(f"pip: {failed}")
            (info,) = (pathlib.Path(folder) / "newest").glob("smg_grpc_proto-*.dist-info")
            version = re.search(r"-([^-]+)\.dist-info", info.name)[1]
            for difference in self.ours.differences(published(pathlib.Path(folder) / "newest")):
                print(f"NOTE: smg-grpc-proto {version} is another: {difference}")


if __name__ == "__main__":
    unittest.main()
