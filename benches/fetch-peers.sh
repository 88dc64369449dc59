#!/usr/bin/env bash
# Fetches the overlays that Tombolo is compared with. Nothing is installed into the system: each one goes into a folder
# of its own, which holds
#
#   bin/…      its commands            VERSION    what it is
#   MISSING    or why it is not there, in one line; the suite shows that line in place of figures
#
#   fetch-peers.sh DIRECTORY [PEER]…
#
# Packages come from Debian's unstable suite, because releases carry programs that are years old; where it cannot be
# reached or its programs do not run, from the machine's own distribution, and VERSION says so. What is there already
# is kept; remove the folder of a peer to fetch it again.
set -euo pipefail

main() {
    ROOT=$(mkdir -p "$1" && realpath "$1")
    shift
    local all=(wireguard-tools wireguard-go boringtun gotatun nebula tinc vpncloud n2n openvpn) peer
    for peer in "${@:-${all[@]}}"; do
        if [ -s "$ROOT/$peer/VERSION" ]; then continue; fi
        rm -rf "${ROOT:?}/$peer"
        mkdir -p "$ROOT/$peer/bin"
        if ! "fetch_$peer" >"$ROOT/$peer.log" 2>&1; then
            reason "$ROOT/$peer.log" >"$ROOT/$peer/MISSING"
        fi
        printf '  %-16s %s\n' "$peer" "$(cat "$ROOT/$peer/VERSION" 2>/dev/null || sed 's/^/MISSING: /' "$ROOT/$peer/MISSING")"
    done
}

fetch_wireguard-tools() { debian wireguard-tools "wg" sid own; }
fetch_wireguard-go() { debian wireguard-go "wireguard-go" sid own; }
fetch_nebula() { debian nebula "nebula nebula-cert" sid own; }
fetch_tinc() { debian tinc "tincd" sid own; }
fetch_n2n() { debian n2n "supernode edge" sid own; }
fetch_openvpn() { debian openvpn "openvpn" sid own; }
fetch_boringtun() { crate boringtun-cli; }
fetch_gotatun() { crate gotatun-cli; }
fetch_vpncloud() { crate vpncloud; }

