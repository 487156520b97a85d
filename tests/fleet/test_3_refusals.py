"""Bad input: refused before any host is touched, with the next command to type."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from faults import refused
from fleet import Fleet
from story import Tags


@pytest.fixture(autouse=True)
def untouched(fleet: Fleet) -> Iterator[None]:
    """Whatever is refused leaves every host's record and units as they were."""
    look = "sha256sum /etc/ansible/facts.d/tagboat.fact /etc/tagboat/web/* /etc/haproxy/tagboat.map; docker ps -q"
    before = [fleet.host(host, look) for host in fleet.web_hosts()]
    yield
    assert [fleet.host(host, look) for host in fleet.web_hosts()] == before


def test_unknown_tag_to_deploy(fleet: Fleet, tags: Tags) -> None:
    refused(fleet.play("deploy", service="web", tag="v99"), "no tag v99", tags.second, "Next: make deploy")


def test_unknown_tag_to_roll_back_to(fleet: Fleet, tags: Tags) -> None:
    refused(fleet.play("rollback", service="web", tag="v99"), "v99 was never live", tags.second, "Next: make rollback")


def test_unknown_service(fleet: Fleet) -> None:
    refused(fleet.play("deploy", service="wbe", tag="v1"), "no service wbe", "Did you mean web?")


def test_misspelt_variable(fleet: Fleet) -> None:
    refused(fleet.play("deploy", servce="web", tag="v1"), "unknown variable servce", "Did you mean service?")


def test_missing_variable(fleet: Fleet) -> None:
    refused(fleet.play("deploy", service="web"), "tag is missing", "make deploy SERVICE=web TAG=v2")


def test_misspelt_key_of_a_service(fleet: Fleet) -> None:
    services = {"web": {"image": "web", "hosts": "web", "prot": 8000}}
    refused(fleet.deploy("v1", services=services), "unknown key prot", "Did you mean port?")


def test_wrong_registry_password(fleet: Fleet, tags: Tags) -> None:
    run = fleet.play("deploy", service="web", tag=tags.second, registry_pull_password="wrong-password")
    refused(run, "401")
    assert "wrong-password" not in run.output.replace("registry_pull_password=wrong-password", "")


def test_unknown_image(fleet: Fleet) -> None:
    refused(fleet.play("build", image="wbe"), "wbe", "web")
