"""Datadog's side of the fault list: every turn of every story is in the event stream, once, however it answers."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from datadog import api
from datadog.api.api_client import APIClient
from fakes.clock import START
from fakes.datadog import EMPTY_429, EMPTY_OBJECT_429, FORBIDDEN_HTML, TOO_FAR_IN_THE_PAST, TOO_LARGE
from fakes.server import (
    ACCEPT_THEN_HANG,
    ACCEPT_THEN_RESET,
    BLACKHOLE,
    GZIP_LIE,
    HTML_PAGE,
    NO_CONTENT,
    RESET,
    TRUNCATED_JSON,
    Fault,
    says,
    status,
)
from fakes.world import HOUR, World

from ops_bot.events import State

EVENTS = "/events"


FAULTS = {
    "reset": RESET,
    "accepted, then reset": ACCEPT_THEN_RESET,
    "accepted, answer lost on the way": Fault(accept=True, status=202, body=b""),
    "accepted, 500": Fault(accept=True, status=500, body=b""),
    "accepted, broken JSON": Fault(accept=True, status=202, body=b'{"status": "ok", "ev'),
    "accepted, no id": says({"status": "ok"}, status=202, accept=True),
    "accepted, errors": says({"errors": ["later, maybe"]}, status=202, accept=True),
    "accepted, true": says(True, status=202, accept=True),
    "200 with a page": HTML_PAGE,
    "200 with half a JSON": TRUNCATED_JSON,
    "200 that says gzip and is not": GZIP_LIE,
    "200 with {}": says({}),
    "202 that is not ok": says({"status": "error", "event": {"id": 7}}, status=202),
    "204": NO_CONTENT,
    "400 with no reason": status(400),
    "400 too far in the past": TOO_FAR_IN_THE_PAST,
    "403": says({"errors": ["Forbidden"]}, status=403),
    "403 with a page": FORBIDDEN_HTML,
    "404": status(404),
    "408": status(408),
    "413": TOO_LARGE,
    "429 with nothing": EMPTY_429,
    "429 with {}": EMPTY_OBJECT_429,
    "429 with errors": says({"errors": ["Rate limit"]}, status=429, X_RateLimit_Reset="9"),
    "302 to a page": status(302, Location="https://login.example.com/"),
    "307 to a page": status(307, Location="https://login.example.com/"),
    "418": status(418),
    "500": status(500),
    "503": status(503),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_broken_answer_loses_nothing_and_doubles_nothing(world: World, fault: Fault) -> None:
    world.datadog.fail(fault, on=EVENTS)
    world.deploy()
    world.catch_up()
    world.assert_told()


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_broken_answer_while_looking_loses_nothing_and_doubles_nothing(world: World, fault: Fault) -> None:
    world.datadog.fail(ACCEPT_THEN_RESET, fault, on=EVENTS)
    world.deploy()
    world.catch_up()
    world.assert_told()


def test_every_second_answer_is_lost(world: World) -> None:
    numbers = iter(range(10_000))
    world.datadog.outage = lambda _: ACCEPT_THEN_RESET if next(numbers) % 2 else None
    for number in range(8):
        world.deploy(number, seconds=2)
    world.catch_up()
    world.assert_told()


@pytest.mark.parametrize(
    "fault",
    [BLACKHOLE, ACCEPT_THEN_HANG, Fault(accept=True, body=None, crumb_seconds=0.05)],
    ids=["blackhole", "accepted, then silence", "an answer in crumbs"],
)
def test_silence_is_a_failure_like_any_other(world: World, fault: Fault) -> None:
    world.timeout_seconds, world.deadline_seconds = 0.1, 0.25
    world.crash()
    world.datadog.fail(fault, on=EVENTS)
    world.deploy()
    world.catch_up()
    world.assert_told()


def test_five_timeouts_do_not_silence_the_library(world: World) -> None:
    world.timeout_seconds = 0.05
    world.crash()
    world.datadog.fail(*[BLACKHOLE] * 5, on=EVENTS)
    world.tell()
    began = world.clock.now
    world.catch_up()
    world.assert_told()
    assert world.clock.now - began < timedelta(seconds=200), "its own pause is 300 s, in real time"
    assert APIClient._timeout_counter == 0


def test_what_was_taken_is_found_once_it_can_be_searched_for(world: World) -> None:
    world.datadog.index_seconds = 20
    world.datadog.fail(ACCEPT_THEN_RESET, on=EVENTS)
    world.deploy()
    world.catch_up()
    world.assert_told()


def test_without_the_key_to_search_the_second_one_says_whose_it_is(tmp_path: Path) -> None:
    with World(tmp_path, datadog_app_key=None) as world:
        event = world.tell()
        world.datadog.fail(ACCEPT_THEN_RESET, on=EVENTS)
        world.catch_up()
        first, second = world.datadog.seen()
        assert first.tag("event_id") == second.tag("event_id") == event.id
        assert first.aggregation_key == second.aggregation_key == "deploy:1"


def test_429_waits_until_the_period_begins_anew(world: World) -> None:
    began = world.clock.now
    world.datadog.fail(says({"errors": ["Rate limit"]}, status=429, X_RateLimit_Reset="55"), on=EVENTS)
    world.tell()
    world.catch_up()
    times = [request.at for request in world.datadog.requests]
    assert 55 <= (times[1] - began).total_seconds() < 60
    world.assert_told()


def test_a_key_taken_away_pauses_datadog_and_is_said_in_slack(world: World) -> None:
    world.deploy(1)
    world.datadog.revoked = True
    world.deploy(2)
    world.run(30)
    assert world.ledger.sink_state("datadog").state == "paused"
    assert "OPS_BOT_DATADOG_API_KEY" in world.ledger.sink_state("datadog").reason
    assert [seen for seen in world.slack.seen() if "Datadog takes nothing" in seen.text]
    assert [seen.state for seen in world.slack.seen() if seen.key == "deploy:2"] == ["finished"], "Slack goes on"
    world.datadog.revoked = False
    world.catch_up()
    world.assert_told()


# Time.


@pytest.mark.parametrize(("hours", "late"), [(0, False), (16.9, False), (17.1, True), (18.5, True), (2_000, True)])
def test_what_datadog_would_call_too_old_is_filed_under_now(world: World, hours: float, late: bool) -> None:
    happened = world.clock.now - timedelta(hours=hours)
    world.tell(at=happened)
    world.catch_up()
    [seen] = world.datadog.seen()
    assert (seen.tag("late") == "true") == late
    assert (f"occurred_at: {happened.isoformat(timespec='seconds')}" in seen.text) == late
    filed = datetime.fromtimestamp(seen.date_happened, UTC)
    assert filed == (START if late else happened)
    world.assert_told()


def test_a_clock_of_theirs_that_runs_ahead_is_met(world: World) -> None:
    ours = world.clock

    def ahead() -> datetime:
        return ours.now + timedelta(hours=2)

    world.datadog.clock = ahead
    world.tell(at=world.clock.now - timedelta(hours=16.5))
    world.catch_up()
    [seen] = world.datadog.seen()
    assert seen.tag("late") == "true"
    world.assert_told()


def test_what_was_sent_before_the_clock_was_set_back_is_found(world: World) -> None:
    world.datadog.fail(ACCEPT_THEN_RESET, on=EVENTS)
    world.tell()
    world.run(1)
    world.clock.advance(-5 * HOUR)
    world.catch_up()
    world.assert_told()


# What is said.


def test_an_event_is_complete(world: World) -> None:
    world.tell("deploy:1", revision="a1b2c3d", cause="git push")
    world.run(1)
    world.tell(
        "deploy:1",
        State.FAILED,
        error="health check",
        step="switch",
        failed_host="web2",
        log_tail="boom ``` %%% boom",
        hosts=[{"name": "web1", "tag": "v64"}, {"name": "web2", "tag": "v64"}],
        undone=True,
    )
    world.catch_up()
    started, failed = sorted(world.datadog.seen(), key=lambda seen: seen.tag("state"), reverse=True)
    assert (started.alert_type, failed.alert_type) == ("info", "error")
    assert (failed.tag("env"), failed.tag("service"), failed.tag("version")) == ("staging", "web", "v65")
    assert failed.tag("git.commit.sha") == "a1b2c3d"
    assert started.aggregation_key == failed.aggregation_key == "deploy:1"
    assert "failed" in failed.title
    assert "web2" in failed.text
    assert failed.text.startswith("%%% \n")
    assert failed.text.count("```") == 2, "a fence in the log does not end ours"
    world.assert_told()


def test_a_story_is_told_as_it_stood_at_each_turn(world: World) -> None:
    world.datadog.revoked = True
    world.deploy()
    world.run(HOUR)
    world.datadog.revoked = False
    world.catch_up()
    states = {seen.tag("state"): seen.title for seen in world.datadog.seen() if seen.aggregation_key == "deploy:1"}
    assert set(states) == {"started", "finished"}
    assert states["started"] != states["finished"]
    world.assert_told()


@pytest.mark.parametrize("length", [500, 40_000])
def test_long_and_strange_text_is_taken(world: World, length: int) -> None:
    strange = "ключ 🔑 \u202e` %%% <!channel> \\ \x00 " * (length // 30)
    world.tell(correlation="deploy:" + "ä" * 150, id="Ünique-ID-" + "x" * 150, reason=strange[:500], log_tail=strange)
    world.catch_up()
    world.assert_told()


def test_what_is_too_large_is_said_short(world: World) -> None:
    world.datadog.body_bytes_max = 1_000
    world.tell(log_tail="x" * 3_000, state=State.FAILED)
    world.catch_up()
    [seen] = world.datadog.seen()
    assert "failed" in seen.title
    world.assert_told()


def test_what_is_never_taken_is_parked_and_said_in_slack(world: World) -> None:
    world.datadog.outage = lambda request: status(400) if "v666" in str(request.values) else None
    world.tell("deploy:1", tag="v666")
    world.tell("deploy:2")
    world.run(HOUR)
    assert world.ledger.counts()["parked"] == 1
    assert [seen for seen in world.slack.seen() if "refused a message for good" in seen.text]
    assert "deploy:2" in {seen.aggregation_key for seen in world.datadog.seen()}


def test_asked_for_again_only_what_is_missing_is_sent(world: World) -> None:
    world.deploy()
    world.catch_up()
    with world.datadog.lock:
        del world.datadog._events[0]  # taken with 202, and lost behind it
    world.ledger.replay("deploy:1", "datadog")
    world.catch_up()
    world.assert_told()


# Traps of the library.


def test_the_library_raises_what_it_would_hide(world: World) -> None:
    world.tell()
    world.catch_up()
    assert api._mute is False
    assert api._max_retries == 0


def test_a_title_that_cannot_be_rendered_is_told_all_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> str:
        raise RuntimeError("a template is wrong")

    monkeypatch.setattr("ops_bot.sinks.datadog.headline", broken)
    monkeypatch.setattr("ops_bot.sinks.slack.render", broken)
    world.deploy()
    world.catch_up()
    world.assert_told()
    assert "staging · web · v65" in world.slack.seen()[0].text


def test_hours_with_both_keys_wrong_cost_few_requests(world: World) -> None:
    world.datadog.revoked = world.slack.revoked = True
    world.tell()
    world.run(2 * HOUR)
    assert len(world.datadog.requests) < 70
    assert len(world.slack.requests) < 70
    world.datadog.revoked = world.slack.revoked = False
    world.catch_up()
    world.assert_told()
