"""What each event wants of each sink, pure; and the small parts that sinks are made of."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops_bot.events import Event, Kind, State, Story
from ops_bot.ledger import Backlog
from ops_bot.settings import Settings
from ops_bot.sinks import datadog_text, notices
from ops_bot.sinks.base import RETRY_AFTER_MAX_SECONDS, Bucket, retry_after_seconds
from ops_bot.sinks.circuit import backoff_seconds
from ops_bot.sinks.datadog_text import AGGREGATION_KEY_MAX, TAG_MAX, TEXT_MAX, TITLE_MAX, aggregation_key, tag_value
from ops_bot.sinks.plan import LOUD, TURNS, plan, reply_state

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
EVERYTHING: dict[str, Any] = {"slack_token": "xoxb-fake", "datadog_api_key": "a" * 32, "statsd_host": "127.0.0.1"}


def event(state: State = State.STARTED, kind: Kind = Kind.DEPLOY, **fields: object) -> Event:
    told = {"id": "event-0001", "correlation": "deploy:1", "kind": kind, "state": state, "at": NOW}
    return Event.model_validate(told | {"environment": "production", "service": "web"} | fields)


def wanted(one: Event, **settings: Any) -> set[tuple[str, str, str]]:
    return {(it.sink, it.key, it.lane) for it in plan(one, Settings(**EVERYTHING | settings))}


# The plan.


def test_a_start_is_a_message_an_event_and_a_metric() -> None:
    assert wanted(event()) == {
        ("slack", "deploy:1", "#operations"),
        ("datadog", "event-0001", ""),
        ("metrics", "event-0001", ""),
    }


@pytest.mark.parametrize("state", [State.PROGRESS, State.NOTED])
def test_progress_is_an_edit_and_nothing_else(state: State) -> None:
    assert wanted(event(state)) == {("slack", "deploy:1", "#operations")}


@pytest.mark.parametrize("state", sorted(LOUD))
def test_what_a_person_must_see_is_also_said_aloud(state: State) -> None:
    assert ("slack", f"deploy:1#{state}", "#operations") in wanted(event(state))
    assert reply_state(f"deploy:1#{state}", "deploy:1") == state
    assert reply_state("deploy:1", "deploy:1") is None


@pytest.mark.parametrize("state", sorted(TURNS - LOUD))
def test_nothing_else_makes_a_sound(state: State) -> None:
    assert [key for sink, key, _ in wanted(event(state)) if sink == "slack"] == ["deploy:1"]


def test_without_tokens_nobody_need_be_told() -> None:
    assert plan(event(), Settings()) == [], "the page's feed shows what the ledger holds"


def test_a_build_is_told_of_when_it_fails_and_when_it_works_again() -> None:
    for state in (State.STARTED, State.PROGRESS, State.FINISHED, State.NOTED):
        planned = plan(event(state, Kind.BUILD), Settings(**EVERYTHING))
        assert [it.if_known for it in planned if it.sink == "slack"] == [True]
    assert ("datadog", "event-0001", "") in wanted(event(State.FINISHED, Kind.BUILD))
    assert ("slack", "deploy:1", "#operations") in wanted(event(State.FINISHED, Kind.BUILD, recovered=True))
    assert ("slack", "deploy:1", "#operations") in wanted(event(State.LOST, Kind.BUILD))


ROUTES = [
    {"environment": "production", "severity": "error", "channel": "#incidents"},
    {"kind": "build", "channel": "#builds"},
]


@pytest.mark.parametrize(
    ("one", "lanes"),
    [
        (event(), {"deploy:1": "#operations"}),
        (event(State.FAILED), {"deploy:1": "#operations", "deploy:1#failed": "#incidents"}),
        (event(State.FAILED, environment="staging"), {"deploy:1": "#operations", "deploy:1#failed": "#operations"}),
        (event(State.FAILED, kind=Kind.BUILD), {"deploy:1": "#builds", "deploy:1#failed": "#incidents"}),
        (event(State.NEW, Kind.ERROR), {"deploy:1": "#incidents"}),
        (event(State.RESOLVED, Kind.ERROR), {"deploy:1": "#operations"}),
    ],
)
def test_a_story_stays_where_it_began_and_its_loud_reply_goes_where_failures_go(
    one: Event, lanes: dict[str, str]
) -> None:
    assert {key: lane for sink, key, lane in wanted(one, routes=ROUTES) if sink == "slack"} == lanes


def stuck(sink: str, lane: str = "") -> Event:
    return notices.stuck(sink, lane, NOW, NOW, reason="503", backlog=Backlog(7, None), environment="production")


def over(sink: str, lane: str = "") -> Event:
    later = NOW + timedelta(hours=6)
    return notices.recovered(sink, lane, NOW, later, backlog=Backlog(1, None), environment="production")


def told_in(one: Event) -> set[str]:
    return {sink for sink, _, _ in wanted(one)}


def test_that_a_sink_is_stuck_is_told_in_the_others() -> None:
    assert told_in(stuck("slack")) == {"datadog", "metrics"}
    assert told_in(stuck("datadog")) == {"slack", "metrics"}
    assert told_in(stuck("slack", "#builds")) == {"slack", "datadog", "metrics"}
    assert told_in(stuck("slack", "#operations")) == {"datadog", "metrics"}


@pytest.mark.parametrize("sink", ["slack", "datadog"])
def test_that_it_is_over_is_told_everywhere(sink: str) -> None:
    assert told_in(over(sink)) == {"slack", "datadog", "metrics"}


def test_an_outage_is_one_story_however_often_it_is_said() -> None:
    assert stuck("slack").id == stuck("slack").id == notices.stuck_id("slack", "", NOW)
    assert stuck("slack").correlation == over("slack").correlation != stuck("slack", "#builds").correlation
    story = Story.of([stuck("slack"), over("slack")])
    assert (story.state, story.title) == (State.FINISHED, "Slack is back after 6 h: 1 message to follow")


# Retry-After.


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30),
        ("3600", 3600),
        (" 7 ", 7),
        ("1.5", 1.5),
        ("0", 1),
        (None, None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("nan", None),
        ("inf", RETRY_AFTER_MAX_SECONDS),
        ("9" * 400, RETRY_AFTER_MAX_SECONDS),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), None),
        ("Sat, 99 Nov 2026 03:00:00 GMT", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, NOW) == seconds


@settings(deadline=None)  # a machine that is busy fails nothing
@given(st.text())
def test_retry_after_of_anything_is_a_wait_one_can_live_with(header: str) -> None:
    seconds = retry_after_seconds(header, NOW)
    assert seconds is None or 1 <= seconds <= RETRY_AFTER_MAX_SECONDS


# Paces.


@settings(deadline=None)
@given(st.lists(st.floats(0, 5), min_size=1, max_size=60), st.sampled_from([(1.0, 1), (0.75, 5), (20.0, 20)]))
def test_a_pace_is_kept_over_any_span(pauses: list[float], pace: tuple[float, int]) -> None:
    per_second, burst = pace
    bucket, now, taken = Bucket(per_second, burst), NOW, list[datetime]()
    for pause in pauses:
        now += timedelta(seconds=pause)
        if wait := bucket.wait_seconds(now):
            now += timedelta(seconds=wait, microseconds=1)
        assert bucket.wait_seconds(now) == 0, "what was asked for is enough"
        bucket.take(now)
        taken.append(now)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            span = (taken[last] - taken[first]).total_seconds()
            assert last - first + 1 <= burst + span * per_second + 1e-3


def test_a_clock_set_back_does_not_stop_a_pace() -> None:
    bucket = Bucket(1)
    bucket.take(NOW)
    assert bucket.wait_seconds(NOW - timedelta(hours=1)) <= 1


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_backoff_grows_to_its_limit(failures: int) -> None:
    assert 1 <= backoff_seconds(failures, 1, 60) <= backoff_seconds(failures + 1, 1, 60) <= 60


# Datadog's texts.


@settings(deadline=None)
@given(st.text(max_size=300))
def test_a_tag_value_is_one_that_datadog_keeps_as_it_is(text: str) -> None:
    value = tag_value(text)
    assert len(value) <= TAG_MAX - 20
    assert value == value.lower()
    assert not set(value) - set("abcdefghijklmnopqrstuvwxyz0123456789_.-/:")
    assert tag_value(value) == value


NEARLY_THE_SAME = st.text("aA_ :é", max_size=6) | st.text("aA", min_size=155, max_size=165)


@settings(deadline=None)
@given(NEARLY_THE_SAME, NEARLY_THE_SAME)
def test_different_things_have_different_tags(one: str, other: str) -> None:
    assert (tag_value(one) == tag_value(other)) == (one == other)


@settings(deadline=None)
@given(st.text(min_size=1, max_size=200))
def test_an_aggregation_key_fits(correlation: str) -> None:
    assert len(aggregation_key(correlation)) <= AGGREGATION_KEY_MAX


@settings(deadline=None)
@given(
    log=st.text(max_size=6_000),
    reason=st.text(max_size=500),
    title=st.text(max_size=2_000),
    hosts=st.lists(st.text(max_size=200), max_size=40),
    late=st.booleans(),
    simple=st.booleans(),
)
def test_whatever_is_said_datadog_takes_it(  # noqa: PLR0917
    log: str, reason: str, title: str, hosts: list[str], late: bool, simple: bool
) -> None:
    story = Story.of(
        [event(State.FAILED, log_tail=log, reason=reason, hosts=[{"name": host, "message": host} for host in hosts])]
    )
    body = datadog_text.body(story, "event-0001", NOW, title=title, page="https://ops", late=late, simple=simple)
    assert len(body["title"]) <= TITLE_MAX
    assert 0 < len(body["text"]) <= TEXT_MAX
    assert ("occurred_at: 2026-11-21T03:00:00+00:00" in body["text"]) == late
    assert ("late:true" in body["tags"]) == late
    if not simple:
        assert body["text"].startswith("%%% \n")
        assert body["text"].endswith("\n %%%")
    json.dumps(body).encode()


@pytest.mark.parametrize(
    ("one", "alert_type"),
    [
        (event(), "info"),
        (event(State.FINISHED), "success"),
        (event(State.FAILED), "error"),
        (event(State.LOST), "error"),
        (event(State.NEW, Kind.ERROR), "error"),
        (event(State.RESOLVED, Kind.ERROR), "success"),
        (event(kind=Kind.ROLLBACK), "warning"),
        (event(forced=True), "warning"),
        (stuck("slack"), "warning"),
        (over("slack"), "success"),
    ],
)
def test_the_alert_type_says_how_bad_it_is(one: Event, alert_type: str) -> None:
    body = datadog_text.body(Story.of([one]), one.id, NOW, title="t", page="p", late=False, simple=False)
    assert body["alert_type"] == alert_type
