# The benchmark suite; see benches/README.md. Included by the Makefile in the root, whose variables it uses.

.PHONY: bench bench-quick bench-load bench-micro bench-profile bench-peers bench-suite bench-tools

BENCH_PEERS := $(CARGO_TARGET_DIR)/bench-peers
# More options of the suite, as in: make bench BENCH_ARGS="--rounds 3 --peers raw,tombolo,nebula"
BENCH_ARGS ?=
BENCH = $(SUDO) $(CARGO_TARGET_DIR)/release/bench --peers-dir $(BENCH_PEERS) --binaries $(CARGO_TARGET_DIR)/release --results benches/results

bench: bench-suite bench-peers ## Tombolo beside eight other overlays on this machine, under an hour
	$(BENCH) $(BENCH_ARGS)

bench-quick: bench-suite ## the same with the fastest others and fewer figures, under 3 minutes
	benches/fetch-peers.sh $(BENCH_PEERS) wireguard-tools wireguard-go boringtun
	$(BENCH) --quick $(BENCH_ARGS)

bench-load: store-tools bench-suite ## controllers with up to 10,000 members; BENCH_ARGS=--quick for 300, under 2 minutes
	$(CARGO_TARGET_DIR)/release/bench load --binaries $(CARGO_TARGET_DIR)/release --results benches/results $(BENCH_ARGS)

bench-micro: ## every stage of a packet's way alone: benches/results/micro.md, also into benches/PROFILE.md
	$(call need,cargo:cargo cc:gcc)
	$(CARGO) bench --locked --workspace --bench micro -- --quiet $(BENCH_ARGS)
	@sed -i -e '/<!-- micro -->/,/<!-- end of micro -->/{//!d}' -e '/<!-- micro -->/r benches/results/micro.md' benches/PROFILE.md
	@cat benches/results/micro.md

bench-profile: bench-suite ## one TCP flow between two nodes under perf: benches/results/profile.md
	$(call need,perf:linux-perf)
	$(BENCH) --profile --tcp-seconds 5 $(BENCH_ARGS)
	@sed -i -e '/<!-- profile -->/,/<!-- end of profile -->/{//!d}' -e '/<!-- profile -->/r benches/results/profile.md' benches/PROFILE.md

bench-peers: bench-tools
	benches/fetch-peers.sh $(BENCH_PEERS)

# Together with what it measures: built apart, the two would want the same dependencies with different features. With
# optimisation because the reference without encryption is part of the suite.
bench-suite: bench-tools
	$(CARGO) build --locked --release --package tombolo-node --package tombolo-controller --package tombolo-benches

bench-tools:
	$(call need,cargo:cargo cc:gcc ip:iproute2 ping:iputils-ping iperf3:iperf3 ethtool:ethtool setpriv:util-linux openssl:openssl sysctl:procps)
