"""Hosts that break before, during and after a rollout: visitors keep the good release, and the fleet comes together."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from typing import Any

import pytest
from faults import Good, catalogue, cut_off, full_disk, held_up, recovers, refused, wait_for, wrong_clock
from fleet import Fleet
from load import Visitors
from story import assert_serving

VISITORS = 4  # each may be waiting for an answer from a host in the moment it is lost: nobody can give it


def record_of_web(fleet: Fleet, host: str) -> dict[str, Any]:
    """What a host's release record says of web."""
    web: dict[str, Any] = json.loads(fleet.host(host, "cat /etc/ansible/facts.d/tagboat.fact"))["services"]["web"]
    return web


def live_since(fleet: Fleet, host: str) -> str:
    """When the release that is live on a host came."""
    releases = record_of_web(fleet, host)["releases"]
    return str(next(release["at"] for release in releases if release["result"] == "live"))


def at_work(fleet: Fleet, host: str) -> bool:
    """A step of a rollout runs on the host."""
    return fleet.console(host, "pgrep --full '[t]agboat.steps' || true") != ""


def test_too_little_space_refuses_before_anything_is_switched(fleet: Fleet, good: Good) -> None:
    with Visitors(fleet.url) as visitors:
        run = fleet.deploy(good.other, service_min_free_mb=10**9)
    refused(run, "MB are free, 1000000000 MB are needed: make prune", f"Serving now: {good.live} on web1, web2.")
    assert "switched to" not in run.output
    assert_serving(fleet, good.live)
    assert visitors.failed == {}


def test_no_space_for_the_slots_files_on_the_second_host(fleet: Fleet, good: Good) -> None:
    changed = catalogue(web={"env": {"LOG_FORMAT": "json", "LOG_LEVEL": "DEBUG"}})  # else there is nothing to write
    with Visitors(fleet.url) as visitors, full_disk(fleet, "web2", "/etc/tagboat/web"):
        run = fleet.deploy(good.other, services=changed)
    refused(
        run,
        "No space left on device: '/etc/tagboat/web/",
        "web2 still serves",
        "Switched hosts that went back: web1.",
        f"Serving now: {good.live} on web1, web2.",
    )
    assert_serving(fleet, good.live)
    assert visitors.failed == {}


def test_no_space_for_the_release_record_on_the_second_host(fleet: Fleet, good: Good) -> None:
    with Visitors(fleet.url) as visitors, full_disk(fleet, "web2", "/etc/ansible/facts.d"):
        run = fleet.deploy(good.other)
    refused(run, "No space left on device", "web2 still serves", "Switched hosts that went back: web1.")
    assert_serving(fleet, good.live)
    assert visitors.failed == {}


def test_an_engine_that_is_stopped_refuses_and_visitors_are_served(fleet: Fleet, good: Good) -> None:
    with Visitors(fleet.url) as visitors:
        fleet.host("web2", "systemctl mask --runtime --now docker.socket docker.service")
        try:
            run = fleet.deploy(good.other)
        finally:
            fleet.host("web2", "systemctl unmask --runtime docker.socket docker.service; systemctl start docker")
    refused(run, "web2: no Docker engine answers", "web2 still serves", f"Serving now: {good.live} on web1, web2.")
    assert "switched to" not in run.output
    assert_serving(fleet, good.live)
    assert visitors.failed == {}


@pytest.mark.parametrize("what", ["dockerd", "haproxy"])
def test_what_hangs_refuses_before_anything_is_switched(fleet: Fleet, good: Good, what: str) -> None:
    says = "the edge (haproxy) does not answer" if what == "haproxy" else "no Docker engine answers"
    fleet.console("web2", f"pkill -STOP --exact {what}")
    try:
        run = fleet.deploy(good.other)
    finally:
        fleet.console("web2", f"pkill -CONT --exact {what}")
    refused(run, f"web2: {says}", "web2 still serves", f"Serving now: {good.live} on web1, web2.")
    assert "switched to" not in run.output
    assert_serving(fleet, good.live)


