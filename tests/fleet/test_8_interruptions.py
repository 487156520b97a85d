"""Rollouts that are interrupted at any moment, and rollouts that meet: nobody notices, and nobody unlocks anything."""

from __future__ import annotations

import json
import random
import signal
import time

import pytest
from faults import at_once, recovers, refused
from fleet import Fleet
from load import Visitors
from story import Tags, assert_serving

POWER_CUT = "power_cut"  # of the control node
ENDS = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL] * 3 + [POWER_CUT]
# Shares of the length of a deploy; the same every time, so that a failure can be looked at again.
MOMENTS = [round(random.Random(number).uniform(0.1, 1), 2) for number in range(len(ENDS))]  # noqa: S311


@pytest.fixture(scope="module")
def seconds_of_a_deploy(fleet: Fleet, tags: Tags) -> float:
    """How long a deploy takes that nobody interrupts."""
    recovers(fleet, tags.first)
    run = fleet.deploy(tags.second, force=True)
    assert run.ok, run.tail
    recovers(fleet, tags.first)
    return run.seconds


@pytest.mark.parametrize(
    ("end", "moment"),
    list(zip(ENDS, MOMENTS, strict=True)),
    ids=[f"{getattr(end, 'name', end)} at {moment}" for end, moment in zip(ENDS, MOMENTS, strict=True)],
)
def test_a_deploy_that_ends_at_any_moment_is_noticed_by_nobody(
    fleet: Fleet, tags: Tags, seconds_of_a_deploy: float, end: signal.Signals | str, moment: float
) -> None:
    with Visitors(fleet.url) as visitors:
        rollout = fleet.start("deploy", service="web", tag=tags.second, watch="off", force=True)
        time.sleep(moment * seconds_of_a_deploy)  # no condition to wait for: it is to happen in the midst of anything
        if isinstance(end, signal.Signals):
            rollout.interrupt(end)
        else:
            rollout.crash()
        rollout.wait()
        assert set(fleet.serving().values()) <= {tags.first, tags.second}
        recovers(fleet, tags.first)
    assert visitors.failed == {}


def test_ctrl_c_after_the_canary_brings_it_back_and_lets_the_leases_go(fleet: Fleet, tags: Tags) -> None:
    recovers(fleet, tags.first)
    with Visitors(fleet.url) as visitors:
        rollout = fleet.start("deploy", service="web", tag=tags.second, watch="off", force=True)
        rollout.until_it_says("ready: web1, web2")
        rollout.interrupt(signal.SIGINT)  # the canary's switch is under way
        assert rollout.wait().code != 0
        assert_serving(fleet, tags.first)
        run = fleet.deploy(tags.first)  # at once: no lease is left to wait for
    assert run.ok, run.tail
    assert visitors.failed == {}


@pytest.mark.parametrize("time_of_ten", range(10))
def test_of_two_deploys_in_the_same_second_one_wins_everywhere(fleet: Fleet, tags: Tags, time_of_ten: int) -> None:
    tag, before = (tags.second, tags.first) if time_of_ten % 2 == 0 else (tags.first, tags.second)
    if time_of_ten == 0:
        recovers(fleet, before)
    # Watched for a moment, so that the one which wins is still there when the other comes late out of its start.
    how: dict[str, object] = {"force": True, "watch": "foreground", "environment_rollout": {"watch_seconds": 2}}
    with Visitors(fleet.url) as visitors:
        runs = at_once(
            lambda: fleet.deploy(tag, service_by="ann", **how), lambda: fleet.deploy(tag, service_by="bob", **how)
        )
    assert sorted(run.ok for run in runs) == [False, True], [run.tail for run in runs]
    winner, loser = ("ann", "bob") if runs[0].ok else ("bob", "ann")
    refused(runs[loser == "bob"], f"{winner} holds the lease for web since ", f"deploy web {tag}")
    assert_serving(fleet, tag)
    for host in fleet.web_hosts():
        newest = json.loads(fleet.host(host, "cat /etc/ansible/facts.d/tagboat.fact"))["services"]["web"]["releases"][0]
        assert (newest["result"], newest["tag"], newest["by"]) == ("live", tag, winner)
    assert visitors.failed == {}
