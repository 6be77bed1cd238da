"""Streams text from a Skipstone server. Debian 12, in the root of the checkout:

  apt-get install protobuf-compiler protobuf-compiler-grpc python3-grpcio python3-protobuf
  mkdir -p build/python
  protoc --proto_path=proto --python_out=build/python --grpc_out=build/python \
      --plugin=protoc-gen-grpc=$(command -v grpc_python_plugin) proto/skipstone/v1/inference.proto
  PYTHONPATH=build/python /usr/bin/python3 client/examples/python/generate.py \
      --server localhost:50051 --skip 'attn:last=33%' 'In the beginning'
"""
import argparse
import json
import sys

import grpc

from skipstone.v1 import inference_pb2, inference_pb2_grpc


# Before the first event only. The server names the time of a refusal itself; gRPC obeys it.
RETRY = {
    "methodConfig": [{
        "name": [{"service": "skipstone.v1.Inference"}],
        "retryPolicy": {
            "maxAttempts": 5,  # gRPC's limit; with these waits a server may be away for 3 s
            "initialBackoff": "0.2s",
            "maxBackoff": "2s",
            "backoffMultiplier": 3,
            "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
        },
    }],
    "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
}
CHANNEL_OPTIONS = [
    ("grpc.service_config", json.dumps(RETRY)),
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.max_receive_message_length", 80 << 20),  # Score answers have up to 64 MiB
]


def parse_arguments():
    parser = argparse.ArgumentParser(description="Streams text from a Skipstone server.")
    parser.add_argument("prompt")
    parser.add_argument("--server", default="localhost:50051")
    parser.add_argument("--skip", default="none", 
                        help="skip spec, such as attn:last=33%% or win:last=50%%/64")
    parser.add_argument("--max_tokens", type=int, default=32)
    parser.add_argument("--timeout", type=float, default=30, help="seconds")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    request = inference_pb2.GenerateRequest(
        text=arguments.prompt,
        skip=inference_pb2.Skip(spec=arguments.skip),
        sampling=inference_pb2.Sampling(temperature=0),
        stopping=inference_pb2.Stopping(max_tokens=arguments.max_tokens))
    with grpc.insecure_channel(arguments.server, options=CHANNEL_OPTIONS) as channel:
        stub = inference_pb2_grpc.InferenceStub(channel)
        try:
            for event in stub.GenerateStream(request, timeout=arguments.timeout,
                                             metadata=[("x-user-id", "42")]):
                kind = event.WhichOneof("event")
                if kind == "delta":
                    print(event.delta.text, end="", flush=True)
                elif kind == "finished":
                    finished = event.finished
                    print(f"\n{finished.usage.completion_tokens} tokens, KV pages "
                          f"{finished.kv_pages_used} used + {finished.kv_pages_windowed} windowed"
                          f" + {finished.kv_pages_omitted} omitted",
                          file=sys.stderr)
        except grpc.RpcError as error:
            print(f"{error.code().name}: {error.details()}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
