"""Releases that are bad in every way the build cannot see: they undo themselves, and visitors keep the good one."""

from __future__ import annotations

from faults import Good, catalogue, refused, wait_for
from fleet import Fleet
from load import Visitors
from story import Faulty, Tags, assert_serving

WATCHED: dict[str, object] = {"watch": "foreground", "environment_rollout": {"watch_seconds": 20}}
# From the switch of the first host to the undoing of all: the second host's switch, the watch's first looks, the undo.
BAD_PAGES_SECONDS = 20


def test_a_container_that_exits_at_once_is_refused_with_its_words(fleet: Fleet, good: Good, faulty: Faulty) -> None:
    with Visitors(fleet.url) as visitors:
        run = fleet.deploy(faulty.exits_at_once)
    refused(
        run,
        f"{faulty.exits_at_once} was refused: the container exited with 3",
        "| cannot load the search index: no such file",
        f"Serving now: {good.live} on web1, web2.",
        "Next: ",
    )
    assert run.seconds < 30, "it waited for the deadline, though the container had ended"
    assert_serving(fleet, good.live)
    assert visitors.failed == {}


def test_a_slow_release_just_outside_its_deadline_is_refused(fleet: Fleet, good: Good, faulty: Faulty) -> None:
    impatient = catalogue(web={"health": {"deadline_seconds": 3}})
    with Visitors(fleet.url) as visitors:
        run = fleet.deploy(faulty.slow, services=impatient)
    refused(run, "not healthy within 3 s, last: ", f"Serving now: {good.live} on web1, web2.", "Next: ")
    assert_serving(fleet, good.live)
    assert visitors.failed == {}


def test_a_slow_release_just_inside_its_deadline_is_deployed(fleet: Fleet, good: Good, faulty: Faulty) -> None:
    patient = catalogue(web={"health": {"deadline_seconds": 12}})
    with Visitors(fleet.url) as visitors:
        run = fleet.deploy(faulty.slow, services=patient, force=True)  # refused in the test before
    assert run.ok, run.tail
    assert_serving(fleet, faulty.slow)
    assert visitors.failed == {}
    assert fleet.play("rollback", service="web", tag=good.live).ok


def test_a_release_that_crashes_5_seconds_after_the_switch_undoes_itself(
    fleet: Fleet, good: Good, faulty: Faulty
) -> None:
    with Visitors(fleet.url) as visitors:
        run = fleet.deploy(faulty.crashing, **WATCHED)
    refused(
        run,
        f"web2: {faulty.crashing} got worse after the switch: ",
        "Switched hosts that went back: web1, web2.",
        f"Serving now: {good.live} on web1, web2.",
        "Next: ",
    )
    assert_serving(fleet, good.live)
    assert visitors.failed == {}


def test_it_undoes_itself_when_nobody_waits_any_more(fleet: Fleet, good: Good, faulty: Faulty) -> None:
    with Visitors(fleet.url) as visitors:
        run = fleet.deploy(faulty.crashing, watch="background", force=True)
        assert run.ok, run.tail
        assert "and undone if it gets worse" in run.output
        wait_for(lambda: fleet.serving() == dict.fromkeys(fleet.web_hosts(), good.live))
    assert visitors.failed == {}
    # Its leases last a moment longer than what visitors see of it.
    wait_for(lambda: "is marked bad" in (said := fleet.deploy(faulty.crashing).output) and "got worse" in said)


def test_pages_that_answer_500_are_noticed_and_end_within_seconds(fleet: Fleet, good: Good, faulty: Faulty) -> None:
    with Visitors(fleet.url) as visitors:
        run = fleet.deploy(faulty.broken_pages, **WATCHED)
        served = visitors.answers["200"]
        wait_for(lambda: visitors.answers["200"] > served + 60)
    refused(
        run,
        "requests were answered with a 5xx",
        "Switched hosts that went back: web1, web2.",
        f"Serving now: {good.live} on web1, web2.",
    )
    assert_serving(fleet, good.live)
    assert set(visitors.failed) == {"500"}
    assert visitors.failed_at[-1] - visitors.failed_at[0] < BAD_PAGES_SECONDS


def test_without_undo_the_fleet_stays_and_status_says_how_to_go_on(fleet: Fleet, good: Good, tags: Tags) -> None:
    with Visitors(fleet.url) as visitors:
        run = fleet.deploy(tags.bad_on_web2, undo="false", force=True)
        refused(run, "The fleet is mixed. Next: make status")
        status = fleet.play("status")
        assert f"web is mixed: {tags.bad_on_web2} on web1; {good.live} on web2" in status.output
        assert f"To mend it: make deploy SERVICE=web TAG={good.live}" in status.output
        assert fleet.play("rollback", service="web", tag=good.live).ok
    assert_serving(fleet, good.live)
    assert visitors.failed == {}


def test_two_rollbacks_in_a_row_go_two_releases_back(fleet: Fleet, good: Good, faulty: Faulty) -> None:
    with Visitors(fleet.url) as visitors:
        for tag in (good.other, faulty.slow):
            assert fleet.deploy(tag, force=True).ok
        for tag in (good.other, good.live):
            run = fleet.play("rollback", service="web")
            assert run.ok, run.tail
            assert_serving(fleet, tag)
    assert visitors.failed == {}


def test_a_tag_left_by_a_rollback_is_refused_and_allowed_with_force(fleet: Fleet, good: Good) -> None:
    assert fleet.deploy(good.other, force=True).ok
    assert fleet.play("rollback", service="web").ok
    refused(
        fleet.deploy(good.other),
        f"web {good.other} is marked bad since",
        f"make deploy SERVICE=web TAG={good.other} FORCE=1",
    )
    assert_serving(fleet, good.live)
    with Visitors(fleet.url) as visitors:
        run = fleet.deploy(good.other, force=True)
    assert run.ok, run.tail
    assert_serving(fleet, good.other)
    assert visitors.failed == {}
