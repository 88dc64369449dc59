#!/usr/bin/env bash
# A controller and three servers on this machine, each in a network namespace of its own, sharing nothing but an IP
# underlay; behind each server a bridge with one container. What is done here is what a user does on real servers.
#
#   demo.sh up DIRECTORY-OF-BINARIES      demo.sh down
set -euo pipefail

PREFIX=tombolo-demo
# The controller's address for a browser on this machine.
PANEL=192.0.2.2
STATE=/run/tombolo-demo
SERVERS=(alpha beta gamma)
UNDERLAY4=203.0.113
UNDERLAY6=2001:db8:

main() {
    case ${1:-} in
        up) BINARIES=$(realpath "$2"); down; up ;;
        down) down; echo "demo: nothing is left" ;;
        *) sed -n 's/^#   //p' "$0" >&2; exit 2 ;;
    esac
}

up() {
    mkdir -p "$STATE"
    say "underlay: one bridge, a controller and ${#SERVERS[*]} servers"
    ip netns add $PREFIX-net
    ip -n $PREFIX-net link add br0 type bridge
    ip -n $PREFIX-net link set br0 up
    host controller 10
    local i
    for i in "${!SERVERS[@]}"; do host "${SERVERS[i]}" $((11 + i)); done

    say "controller: serve, then one network"
    panel_wire
    start controller "$BINARIES/controller" serve --advertise $UNDERLAY4.10:9791 --http 0.0.0.0:9792 --insecure-http
    until_ok "the controller" controller network ls
    NETWORK=$(controller network create home --v4 172.27.0.0/16 --json | jq -r .id)
    echo "  network $NETWORK"

    say "servers: up, join, authorise"
    local name id
    for name in "${SERVERS[@]}"; do
        start "$name" "$BINARIES/node" up
        until_ok "the node on $name" node "$name" status
        node "$name" join "$NETWORK" --controller $UNDERLAY4.10:9791
        id=$(node "$name" id --json | jq -r .node)
        controller member authorize "$NETWORK" "$id" --name "$name" >/dev/null
    done

    say "containers: a bridge per server with an IPv4 subnet and a /96 of the server's own /80, routed to it"
    for i in "${!SERVERS[@]}"; do container "${SERVERS[i]}" $((i + 1)); done

    controller member ls "$NETWORK"
    controller route ls "$NETWORK"

    say "pings: every server and every container to every other, IPv4 and IPv6"
    ping_all

    say "throughput: container to container, through both tunnels"
    throughput

    say "it stays up until: make demo-down"
    cat <<TEXT
  panel        $(sed "s/127.0.0.1/$PANEL/" "$STATE/controller/state/setup.link")
  API          http://127.0.0.1:9792/api/v1/openapi.json, inside the controller's namespace
  admin token  $STATE/controller/state/admin.token
  try          ip netns exec $PREFIX-controller curl -s -H "Authorization: Bearer \$(cat $STATE/controller/state/admin.token)" http://127.0.0.1:9792/api/v1/networks
  try          ip netns exec $PREFIX-alpha env TOMBOLO_SOCKET=$STATE/alpha/node.sock $BINARIES/node peers
  try          ip netns exec $PREFIX-controller env TOMBOLO_STATE_DIR=$STATE/controller/state $BINARIES/controller member ls $NETWORK
TEXT
    echo "demo: $PASSED/$TRIED pings ok"
    ((PASSED == TRIED))
}

