#!/bin/sh
# `up` runs the node again whenever it ends, so that this container, whose network others may share, stays. A node that
# cannot start at all ends the container, with its reason as the last line of the log. Every other verb is just run.
if [ "$1" != up ]; then
    exec tombolo "$@"
fi

stopping=
started_once=
trap 'stopping=yes; kill -TERM "$node" 2>/dev/null' TERM INT
while [ -z "$stopping" ]; do
    start=$(date +%s)
    tombolo "$@" &
    node=$!
    wait "$node"
    code=$?
    # A signal to this shell ends the wait before the node has ended.
    while kill -0 "$node" 2>/dev/null; do
        wait "$node"
        code=$?
    done
    if [ $(($(date +%s) - start)) -ge 2 ]; then
        started_once=yes
    fi
    if [ -n "$stopping" ] || [ -z "$started_once" ]; then
        exit "$code"
    fi
    echo "tombolo ended ($code); starting it again" >&2
    sleep 1
done