# crate NAME: builds a program of the Rust registry, its newest release.
crate() {
    local peer=${FUNCNAME[1]#fetch_} version
    CARGO_TARGET_DIR=$ROOT/build nice cargo install --quiet --locked --root "$ROOT/$peer" "$1" ||
        CARGO_TARGET_DIR=$ROOT/build nice cargo install --quiet --root "$ROOT/$peer" "$1" || return
    version=$(cargo install --root "$ROOT/$peer" --list | sed -nE 's/^\S+ v([^ :]+).*/\1/p')
    echo "$1 $version, built from its crate" >"$ROOT/$peer/VERSION"
}

# debian PACKAGE "COMMAND…" SUITE…: takes the package from the first suite whose commands run here.
debian() {
    local peer=${FUNCNAME[1]#fetch_} package=$1 commands=$2 suite
    shift 2
    own_lists
    for suite in "$@"; do
        echo "== $package from $suite"
        rm -rf "${ROOT:?}/$peer"
        mkdir -p "$ROOT/$peer/bin" "$ROOT/$peer/archives/partial"
        if from_suite "$peer" "$package" "$suite" && all_run "$peer" "$commands"; then
            rm -rf "$ROOT/$peer/archives"
            return
        fi
    done
    echo "$package is neither in Debian's unstable suite nor in this distribution, or does not run here"
    return 1
}

# Downloads the package with everything it needs, the C library included, and unpacks it: `own_libraries` makes the
# programs use what came with them.
from_suite() {
    local peer=$1 package=$2 suite=$3 options archive version where
    options=(-o "Dir::Cache::Archives=$ROOT/$peer/archives" -o APT::Install-Recommends=false
        -o "Dir::State::status=$ROOT/nothing-installed" -o Debug::NoLocking=true)
    : >"$ROOT/nothing-installed"
    where="the distribution's own"
    if [ "$suite" != own ]; then
        unstable_lists || return
        options+=("${UNSTABLE[@]}")
        where="Debian $suite"
        package=$package/$suite
    fi
    apt-get "${options[@]}" install --yes --quiet --download-only "$package" || return
    for archive in "$ROOT/$peer"/archives/*.deb; do dpkg-deb -x "$archive" "$ROOT/$peer" || return; done
    version=$(dpkg-deb -f "$ROOT/$peer/archives/${package%/*}"_*.deb Version) || return
    echo "${package%/*} $version, $where" >"$ROOT/$peer/VERSION.new"
}

# A machine that never fetched its lists of packages knows of no suite at all.
own_lists() {
    [ -z "$(apt-get indextargets 'Created-By: Packages' --format '$(REPO_URI)')" ] || return 0
    if [ "$(id -u)" = 0 ]; then apt-get --quiet update; else sudo apt-get --quiet update; fi
}

# Lists of the unstable suite, beside the machine's own: its source line with the suite replaced.
unstable_lists() {
    local lists=$ROOT/unstable uri codename
    UNSTABLE=(-o "Dir::Etc::SourceList=$lists/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$lists/lists" -o "Dir::Cache=$lists" -o APT::Default-Release=sid)
    if [ -e "$lists/updated" ]; then return; fi
    codename=$(. /etc/os-release && [ "$ID" = debian ] && echo "$VERSION_CODENAME") || {
        echo "not Debian: no unstable suite to take from"
        return 1
    }
    uri=$(apt-get indextargets 'Created-By: Packages' --format '$(CODENAME) $(REPO_URI)' |
        awk -v codename="$codename" '$1 == codename {print $2; exit}')
    [ -n "$uri" ] || return
    mkdir -p "$lists/lists/partial" "$lists/archives/partial"
    echo "deb $uri sid main" >"$lists/sources.list"
    apt-get "${UNSTABLE[@]}" --quiet update && touch "$lists/updated"
}

# Puts every command into bin/ and tries it. Programs run as they are where that works, otherwise with the libraries
# that were unpacked beside them.
all_run() {
    local peer=$1 command program
    for command in $2; do
        program=$(find "$ROOT/$peer"/usr/{bin,sbin} "$ROOT/$peer"/{bin,sbin} -name "$command" -type f 2>/dev/null | head -n 1)
        [ -n "$program" ] || return
        ln -sfn "$program" "$ROOT/$peer/bin/$command"
        starts "$ROOT/$peer/bin/$command" && continue
        own_libraries "$peer" "$program" >"$ROOT/$peer/script"
        rm "$ROOT/$peer/bin/$command"
        install "$ROOT/$peer/script" "$ROOT/$peer/bin/$command"
        starts "$ROOT/$peer/bin/$command" || return
    done
    mv "$ROOT/$peer/VERSION.new" "$ROOT/$peer/VERSION"
}

own_libraries() {
    local loader libraries
    loader=$(find "$ROOT/$1" -name 'ld-linux*' | head -n 1)
    libraries=$(find "$ROOT/$1" -name '*.so.*' -printf '%h\n' | sort -u | paste -sd:)
    printf '#!/bin/sh\nexec %q --library-path %q %q "$@"\n' "$loader" "$libraries" "$2"
}

# A program that starts says something about itself; one that lacks libraries ends with 127 or a loader's complaint.
starts() {
    local said question=--version code=0
    # n2n's supernode becomes a daemon on any option but this one.
    [ "${1##*/}" = supernode ] && question=--help
    said=$(timeout 5 "$1" "$question" 2>&1 </dev/null) || code=$?
    echo "$1 $question: $code: $said"
    [ "$code" -lt 126 ] && ! grep -qE 'error while loading|GLIBC_|not found' <<<"$said"
}

# The last complaint in a log, as one line.
reason() { grep -iE 'error|fail|cannot|no such|neither|not ' "$1" | tail -n 1 | cut -c1-200 | grep . || echo "see $1"; }

main "$@"
