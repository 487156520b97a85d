"""Where each host of a fleet lives: its number, address and ports, stable over the fleet's life."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

SSH_PORTS = 200  # offsets 0 to 199 of a fleet's block are SSH ports, 200 to 249 are published services
FIRST_ADDRESS = 10  # .1 is the bridge; a few are left free for people's own containers


def lab_plan(
    hosts: Sequence[str],
    existing: Mapping[str, int],
    port_base: int,
    subnet: str,
    publish: Mapping[str, Mapping[int, int]],
) -> dict[str, dict[str, Any]]:
    """Give every host a number, and from it an address and ports on 127.0.0.1.

    Hosts that exist keep their number, so a host added in the middle of the inventory moves nobody.

    Args:
        hosts: inventory names, in inventory order.
        existing: name -> number of the hosts that have a container already.
        port_base: first port of the fleet's block.
        subnet: the fleet's network.
        publish: name -> {port on the host: offset in the block}.

    Raises:
        ValueError: more hosts than a block of ports holds.
    """
    if len(hosts) > SSH_PORTS:
        raise ValueError(f"a fleet has at most {SSH_PORTS} hosts, the inventory names {len(hosts)}")
    numbers = {name: int(existing[name]) for name in hosts if name in existing}
    free = iter(sorted(set(range(SSH_PORTS)) - set(numbers.values())))
    network = ipaddress.ip_network(subnet)
    plan: dict[str, dict[str, Any]] = {}
    for name in hosts:
        number = numbers[name] if name in numbers else next(free)
        ports = {22: port_base + number}
        ports |= {int(port): port_base + int(offset) for port, offset in publish.get(name, {}).items()}
        plan[name] = {
            "number": number,
            "address": str(network[FIRST_ADDRESS + number]),
            "ssh_port": port_base + number,
            "published": [f"127.0.0.1:{outside}:{inside}" for inside, outside in ports.items()],
        }
    return plan


def lab_existing(containers: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Read name -> number from the labels of a fleet's containers, as `docker_host_info` lists them."""
    labels = [container["Labels"] for container in containers]
    return {label["tagboat.host"]: int(label["tagboat.number"]) for label in labels}


def lab_states(containers: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Read name -> state (`running`, `exited`, ...) of a fleet's containers, as `docker_host_info` lists them."""
    return {container["Labels"]["tagboat.host"]: container["State"] for container in containers}


class FilterModule:
    """Filters of the lab role."""

    def filters(self) -> dict[str, Any]:
        """Name the filters for Ansible."""
        return {"lab_plan": lab_plan, "lab_existing": lab_existing, "lab_states": lab_states}