down() {
    local pid namespace
    for pid in $(cat "$STATE"/*/pid 2>/dev/null); do
        if [[ $(readlink "/proc/$pid/exe") =~ /(node|controller|iperf3)( \(deleted\))?$ ]]; then kill "$pid"; fi
    done
    for namespace in $(ip netns list | awk -v p="^$PREFIX-" '$1 ~ p {print $1}'); do
        # Whatever is left in there was started by the demo or by a curious user.
        for pid in $(ip netns pids "$namespace"); do kill -KILL "$pid" 2>/dev/null || true; done
        ip netns del "$namespace"
    done
    rm -rf "$STATE"
}

# A server as one rents it: an address of each family, forwarding on.
host() {
    local name=$1 number=$2 space=$PREFIX-$1
    mkdir -p "$STATE/$name/state"
    : >"$STATE/$name/config.toml"
    ip netns add "$space"
    ip -n $PREFIX-net link add "p$number" type veth peer name eth0 netns "$space"
    ip -n $PREFIX-net link set "p$number" master br0 up
    ip -n "$space" link set lo up
    ip -n "$space" link set eth0 up
    ip -n "$space" addr add "$UNDERLAY4.$number/24" dev eth0
    ip -n "$space" addr add "$UNDERLAY6:$number/64" dev eth0 nodad
    inside "$name" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
}

# The one way from this machine to the controller: for a browser. It goes with the controller's namespace.
panel_wire() {
    ip link add tmbdemo-panel type veth peer name panel netns $PREFIX-controller
    ip link set tmbdemo-panel up
    ip addr add 192.0.2.1/30 dev tmbdemo-panel
    ip -n $PREFIX-controller link set panel up
    ip -n $PREFIX-controller addr add $PANEL/30 dev panel
}

# A bridge on a server and a namespace on the bridge: what Docker makes for a container.
container() {
    local name=$1 number=$2 on=$PREFIX-$1 space=$PREFIX-$1-c v4=172.28.$2 v6
    until_ok "addresses on $name" has_addresses "$name"
    # The node is <its /80>::1; container network 1 is <its /80>:1::/96.
    v6=$(overlay_address "$name" inet6)
    v6=${v6%::1}:1:
    ip -n "$on" link add br-app type bridge
    ip -n "$on" link set br-app up
    ip -n "$on" addr add "$v4.1/24" dev br-app
    ip -n "$on" addr add "$v6:1/96" dev br-app nodad
    ip netns add "$space"
    ip -n "$on" link add veth-app type veth peer name eth0 netns "$space"
    ip -n "$on" link set veth-app master br-app up
    ip -n "$space" link set lo up
    ip -n "$space" link set eth0 up
    ip -n "$space" addr add "$v4.2/24" dev eth0
    ip -n "$space" addr add "$v6:2/96" dev eth0 nodad
    ip -n "$space" route add default via "$v4.1"
    ip -n "$space" route add default via "$v6:1"
    controller route add "$NETWORK" "$v4.0/24" --via "$(node "$name" id --json | jq -r .node)" >/dev/null
    ENDS+=("$PREFIX-$name $(overlay_address "$name" inet) $(overlay_address "$name" inet6)" "$space $v4.2 $v6:2")
}

ping_all() {
    TRIED=0 PASSED=0
    local from to space address
    for from in "${ENDS[@]}"; do
        for to in "${ENDS[@]}"; do
            [ "$from" != "$to" ] || continue
            space=${from%% *}
            for address in ${to#* }; do
                TRIED=$((TRIED + 1))
                if until_answered "$space" "$address"; then
                    PASSED=$((PASSED + 1))
                else
                    echo "  FAILED: $space to $address"
                fi
            done
        done
    done
    echo "  $PASSED of $TRIED"
}

throughput() {
    local from=${ENDS[1]%% *} to space address
    read -r space address _ <<<"${ENDS[3]}"
    ip netns exec "$space" iperf3 -s -D -I "$STATE/beta/iperf.pid" --logfile "$STATE/beta/iperf.log"
    until_ok "iperf3" listens "$space" 5201
    for to in "alpha to beta" "beta to alpha -R"; do
        ip netns exec "$from" iperf3 -J -t 3 -c "$address" ${to:13} |
            jq -r --arg way "${to:0:13}" '"  \($way) \(.end.sum_received.bits_per_second / 1e9 * 100 | round / 100) Gbit/s"'
    done
}

start() {
    local name=$1
    shift
    ip netns exec "$PREFIX-$name" env "${ENVIRONMENT[@]/NAME/$name}" "$@" </dev/null >"$STATE/$name/log" 2>&1 &
    echo $! >"$STATE/$name/pid"
    disown
}

ENVIRONMENT=(
    "TOMBOLO_STATE_DIR=$STATE/NAME/state"
    "TOMBOLO_CONFIG=$STATE/NAME/config.toml"
    "TOMBOLO_SOCKET=$STATE/NAME/node.sock"
)
ENDS=()

inside() { local name=$1; shift; ip netns exec "$PREFIX-$name" env "${ENVIRONMENT[@]/NAME/$name}" "$@"; }
node() { local name=$1; shift; inside "$name" "$BINARIES/node" "$@"; }
controller() { inside controller "$BINARIES/controller" "$@"; }
say() { printf '\n== %s\n' "$*"; }

overlay_address() {
    ip -n "$PREFIX-$1" -j addr show dev tmb0 2>/dev/null |
        jq -er --arg family "$2" '[.[0].addr_info[] | select(.family == $family and .scope == "global") | .local][0]'
}
listens() { ip netns exec "$1" ss -Hltn "sport = :$2" | grep -q .; }
has_addresses() { overlay_address "$1" inet && overlay_address "$1" inet6; }

# Waits for a command to succeed. A controller's first start looks for an address by a memory-hard hash, which takes some
# seconds.
until_ok() {
    local what=$1 deadline=$((SECONDS + 60))
    shift
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS > deadline)); then
            echo "demo: waited in vain for $what; the logs are in $STATE" >&2
            exit 1
        fi
        sleep 0.05
    done
}

# The first packet to a peer waits for the handshake; routes arrive a moment after they are added.
until_answered() {
    local try
    for try in 1 2 3 4 5; do
        if ip netns exec "$1" ping -n -q -c 1 -W 1 "$2" >/dev/null 2>&1; then return; fi
    done
    return 1
}

main "$@"
