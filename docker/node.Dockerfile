# The node. Build from the root of the sources: docker build -f docker/node.Dockerfile -t tombolo-node .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --release --package tombolo-node \
    && install -D target/release/node /out/tombolo

FROM debian:bookworm-slim
# nft holds the weak-host rule; ip and ping are for whoever looks inside.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends nftables iproute2 iputils-ping \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/tombolo /usr/local/bin/tombolo
RUN ln -s tombolo /usr/local/bin/node
# Root with CAP_NET_ADMIN and /dev/net/tun: it makes interfaces and routes.
VOLUME /var/lib/tombolo
EXPOSE 9790/udp
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["tombolo", "status"]
ENTRYPOINT ["tombolo"]
CMD ["up"]
