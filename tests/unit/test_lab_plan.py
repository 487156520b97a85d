"""Where each host of a fleet lives. Nobody moves because another host comes or goes."""

from __future__ import annotations

from typing import Any

import plugin_loading
import pytest

lab = plugin_loading.load("roles/lab/filter_plugins/lab.py")

SUBNET = "10.213.3.0/24"


def plan(
    hosts: list[str], existing: dict[str, int] | None = None, publish: dict[str, dict[int, int]] | None = None
) -> dict[str, dict[str, Any]]:
    made: dict[str, dict[str, Any]] = lab.lab_plan(hosts, existing or {}, 20750, SUBNET, publish or {})
    return made


def test_hosts_are_numbered_in_the_order_of_the_inventory() -> None:
    first, second = plan(["lb1", "web1"]).items()
    published = ["127.0.0.1:20750:22"]
    assert first == ("lb1", {"number": 0, "address": "10.213.3.10", "ssh_port": 20750, "published": published})
    published = ["127.0.0.1:20751:22"]
    assert second == ("web1", {"number": 1, "address": "10.213.3.11", "ssh_port": 20751, "published": published})


def test_a_host_added_in_the_middle_moves_nobody() -> None:
    made = plan(["lb1", "web1", "web2", "data1"], existing={"lb1": 0, "web1": 1, "data1": 2})
    assert {name: host["number"] for name, host in made.items()} == {"lb1": 0, "web1": 1, "web2": 3, "data1": 2}


def test_the_number_of_a_host_that_left_is_given_again() -> None:
    assert plan(["lb1", "web2"], existing={"lb1": 0, "web1": 1})["web2"]["number"] == 1


def test_published_ports_are_offsets_in_the_fleets_block() -> None:
    made = plan(["lb1"], publish={"lb1": {80: 200, 8404: 201}})
    assert made["lb1"]["published"] == ["127.0.0.1:20750:22", "127.0.0.1:20950:80", "127.0.0.1:20951:8404"]


def test_addresses_and_ports_are_given_once_in_the_largest_fleet() -> None:
    made = plan([f"web{number}" for number in range(200)])
    assert len({host["address"] for host in made.values()}) == 200
    assert {host["ssh_port"] for host in made.values()} == set(range(20750, 20950))
    assert not made["web199"]["address"].endswith(".255"), "the address of everybody is nobody's"


def test_a_fleet_that_no_block_of_ports_holds_is_refused() -> None:
    with pytest.raises(ValueError, match="a fleet has at most 200 hosts, the inventory names 201"):
        plan([f"web{number}" for number in range(201)])


CONTAINERS = [
    {"Labels": {"tagboat.host": "lb1", "tagboat.number": "0"}, "State": "running"},
    {"Labels": {"tagboat.host": "web1", "tagboat.number": "7"}, "State": "exited"},
]


def test_what_exists_is_read_from_labels() -> None:
    assert lab.lab_existing(CONTAINERS) == {"lb1": 0, "web1": 7}
    assert lab.lab_states(CONTAINERS) == {"lb1": "running", "web1": "exited"}
    assert lab.lab_existing([]) == {}
