# The controller. Build from the root of the sources: docker build -f docker/controller.Dockerfile -t tombolo-controller .
# Needs BuildKit (the default from Docker 23 on; DOCKER_BUILDKIT=1 before).

# Where the binary comes from: `compiled` makes it, `given` takes `tombolo-controller` from the build context.
ARG BINARIES=compiled
# What it stands on: `debian`, or an image of yours where user 9791 owns /var/lib/tombolo/controller.
ARG BASE=debian

FROM rust:1.95-bookworm AS compiled
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --release --package tombolo-controller \
    && install -D target/release/controller /out/tombolo-controller

FROM scratch AS given
COPY tombolo-controller /out/tombolo-controller

FROM debian:bookworm-slim AS debian
RUN useradd --system --uid 9791 --home-dir /var/lib/tombolo/controller tombolo-controller \
    && install -d -o tombolo-controller -m 700 /var/lib/tombolo/controller

FROM ${BINARIES} AS binaries

FROM ${BASE}
COPY --from=binaries /out/tombolo-controller /usr/local/bin/tombolo-controller
USER 9791
VOLUME /var/lib/tombolo/controller
# Control (QUIC), address discovery (STUN). The API stays on the container's loopback.
EXPOSE 9791/udp 9791/tcp 9793/udp
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["tombolo-controller", "network", "ls"]
ENTRYPOINT ["tombolo-controller"]
CMD ["serve"]
