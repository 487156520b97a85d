#!/bin/sh
# Every role on bare hosts: the scenarios of molecule/, two side by side. A line for each; all its output if it fails.
# Usage: roles.sh [SCENARIO...]      JOBS=1 for one after the other
set -eu
cd "$(dirname "$0")/.."
logs=reports/roles

# One scenario; this script calls itself for it.
if [ "${1:-}" = --one ]; then
    start=$(date +%s)
    if molecule test --scenario-name "$2" > "$logs/$2.log" 2>&1; then
        printf '%-12s ok %4s s\n' "$2" "$(($(date +%s) - start))"
    else
        printf '%-12s FAILED after %s s\n' "$2" "$(($(date +%s) - start))"
        cat "$logs/$2.log"
        touch "$logs/$2.failed"
        exit 1
    fi
    exit
fi

# The longest first, so that no core waits for the last one.
[ $# -gt 0 ] || set -- service builder balancer common docker edge haproxy registry postgres redis journal ops_bot certificate lab

# What a broken run left, of this checkout (the folder is the first thing made and the last that goes) or of another.
clean() {
    for scenario; do
        left=$(docker ps --all --quiet --filter "label=tagboat.fleet=molecule-$scenario" 2> /dev/null || true)
        if [ -d ".lab/molecule-$scenario" ] || [ -n "$left" ]; then
            molecule destroy --scenario-name "$scenario" > "$logs/clean.log" 2>&1
        fi
    done
}

mkdir -p "$logs"
rm -f "$logs"/*.failed
# The hosts' names belong to the whole machine. Children must not hold the lock: SSH connections outlive them.
exec 9> "${TMPDIR:-/tmp}/tagboat-roles.lock"
flock --nonblock 9 || { echo 'tests/roles.sh is running already on this machine.' >&2; exit 1; }
clean "$@" 9>&-
trap 'clean "$@" 9>&-' EXIT
trap 'exit 130' INT TERM
# Without an image of a bare host, two scenarios would bootstrap it at the same time.
start=$(date +%s)
molecule create --scenario-name "$1" > "$logs/create.log" 2>&1 9>&- || { cat "$logs/create.log"; exit 1; }
printf '%s\n' "$@" | xargs -P "${JOBS:-2}" -n 1 sh tests/roles.sh --one 9>&- || {
    # Again at the end, where it is looked for: what failed, and why.
    for failed in "$logs"/*.failed; do
        name=$(basename "$failed" .failed)
        echo "FAILED: $name, see $logs/$name.log"
        sed 's/\x1b\[[0-9;]*m//g' "$logs/$name.log" | grep -E '^ *│ (E |FAILED )|fatal: |CRITICAL' | tail -n 20
    done
    exit 1
}
echo "all roles ok, $(($(date +%s) - start)) s"