def test_a_port_that_something_else_holds_is_told_in_the_engines_words(fleet: Fleet, good: Good) -> None:
    idle, port = ("b", 20080) if record_of_web(fleet, "web2")["live"] == "a" else ("a", 10080)
    thief = f"systemd-run --unit=thief --collect python3 -m http.server --bind 127.0.0.1 {port}"
    listens = f"until ss --listening --tcp --numeric | grep --quiet 127.0.0.1:{port}; do sleep 0.1; done"
    fleet.console("web2", f"systemctl stop web@{idle} && {thief} && timeout 30 sh -c '{listens}'")
    try:
        with Visitors(fleet.url) as visitors:
            run = fleet.deploy(good.other)
    finally:
        fleet.console("web2", "systemctl stop thief")
    refused(run, "address already in use", "web2 still serves", f"Serving now: {good.live} on web1, web2.")
    assert_serving(fleet, good.live)
    assert visitors.failed == {}


def test_an_engine_that_restarts_while_a_release_is_watched_undoes_nothing(fleet: Fleet, good: Good) -> None:
    watch: dict[str, object] = {"watch": "foreground", "environment_rollout": {"watch_seconds": 15}}
    with Visitors(fleet.url) as visitors:
        rollout = fleet.start("deploy", service="web", tag=good.other, **watch)
        rollout.until_it_says("web2 switched to")
        fleet.host("web2", "systemctl restart docker")
        run = rollout.wait()
    assert run.ok, run.tail
    assert_serving(fleet, good.other)
    assert visitors.failed == {}


def test_a_host_that_is_down_refuses_the_deploy_or_is_skipped_and_brought_back(fleet: Fleet, good: Good) -> None:
    with Visitors(fleet.url) as visitors:
        fleet.container("stop", "web2")
        try:
            run = fleet.deploy(good.other)
            refused(run, "web2: cannot be reached", f"Serving now: {good.live} on web1.")
            assert "switched to" not in run.output
            skipping = fleet.deploy(good.other, skip_unreachable="true")
        finally:
            fleet.container("start", "web2")
        assert skipping.ok, skipping.tail
        assert "goes on without web2; when they are back: make site" in skipping.output
        wait_for(lambda: fleet.serving() == {"web1": good.other, "web2": good.live})
        converged = fleet.play("site", "--limit", "web,localhost")  # all of it would do the same, and take its time
        assert converged.ok, converged.tail
    assert_serving(fleet, good.other)
    assert visitors.failed == {}


def test_hosts_wait_for_the_one_that_takes_long_to_get_ready(fleet: Fleet, good: Good) -> None:
    def lease_lasts_until() -> float:
        return float(json.loads(fleet.host("web1", "cat /run/tagboat/web.lease"))["until"])

    with Visitors(fleet.url) as visitors:
        fleet.host("web1", "rm -f /run/tagboat/web.lease")  # what an earlier rollout left is not this one's
        with held_up(fleet, "web2", by="web.lease.lock"):
            rollout = fleet.start("deploy", service="web", tag=good.other, watch="off")
            wait_for(lambda: lease_lasts_until() > 0)
            taken = lease_lasts_until()
            wait_for(lambda: lease_lasts_until() > taken)  # web1 was asked to hold on
        run = rollout.wait()
    assert run.ok, run.tail
    assert_serving(fleet, good.other)
    assert visitors.failed == {}


def test_a_host_lost_in_the_middle_sends_the_others_back(fleet: Fleet, good: Good) -> None:
    with Visitors(fleet.url) as visitors:
        rollout = fleet.start("deploy", service="web", tag=good.other, watch="off")
        rollout.until_it_says("ready: web1, web2")
        with cut_off(fleet, "web2"):
            run = rollout.wait()
    refused(run, "web2: cannot be reached", "Switched hosts that went back: web1.", "Next: ")
    wait_for(lambda: fleet.serving() == {"web1": good.live, "web2": good.live})
    assert sum(visitors.failed.values()) <= VISITORS, visitors.failed


