"""Who listens, and who reaches whom: seen from every host of the environment."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import reach
from environment import Environment


def listening(host: Any, protocol: str) -> set[int]:
    """Ports that are open to others than the host itself."""
    sockets = [line.split()[3] for line in host.check_output(f"ss -Hln --{protocol}").splitlines()]
    # 127.0.0.11 is where containers ask for names; `%lo` is systemd's own resolver.
    return {int(port) for address, port in (s.rsplit(":", 1) for s in sockets) if not is_loopback(address)}


def is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "[::1]" or address.endswith("%lo")


def test_only_what_is_expected_listens(environment: Environment, host: Any, name: str) -> None:
    assert listening(host, "tcp") == set(environment.expected_of(name, "ports"))


def test_udp_ports(environment: Environment, host: Any) -> None:
    assert listening(host, "udp") <= set(environment.expected["udp"])


@pytest.fixture(scope="session")
def visits(environment: Environment) -> dict[str, dict[reach.Door, str]]:
    """Every host tries to connect to every port of every other host: host -> the doors that were open."""
    named = functools.partial(environment.expected_of, what="ports")
    ports = {*environment.expected["never_open"], *(port for host in environment.hosts for port in named(host))}
    doors = {(host, port) for host in environment.hosts for port in ports}

    def visit(host: str) -> dict[reach.Door, str]:
        return reach.reaches(environment.connect(host), {door for door in doors if door[0] != host})

    # All at the same time: who knocks at a closed door waits for an answer that may not come.
    with ThreadPoolExecutor() as pool:
        return dict(zip(environment.hosts, pool.map(visit, environment.hosts), strict=True))


def test_hosts_come_in_where_they_may_and_nowhere_else(
    environment: Environment, visits: dict[str, dict[reach.Door, str]], name: str
) -> None:
    others = [host for host in environment.hosts if host != name]
    rules = environment.expected_of(name, "ports").items()
    expected = {
        (visitor, port)
        for port, rule in rules
        for visitor in others
        if "any" in rule["from"] or visitor in environment.in_group(*rule["from"])
    }
    came_in = {
        (visitor, port): by for visitor in others for (host, port), by in visits[visitor].items() if host == name
    }
    assert came_in.keys() == expected, f"who answered: {came_in}"


def test_the_firewall_drops_what_no_rule_names(host: Any) -> None:
    rules = host.check_output("nft list chain inet tagboat input")
    assert "policy drop" in rules
    assert 'iifname "lo" accept' in rules


@pytest.mark.groups("docker")
def test_the_engines_own_rules_are_still_there(host: Any) -> None:
    """The firewall is loaded without flushing: containers keep their way out."""
    subnet = host.check_output("docker network inspect tagboat --format '{{(index .IPAM.Config 0).Subnet}}'")
    rules = host.check_output("iptables --table nat --list-rules POSTROUTING")
    assert f"-s {subnet} ! -o tagboat0 -j MASQUERADE" in rules


def test_hosts_know_each_other_by_name(environment: Environment, host: Any) -> None:
    """In the local fleet by rules of the outer engine in this host's own tables, which nobody may flush."""
    unknown = [other for other in environment.hosts if host.run("getent ahostsv4 %s", other).failed]
    assert unknown == []
