# The controller. Build from the root of the sources: docker build -f docker/controller.Dockerfile -t tombolo-controller .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --release --package tombolo-controller \
    && install -D target/release/controller /out/tombolo-controller

FROM debian:bookworm-slim
RUN useradd --system --uid 9791 --home-dir /var/lib/tombolo/controller tombolo-controller \
    && install -d -o tombolo-controller -m 700 /var/lib/tombolo/controller
COPY --from=build /out/tombolo-controller /usr/local/bin/tombolo-controller
USER 9791
VOLUME /var/lib/tombolo/controller
# Control (QUIC), address discovery (STUN). The API stays on the container's loopback.
EXPOSE 9791/udp 9793/udp
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["tombolo-controller", "network", "ls"]
ENTRYPOINT ["tombolo-controller"]
CMD ["serve"]
