# syntax=docker/dockerfile:1
# Skipstone with the CUDA 13 backend. From the repository's root:
#   docker build -f docker/cuda.Dockerfile -t skipstone:0.1.0-cuda .
#   docker run --rm --read-only --gpus all -v /srv/models:/models:ro -p 127.0.0.1:50051:50051 \
#     -p 127.0.0.1:9400:9400 skipstone:0.1.0-cuda --listen=0.0.0.0:50051 \
#     --model=/models/llama-2-7b-hf
# Other hosts reach it through a proxy such as deploy/kubernetes/base/envoy.yaml, not by -p 50051.
#
# Skipstone builds against Debian 12's gRPC, protobuf and abseil, and NVIDIA publishes no Debian
# image. The toolkit is one self-contained folder and runs with a glibc of 2.35 or newer (Debian 12
# has 2.36), so it is taken out of the Ubuntu 22.04 image. Without access to that image, unpack
# NVIDIA's runfile (--silent --toolkit --toolkitpath=DIR) and replace the stage by
# `--build-context cuda=DIR` and COPY --from=cuda / /usr/local/cuda/.
ARG CUDA_VERSION=13.0.1
ARG CUDA_FOLDER=cuda-13.0
FROM nvidia/cuda:${CUDA_VERSION}-devel-ubuntu22.04 AS cuda

FROM debian:bookworm AS build
ARG CUDA_FOLDER
RUN --mount=type=bind,source=scripts/install_deps.sh,target=/tmp/install_deps.sh \
    /tmp/install_deps.sh build && rm -rf /var/lib/apt/lists/*
COPY --from=cuda /usr/local/${CUDA_FOLDER}/ /usr/local/cuda/
ENV PATH=/usr/local/cuda/bin:${PATH}
WORKDIR /src
COPY CMakeLists.txt CMakePresets.json ./
COPY cmake/ cmake/
COPY proto/ proto/
COPY base/ base/
COPY engine/ engine/
COPY client/ client/
COPY server/ server/
COPY tools/bench/ tools/bench/
COPY tools/calibrate/ tools/calibrate/
RUN --mount=type=cache,target=/root/.cache/ccache \
    cmake --preset cuda -DSKIPSTONE_TESTS=OFF && \
    cmake --build --preset cuda --target skipstone-server skipstone skipstone-calibrate && \
    strip build/cuda/bin/skipstone-server build/cuda/bin/skipstone \
      build/cuda/bin/skipstone-calibrate
# The libraries that the server links or opens; the driver (libcuda) comes from the host.
RUN mkdir /runtime && cd /usr/local/cuda/lib64 && \
    cp -a libcudart.so.13* libcublasLt.so.13* /runtime/

FROM debian:bookworm-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="skipstone-cuda" \
      org.opencontainers.image.description="Llama 2 over gRPC with per-request sublayer skipping" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim"
RUN --mount=type=bind,source=scripts/install_deps.sh,target=/tmp/install_deps.sh \
    /tmp/install_deps.sh runtime && rm -rf /var/lib/apt/lists/*
COPY --from=build /runtime/ /usr/local/cuda/lib64/
RUN echo /usr/local/cuda/lib64 > /etc/ld.so.conf.d/cuda.conf && ldconfig
# Read by the NVIDIA container runtime.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY models/demo/ /models/demo/
COPY --from=build /src/build/cuda/bin/skipstone-server \
                  /src/build/cuda/bin/skipstone \
                  /src/build/cuda/bin/skipstone-calibrate \
                  /usr/local/bin/
# Any id will do, it needs no entry in /etc/passwd; a number lets Kubernetes verify runAsNonRoot.
USER 65532:65532
WORKDIR /
# gRPC and health; /metrics. Probes ask grpc.health.v1, so there is no HEALTHCHECK.
EXPOSE 50051 9400
# The server drains on SIGTERM; it is process 1 and has no children to reap.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/skipstone-server"]
# Loopback, the server's default, would be out of reach in a container.
CMD ["--model=/models/demo", "--listen=0.0.0.0:50051"]