def test_a_host_that_wakes_up_late_does_not_switch_alone(fleet: Fleet, good: Good) -> None:
    with Visitors(fleet.url) as visitors:
        rollout = fleet.start("deploy", service="web", tag=good.other, watch="off")
        rollout.until_it_says("ready: web1, web2")
        fleet.container("pause", "web2")
        try:
            run = rollout.wait()
        finally:
            fleet.container("unpause", "web2")
        refused(run, "web2: cannot be reached", "Switched hosts that went back: web1.")
        # What it was sent while it slept has arrived all the same: let it come to an end.
        wait_for(
            lambda: (
                not at_work(fleet, "web2") and fleet.console("web2", "pgrep --full '^sshd[^:]*: admin' || true") == ""
            )
        )
    assert_serving(fleet, good.live)
    assert sum(visitors.failed.values()) <= VISITORS, visitors.failed


def test_a_connection_that_breaks_during_the_switch_is_made_again(fleet: Fleet, good: Good) -> None:
    with Visitors(fleet.url) as visitors:
        with held_up(fleet, "web1"):
            rollout = fleet.start("deploy", service="web", tag=good.other, watch="off")
            rollout.until_it_says("ready: web1, web2")
            wait_for(lambda: at_work(fleet, "web1"))
            fleet.console("web1", "pkill -KILL --full '^sshd[^:]*: admin'")
        run = rollout.wait()
    assert run.ok, run.tail
    assert "web1 switched to" in run.output
    assert_serving(fleet, good.other)
    assert visitors.failed == {}


def test_a_network_lost_for_ssh_alone_leaves_a_mix_that_status_mends(fleet: Fleet, good: Good) -> None:
    with Visitors(fleet.url) as visitors:
        with ExitStack() as until_it_ends:
            with held_up(fleet, "web1"):
                rollout = fleet.start("deploy", service="web", tag=good.other, watch="off")
                rollout.until_it_says("ready: web1, web2")
                wait_for(lambda: at_work(fleet, "web1"))
                until_it_ends.enter_context(cut_off(fleet, "web1", only_ssh=True))
            run = rollout.wait()
        refused(run, "web1: cannot be reached", "Next: ")
        assert fleet.serving() == {"web1": good.other, "web2": good.live}  # web1 was at it, and finished alone
        status = fleet.play("status")
        assert "web is mixed: " in status.output
        mend = re.search(r"To mend it: make deploy SERVICE=web TAG=(v\d+)", status.output)
        assert mend, status.tail
        recovers(fleet, mend[1])
    assert visitors.failed == {}


def test_a_reboot_of_a_host_during_standby_costs_only_the_standby(fleet: Fleet, good: Good) -> None:
    assert fleet.deploy(good.other, force=True).ok
    with Visitors(fleet.url) as visitors:
        fleet.container("restart", "web1")
        wait_for(lambda: fleet.serving() == dict.fromkeys(fleet.web_hosts(), good.other))
        run = fleet.play("rollback", service="web")
    assert run.ok, run.tail
    assert_serving(fleet, good.live)
    assert visitors.failed == {}


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_clock_that_is_an_hour_off_changes_nothing(seconds: int, fleet: Fleet, good: Good) -> None:
    with Visitors(fleet.url) as visitors, wrong_clock(fleet, "web2", seconds) as python:
        run = fleet.deploy(good.other, force=True, ansible_python_interpreter=python)
        assert run.ok, run.tail
        assert_serving(fleet, good.other)
        assert len({live_since(fleet, host) for host in fleet.web_hosts()}) == 1, "not the control node's time"
        run = fleet.play("rollback", service="web")  # somebody has set it right meanwhile
        assert run.ok, run.tail
        assert_serving(fleet, good.live)
        run = fleet.deploy(good.other, force=True, ansible_python_interpreter=python)
        assert run.ok, run.tail
    assert visitors.failed == {}
