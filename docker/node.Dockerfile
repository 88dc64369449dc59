# The node. Build from the root of the sources: docker build -f docker/node.Dockerfile -t tombolo-node .
# Needs BuildKit (the default from Docker 23 on; DOCKER_BUILDKIT=1 before).

# Where the binary comes from: `compiled` makes it, `given` takes `tombolo` from the build context.
ARG BINARIES=compiled
# What it stands on: `debian`, or an image of yours with nft, iptables, ip and tini.
ARG BASE=debian

FROM rust:1.95-bookworm AS compiled
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --release --package tombolo-node \
    && install -D target/release/node /out/tombolo

FROM scratch AS given
COPY tombolo /out/tombolo

FROM debian:bookworm-slim AS debian
# nft and iptables let carried packets pass; ip and ping are for whoever looks inside; tini reaps and passes signals on.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends iproute2 iptables iputils-ping nftables tini \
    && rm -rf /var/lib/apt/lists/* \
    && ln -s tombolo /usr/local/bin/node

FROM ${BINARIES} AS binaries

FROM ${BASE}
COPY --from=binaries /out/tombolo /usr/local/bin/tombolo
COPY docker/entrypoint.sh /usr/local/bin/tombolo-entrypoint
# Root with CAP_NET_ADMIN and /dev/net/tun: it makes interfaces and routes.
VOLUME /var/lib/tombolo
EXPOSE 9790/udp 9790/tcp
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["tombolo", "status"]
ENTRYPOINT ["tini", "--", "tombolo-entrypoint"]
CMD ["up"]
