# syntax=docker/dockerfile:1
# Skipstone with the CPU engine and the demo model. From the repository's root:
#   docker build -f docker/cpu.Dockerfile -t skipstone:0.1.0 .
#   docker run --rm --read-only -p 127.0.0.1:50051:50051 -p 127.0.0.1:9400:9400 skipstone:0.1.0
# Other hosts reach it through a proxy such as deploy/kubernetes/base/envoy.yaml, not by -p 50051.
FROM debian:bookworm AS build
RUN --mount=type=bind,source=scripts/install_deps.sh,target=/tmp/install_deps.sh \
    /tmp/install_deps.sh build && rm -rf /var/lib/apt/lists/*
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
    cmake --preset release && \
    cmake --build --preset release --target skipstone-server skipstone skipstone-calibrate && \
    strip build/release/bin/skipstone-server build/release/bin/skipstone \
      build/release/bin/skipstone-calibrate

FROM debian:bookworm-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="skipstone" \
      org.opencontainers.image.description="Llama 2 over gRPC with per-request sublayer skipping" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim"
RUN --mount=type=bind,source=scripts/install_deps.sh,target=/tmp/install_deps.sh \
    /tmp/install_deps.sh runtime && rm -rf /var/lib/apt/lists/*
COPY models/demo/ /models/demo/
COPY --from=build /src/build/release/bin/skipstone-server \
                  /src/build/release/bin/skipstone \
                  /src/build/release/bin/skipstone-calibrate \
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
