"""A second service, a worker that must never run twice: from its first release until nothing of it is left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from faults import catalogue, refused
from fleet import Fleet
from story import Tags

# It works for ever and does not heed SIGTERM: any process that is the first of its container does not.
MAILER: dict[str, Any] = {
    "image": "web",
    "hosts": "worker",
    "command": ["sleep", "1000000"],
    "overlap": False,
    "stop_seconds": 1,
    "health": {"ready_seconds": 1},
}
SERVICES = catalogue(mailer=MAILER)


@pytest.fixture(scope="module")
def mailer(fleet: Fleet, tags: Tags) -> Iterator[str]:
    """The service `mailer` on the worker host, at its first release ever; returns that tag."""
    converged = fleet.play("site", "--limit", "worker1,localhost", services=SERVICES)
    assert converged.ok, converged.tail
    run = fleet.play("deploy", service="mailer", tag=tags.first, watch="off", services=SERVICES)
    assert run.ok, run.tail
    yield tags.first
    fleet.play("remove", service="mailer")


def ended_and_started(fleet: Fleet, since: str) -> list[str]:
    """What the worker host's engine tells of the service's containers since then, in order."""
    told = fleet.host(
        "worker1",
        f"docker events --since {since} --until $(date +%s) --filter label=tagboat.service=mailer"
        " --filter event=die --filter event=start --format '{{.Action}} {{.Actor.Attributes.name}}'",
    )
    return told.splitlines()


def containers(fleet: Fleet) -> str:
    """The service's containers on the worker host, whatever their state."""
    return fleet.host("worker1", "docker ps --all --format '{{.Names}}' --filter label=tagboat.service=mailer")


def test_with_one_release_ever_there_is_nothing_to_roll_back_to(fleet: Fleet, mailer: str) -> None:
    run = fleet.play("rollback", service="mailer", services=SERVICES)
    refused(
        run, "mailer has no earlier release", f"Serving now: {mailer} on worker1.", "Next: make deploy SERVICE=mailer"
    )
    assert containers(fleet).split() == ["mailer-a"]


def test_a_singleton_ends_before_the_next_begins(fleet: Fleet, tags: Tags, mailer: str) -> None:
    before = fleet.host("worker1", "date +%s").strip()
    run = fleet.play("deploy", service="mailer", tag=tags.second, watch="off", services=SERVICES)
    assert run.ok, run.tail
    back = fleet.play("rollback", service="mailer", services=SERVICES)
    assert back.ok, back.tail
    assert f"{mailer} (" in back.output
    assert ended_and_started(fleet, before) == [
        "die mailer-a",
        "start mailer-b",
        "die mailer-b",
        "start mailer-a",
    ]


def test_a_service_that_left_the_data_is_seen_removed_and_runs_no_more(fleet: Fleet, mailer: str) -> None:
    status = fleet.play("status")
    assert status.ok, status.tail
    assert any(line.split()[:3] == ["mailer", "worker1", mailer] for line in status.output.splitlines())
    assert "make remove SERVICE=mailer" in status.output
    refused(fleet.play("remove", service="web"), "web is on no host where it does not belong", "nothing was touched")

    run = fleet.play("remove", service="mailer")
    assert run.ok, run.tail
    assert containers(fleet) == ""
    left = (
        "ls -d /etc/tagboat/mailer /etc/systemd/system/mailer@.service 2>/dev/null;"
        " systemctl list-units 'mailer@*' --plain --no-legend;"
        " grep --only-matching mailer /etc/ansible/facts.d/tagboat.fact || true"
    )
    assert fleet.host("worker1", left) == ""
    assert "mailer" not in fleet.play("status").output
