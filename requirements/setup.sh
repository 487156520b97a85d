#!/bin/sh
# Make the project's own Python environment in .venv, installing what the machine lacks for it.
# Usage: setup.sh ops|dev [engine] [postgresql] [browser] [journal] [strace]
#   ops: to run playbooks; dev: and to test; engine: and to run the local fleet; postgresql, browser: and to test with one;
#   journal: and with the collector of journals; strace: and with system calls that fail
set -eu
set=$1
shift
wanted=" $* "
root=$(cd "$(dirname "$0")/.." && pwd)
stamp="$root/.venv/.installed-$set-$(sha256sum "$root/requirements/$set.txt" | cut -c1-16)"

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

may_be_root() {
    [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null || { [ -t 0 ] && command -v sudo >/dev/null; }
}

install() {
    may_be_root || { echo "This needs $*: install it, or run this as root or with sudo." >&2; exit 1; }
    echo "Installing $* with apt"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}

# A Python the project supports, able to make virtual environments.
usable_python() {
    for python in python3.13 python3.12 python3.11 python3 /usr/bin/python3; do
        if "$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
        then
            echo "$python"
            return
        fi
    done
}

wants() { case $wanted in *" $1 "*) return 0 ;; esac; return 1; }

if wants engine && ! docker version >/dev/null 2>&1 && ! may_be_root; then
    echo "The local fleet needs a Docker engine: none answers here, and installing one needs root or sudo." >&2
    exit 1
fi

command -v ssh >/dev/null && command -v ssh-keygen >/dev/null || install openssh-client
command -v git >/dev/null || install git
if wants postgresql; then
    # The tests start one of their own; Debian keeps its programs off PATH.
    command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || install postgresql
fi
if wants journal; then
    [ -x /lib/systemd/systemd-journal-remote ] || install systemd systemd-journal-remote
fi
if wants strace; then
    command -v strace >/dev/null || install strace
fi
# Ubuntu's package of that name is but a pointer to a snap: there, Playwright's own is taken, below.
own_browser() { command -v chromium >/dev/null || ! grep -q '^ID=ubuntu' /etc/os-release; }
if wants browser && own_browser; then
    command -v chromium >/dev/null || install chromium
fi
ready() {
    if wants browser && ! own_browser; then
        as_root "$root/.venv/bin/playwright" install-deps chromium >/dev/null
        "$root/.venv/bin/playwright" install chromium >/dev/null
    fi
    exit 0
}
[ -e "$stamp" ] && ready

python=$(usable_python)
if [ -z "$python" ]; then
    # Debian 12 and newer, Ubuntu 24.04 and newer; Ubuntu 22.04 has its 3.11 under another name.
    install python3 python3-venv
    [ -n "$(usable_python)" ] || install python3.11 python3.11-venv
    python=$(usable_python)
fi

echo "Installing the Python packages of requirements/$set.txt into .venv (a minute or two)"
[ -x "$root/.venv/bin/python" ] || "$python" -m venv "$root/.venv"
"$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes \
    --requirement "$root/requirements/$set.txt"
# Bytecode once, instead of at every start: it halves the time that a playbook takes to begin. Not of the collections:
# that takes minutes, and nearly all of them are never loaded.
"$root/.venv/bin/python" -m compileall -q -j 0 -x 'ansible_collections|/tests?/' "$root"/.venv/lib/python3*/site-packages \
    >/dev/null || true # a template of a package that is no Python by itself
rm -f "$root"/.venv/.installed-*
touch "$stamp"
# The larger set contains the smaller one.
[ "$set" = ops ] || touch "$root/.venv/.installed-ops-$(sha256sum "$root/requirements/ops.txt" | cut -c1-16)"
ready
