#!/bin/sh
# Lint, types and unit tests: no engine, no network. Usage: check.sh [lint]      lint: only the linters
# Side by side: the tests in three parts, and ansible-lint, which looks at what changed only.
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

if [ "${1:-}" != lint ]; then
    step ops-bot-tests pytest -q -p no:cacheprovider tests/unit/ops_bot &
    step service-tests pytest -q -p no:cacheprovider tests/unit/service tests/templates tests/unit/images &
    step other-tests pytest -q -p no:cacheprovider tests/unit \
        --ignore tests/unit/ops_bot --ignore tests/unit/service --ignore tests/unit/images &
fi
step ansible-lint python tests/ansible_lint.py &
step ruff ruff check --quiet .
step format ruff format --check --quiet .
step yamllint yamllint --strict .
step readmes python docs/role_readme.py --check
step mypy mypy
wait
[ ! -e "$results/failed" ]
