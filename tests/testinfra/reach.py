"""Hosts as tests see them: reached with the fleet's own ssh_config, and asked what they can reach themselves."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import testinfra

Door = tuple[str, int]
"""Where to connect to: a host's name or address, and a TCP port."""

# Connects to all at once, as somebody who only wants to know who answers.
_KNOCK = """
import concurrent.futures, json, socket, sys
def knock(door):
    try:
        with socket.create_connection(door, timeout=3) as connection:
            return connection.getpeername()[0]
    except OSError:
        return ""
doors = json.load(sys.stdin)
with concurrent.futures.ThreadPoolExecutor(128) as pool:
    print(json.dumps(list(pool.map(knock, map(tuple, doors)))))
"""


def connect(name: str, ssh_options: str, user: str = "", sudo: bool = True) -> Any:
    """Return testinfra's handle on a host. One SSH connection a host serves a whole test run.

    Args:
        name: the host's name in the inventory.
        ssh_options: what Ansible gives to ssh for this host (`ansible_ssh_common_args`).
        user: somebody else than the inventory says.
        sudo: run everything as root.
    """
    sockets = Path(tempfile.gettempdir()) / "tagboat-tests"
    sockets.mkdir(mode=0o700, exist_ok=True)
    shared = f"-o ControlMaster=auto -o ControlPath={sockets}/%C -o ControlPersist=20"
    target = f"ssh://{user}@{name}" if user else f"ssh://{name}"
    return testinfra.get_host(target, sudo=sudo, ssh_extra_args=f"{ssh_options} {shared}")


def reaches(host: Any, doors: Iterable[Door]) -> dict[Door, str]:
    """Try really to connect from `host`, and return where somebody answered, and from which address."""
    wanted = sorted(set(doors))
    answer = host.check_output("echo %s | python3 -c %s", json.dumps(wanted), _KNOCK)
    return {door: address for door, address in zip(wanted, json.loads(answer), strict=True) if address}
