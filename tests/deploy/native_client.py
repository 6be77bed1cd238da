"""The native contract, spoken by grpcio with messages that protoc describes."""
import functools
import pathlib
import subprocess
import tempfile

import deploy_support as support

try:
    import grpc
    from google.protobuf import descriptor_pb2, message_factory
except ImportError:
    support.skip("no python3-grpcio; scripts/install_deps.sh test installs it")


def describe(protoc, folder, *files):
    """The descriptors of .proto files and of all that they import."""
    with tempfile.NamedTemporaryFile() as file:
        subprocess.run([protoc, f"--proto_path={folder}", "--include_imports",
                        f"--descriptor_set_out={file.name}", *files], check=True)
        return descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(file.name).read_bytes())


class NativeClient:
    """`with NativeClient(source, address) as client: client.Tokenize(text="...").ids`"""

    PACKAGE = "skipstone.v1"

    def __init__(self, source, address):
        self.address = address
        self.messages, self.methods = self._read(source)

    @classmethod
    @functools.cache
    def _read(cls, source):
        files = describe(support.need_tool("protoc"), source / "proto",
                         "skipstone/v1/inference.proto").file
        (service,) = [s for file in files if file.package == cls.PACKAGE for s in file.service]
        return message_factory.GetMessages(files), {m.name: m for m in service.method}

    def __enter__(self):
        self.channel = grpc.insecure_channel(self.address)
        return self

    def __exit__(self, *_):
        self.channel.close()

    def __getattr__(self, name):
        """A unary call; its arguments are the fields of the request."""
        if name not in self.methods:
            raise AttributeError(name)
        method = self.methods[name]
        request, response = (self.messages[kind.removeprefix(".")]
                             for kind in (method.input_type, method.output_type))
        call = self.channel.unary_unary(f"/{self.PACKAGE}.Inference/{name}",
                                        request.SerializeToString, response.FromString)
        return lambda **fields: call(request(**fields), timeout=60)

    def text(self, prompt, max_tokens, level=None):
        """What greedy decoding makes of a text or of messages."""
        said = {"text": prompt} if isinstance(prompt, str) else {"chat": {"messages": prompt}}
        answer = self.Generate(**said, sampling={"temperature": 0},
                               stopping={"max_tokens": max_tokens},
                               skip={"level": level} if level else None)
        return answer.outputs[0].delta.text
