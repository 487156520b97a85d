#!/bin/sh
# `make test`: everything, from nothing. The fast checks first; then the ops bot as real processes; then each role on
# bare hosts; then the whole story.
set -eu
cd "$(dirname "$0")/.."
export LAB_NAME=test

down() {
    code=$?
    ansible-playbook -i inventories/local playbooks/lab.yml -e lab_state=absent > reports/lab-down.log 2>&1 || code=1
    exit "$code"
}

mkdir -p reports
# Set, a test fails where it would otherwise be skipped for something that is not installed, and properties are tried
# with all examples.
export TAGBOAT_ALL_TESTS=1
sh tests/check.sh
requirements/setup.sh dev postgresql browser journal strace
pytest -n 3 tests/ops_bot  # these mostly wait; more at a time would wait for each other
# Roles first: they make the host image. What they leave behind after a crash, the next run removes.
sh tests/roles.sh
trap down EXIT
trap 'exit 130' INT TERM
TAGBOAT_KEEP=after pytest tests/fleet
pytest tests/testinfra
