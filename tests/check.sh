#!/bin/sh
# Lint, types and unit tests: no engine, no network. Usage: check.sh [lint]      lint: only the linters
# Two lanes side by side, because ansible-lint takes about as long as everything else together.
set -u
cd "$(dirname "$0")/.." || exit 1
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
trap 'exit 130' INT TERM

# step NAME COMMAND...: one line with its seconds; its output only when it fails.
step() {
    name=$1
    shift
    begin=$(date +%s%N)
    if "$@" >"$results/$name" 2>&1; then verdict=ok; else verdict=FAILED; fi
    spent=$((($(date +%s%N) - begin) / 100000000))
    printf '%-16s %4s.%s s  %s\n' "$name" $((spent / 10)) $((spent % 10)) "$verdict"
    if [ "$verdict" = FAILED ]; then
        cat "$results/$name"
        touch "$results/failed"
    fi
}

step ansible-lint python tests/ansible_lint.py &
step ruff ruff check --quiet .
step format ruff format --check --quiet .
step yamllint yamllint --strict .
step readmes python docs/role_readme.py --check
step mypy mypy
[ "${1:-}" = lint ] || step pytest pytest -q
wait
[ ! -e "$results/failed" ]
