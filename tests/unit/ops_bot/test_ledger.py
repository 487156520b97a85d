"""The ledger: nothing lost, nothing twice. tests/ops_bot runs all of this against PostgreSQL too."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes.clock import START, Clock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops_bot.events import Commit, Event, HostState, Kind, State, Story
from ops_bot.ledger import Delivery, Ledger, SinkState, Wanted

MINUTE = timedelta(minutes=1)


def event(correlation: str = "deploy:1", state: State = State.STARTED, sequence: int = 0, **fields: object) -> Event:
    """An event whose id says which it is, so that a test can send it again."""
    told = {
        "id": f"{correlation}/{state}/{sequence}",
        "kind": Kind.DEPLOY,
        "at": START + sequence * timedelta(seconds=1),
        "environment": "staging",
        "service": "web",
    }
    return Event.model_validate(told | {"correlation": correlation, "state": state, "sequence": sequence} | fields)


def plan(one: Event) -> Sequence[Wanted]:
    return [
        Wanted("slack", one.correlation, one.correlation, lane="#operations"),
        Wanted("datadog", one.id, one.correlation),
    ]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def open_ledger(ledger_url: str, clock: Clock) -> Iterator[Callable[[], Ledger]]:
    opened: list[Ledger] = []

    def again() -> Ledger:
        opened.append(Ledger.open(ledger_url, clock=clock, plan=plan))
        return opened[-1]

    yield again
    for one in opened:
        one.close()


@pytest.fixture
def ledger(open_ledger: Callable[[], Ledger]) -> Ledger:
    return open_ledger()


def slack(ledger: Ledger, now: datetime = START) -> list[Delivery]:
    return ledger.due("slack", now)


# What happened.


def test_an_event_is_kept_as_it_was_told(ledger: Ledger) -> None:
    told = event(tag="v2", colour="a field of a newer sender", hosts=[{"name": "web1", "tag": "v1", "rack": 7}])
    [recorded] = ledger.record([told])
    assert not recorded.duplicate
    [kept] = ledger.events("deploy:1")
    assert kept == told
    assert (kept.model_extra, kept.hosts[0].model_extra) == ({"colour": "a field of a newer sender"}, {"rack": 7})
    assert ledger.event(told.id) == told
    assert ledger.event("another") is None


def test_an_event_without_an_id_keeps_the_one_it_was_given(ledger: Ledger) -> None:
    told = Event(correlation="build:1", kind=Kind.BUILD, state=State.STARTED, at=START)
    ledger.record([told])
    assert ledger.events("build:1")[0].id == told.id
    assert ledger.record([told])[0].duplicate


def test_the_same_id_again_is_a_duplicate_and_changes_nothing(ledger: Ledger) -> None:
    [first] = ledger.record([event(tag="v2")])
    story = ledger.story("deploy:1")
    first_of_two, second_of_two = ledger.record([event(tag="v3"), event(tag="v3")])
    assert (first_of_two.duplicate, second_of_two.duplicate) == (True, True)
    assert first_of_two.row == first.row
    assert ledger.story("deploy:1") == story
    assert ledger.counts()["events"] == 1


def test_twice_in_one_request_counts_once(ledger: Ledger) -> None:
    first, second = ledger.record([event(), event()])
    assert (first.duplicate, second.duplicate, first.row) == (False, True, second.row)
    assert ledger.counts()["events"] == 1


def test_all_of_a_batch_or_none(ledger: Ledger) -> None:
    class Broken(RuntimeError):
        pass

    def broken_plan(one: Event) -> Sequence[Wanted]:
        if one.sequence == 2:
            raise Broken
        return plan(one)

    ledger._plan = broken_plan
    with pytest.raises(Broken):
        ledger.record([event(sequence=1), event(sequence=2)])
    assert ledger.counts() == {"events": 0, "stories": 0, "waiting": 0, "parked": 0, "quarantined": 0}


def test_rows_count_up_and_are_never_given_again(ledger: Ledger) -> None:
    before = ledger.record([event("deploy:1"), event("deploy:2"), event("deploy:3")])
    assert [one.row for one in before] == sorted({one.row for one in before})
    for delivery in slack(ledger) + ledger.due("datadog", START):
        ledger.settle(delivery, delivery.wanted, None)
    assert ledger.prune(START + MINUTE) == 3
    assert ledger.record([event("deploy:4")])[0].row > before[-1].row


def test_a_large_batch(ledger: Ledger) -> None:
    batch = [event(f"deploy:{number}", sequence=turn) for number in range(40) for turn in range(30)]
    assert not any(one.duplicate for one in ledger.record(batch))
    assert all(one.duplicate for one in ledger.record(batch))
    assert ledger.counts()["events"] == 1200


def test_what_is_recorded_is_there_after_a_restart(open_ledger: Callable[[], Ledger]) -> None:
    first = open_ledger()
    first.record([event()])
    first.close()
    again = open_ledger()
    assert again.story("deploy:1") is not None
    assert len(slack(again)) == 1


# Stories.

STATES = st.sampled_from([State.STARTED, State.PROGRESS, State.NOTED, State.FINISHED, State.FAILED, State.LOST])
TOLD = st.lists(
    st.tuples(STATES, st.integers(0, 5), st.sampled_from(["", "v1", "v2"]), st.sampled_from(["web1", "web2"])),
    min_size=1,
    max_size=8,
)


@given(told=TOLD, cuts=st.lists(st.integers(1, 3), min_size=8, max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_story_told_bit_by_bit_is_the_story_told_at_once(
    ledger: Ledger, told: list[tuple[State, int, str, str]], cuts: list[int]
) -> None:
    number = next(_numbers)
    events = [
        event(
            f"deploy:{number}", state, sequence, tag=tag, hosts=[{"name": host, "tag": tag}], id=f"{number}/{place:06}"
        )
        for place, (state, sequence, tag, host) in enumerate(told)
    ]
    rest = list(events)
    for cut in cuts:
        ledger.record(rest[:cut])
        rest = rest[cut:]
    assert ledger.story(f"deploy:{number}") == Story.of(ledger.events(f"deploy:{number}"))


_numbers = itertools.count(1000)


def test_what_came_late_takes_its_place(ledger: Ledger) -> None:
    ledger.record([event(state=State.FINISHED, sequence=3, hosts=[HostState(name="web1", tag="v2")])])
    ledger.record([event(state=State.PROGRESS, sequence=2, hosts=[HostState(name="web1", tag="v1")], actor="ann")])
    story = ledger.story("deploy:1")
    assert story is not None
    assert (story.state, story.serving, story.actor, story.updates) == (State.FINISHED, {"v2": ["web1"]}, "ann", 2)


def test_a_story_nobody_told(ledger: Ledger) -> None:
    assert ledger.story("deploy:1") is None
    assert ledger.events("deploy:1") == []
    assert ledger.stories() == []


def test_stories_are_found_by_what_they_are_about(ledger: Ledger) -> None:
    ledger.record(
        [
            event("deploy:1", sequence=1),
            event("deploy:2", sequence=2, environment="production"),
            event("build:3", sequence=3, kind=Kind.BUILD, service=""),
            event("deploy:4", State.FINISHED, sequence=4, service="eval_worker"),
        ]
    )

    def found(**wanted: object) -> list[str]:
        return [story.correlation for story in ledger.stories(**wanted)]  # type: ignore[arg-type]

    assert found() == ["deploy:4", "build:3", "deploy:2", "deploy:1"]
    assert found(environment="staging") == ["deploy:4", "build:3", "deploy:1"]
    assert found(service="web") == ["deploy:2", "deploy:1"]
    assert found(kind=Kind.BUILD) == ["build:3"]
    assert found(environment="staging", service="web", kind=Kind.DEPLOY) == ["deploy:1"]
    assert found(since=START + timedelta(seconds=3)) == ["deploy:4", "build:3"]
    assert found(unfinished=True) == ["build:3", "deploy:2", "deploy:1"]
    assert found(limit=1) == ["deploy:4"]
    assert ledger.services() == [("production", "web"), ("staging", "eval_worker"), ("staging", "web")]


def test_what_starts_says_how_long_it_usually_takes(ledger: Ledger) -> None:
    def deploy(number: int, seconds: float, **fields: object) -> None:
        name = f"deploy:{number}"
        ended = event(name, State.FINISHED, 1, duration_seconds=seconds).model_copy(update=fields)
        ledger.record([event(name), ended])

    def said(name: str, **fields: Any) -> float | None:
        ledger.record([event(name, **fields)])
        story = ledger.story(name)
        assert story is not None
        return story.expected_seconds

    deploy(1, 4.0)
    deploy(2, 6.0)
    assert said("deploy:early") is None, "two are no habit"
    deploy(3, 900.0)
    deploy(4, 1.0, state=State.FAILED)
    assert said("deploy:now") == 6.0, "the median; what failed says nothing"
    assert said("deploy:known", expected_seconds=7) == 7
    assert said("deploy:elsewhere", environment="production") is None
    assert said("rollback:1", kind=Kind.ROLLBACK) is None


def test_a_rollout_says_which_commits_it_brings_or_takes_away(ledger: Ledger) -> None:
    def build(tag: str, *revisions: str, image: str = "web") -> None:
        commits = [Commit(revision=revision, subject=f"change {revision}") for revision in revisions]
        name = f"build:{image}:{tag}"
        told = {"kind": Kind.BUILD, "image": image, "tag": tag, "commits": commits}
        ledger.record([event(name, State.FINISHED, 1, **told)])

    def said(name: str, kind: Kind, before: str, after: str, **fields: Any) -> list[str]:
        ledger.record([event(name, kind=kind, tag=after, image="web")])
        ledger.record([event(name, State.PROGRESS, 1, kind=kind, from_tag=before, image="web", **fields)])
        story = ledger.story(name)
        assert story is not None
        return [commit.revision for commit in story.commits]

    build("v1", "a")
    build("v2", "c", "b", "a")
    build("v2", "x", image="eval_worker")
    build("v9", "z", "y")
    assert said("deploy:1", Kind.DEPLOY, "v1", "v2") == ["c", "b"]
    assert said("rollback:1", Kind.ROLLBACK, "v2", "v1") == ["c", "b"], "no longer live"
    assert said("deploy:2", Kind.DEPLOY, "v2", "v9") == ["z", "y"], "too far apart to share any"
    assert said("deploy:3", Kind.DEPLOY, "v2", "v2") == []
    assert said("deploy:4", Kind.DEPLOY, "v1", "v8") == [], "nobody told of that build"
    assert said("deploy:5", Kind.DEPLOY, "v1", "v2", commits=[Commit(revision="own")]) == ["own"]


def test_a_build_that_goes_well_after_one_that_did_not_says_so(ledger: Ledger) -> None:
    def said(number: int, state: State, image: str = "web") -> bool | None:
        ledger.record([event(f"build:{number}", state, number, kind=Kind.BUILD, image=image)])
        story = ledger.story(f"build:{number}")
        assert story is not None
        return story.recovered

    assert said(1, State.FINISHED) is False, "the first of all"
    assert said(2, State.FAILED) is None
    assert said(3, State.FINISHED, image="eval_worker") is False, "another image"
    assert said(4, State.FINISHED) is True
    assert said(5, State.FINISHED) is False
    assert said(6, State.LOST) is None
    assert said(6, State.FINISHED) is True, "it was reported lost itself"
    two = [
        event(f"build:{number}", state, number, kind=Kind.BUILD, image="web")
        for number, state in ((7, State.FAILED), (8, State.FINISHED))
    ]
    ledger.record(two)
    story = ledger.story("build:8")
    assert story is not None
    assert story.recovered, "also when both come at once"


def test_pages_hold_every_story_once_even_those_of_one_moment(ledger: Ledger) -> None:
    ledger.record([event(f"deploy:{number:02}", at=START + (number // 4) * MINUTE) for number in range(10)])
    seen: list[str] = []
    before = None
    while page := ledger.stories(limit=3, before=before):
        seen += [story.correlation for story in page]
        before = (page[-1].last_at, page[-1].correlation)
    assert seen == [f"deploy:{number:02}" for number in reversed(range(10))]


def test_what_is_old_is_forgotten_but_not_what_a_sink_waits_for(ledger: Ledger) -> None:
    ledger.record([event("deploy:old"), event("deploy:owed"), event("deploy:new", at=START + MINUTE)])
    for delivery in slack(ledger) + ledger.due("datadog", START):
        if delivery.correlation != "deploy:owed":
            ledger.settle(delivery, delivery.wanted, None)
    assert ledger.prune(START + MINUTE) == 1
    assert [story.correlation for story in ledger.stories()] == ["deploy:new", "deploy:owed"]
    assert ledger.events("deploy:old") == []
    assert ledger.deliveries(correlation="deploy:old") == []
    assert ledger.counts() == {"events": 2, "stories": 2, "waiting": 2, "parked": 0, "quarantined": 0}


def test_more_is_forgotten_than_one_transaction_takes(ledger: Ledger) -> None:
    ledger._plan = lambda _one: []
    ledger.record([event(f"deploy:{number}") for number in range(450)])
    assert ledger.prune(START + MINUTE) == 450
    assert ledger.counts()["stories"] == 0


def test_two_writers_at_once_lose_nothing(open_ledger: Callable[[], Ledger]) -> None:
    ledgers = [open_ledger(), open_ledger()]
    rows: list[int] = []

    def write(number: int) -> None:
        for turn in range(40):
            mine = event(f"deploy:{turn}", sequence=number, id=f"writer-{number}-{turn}")
            both = event(f"deploy:{turn}", sequence=7, id=f"both-of-{turn}")
            rows.extend(one.row for one in ledgers[number].record([mine, both]) if not one.duplicate)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert ledgers[0].counts()["events"] == 120
    assert len(set(rows)) == len(rows) == 120
    assert {story.updates for story in ledgers[0].stories()} == {3}


# Deliveries.


def test_one_thing_to_show_however_many_events(ledger: Ledger) -> None:
    for sequence in range(5):
        ledger.record([event(sequence=sequence)])
    [delivery] = slack(ledger)
    assert (delivery.key, delivery.lane, delivery.shown, delivery.ref) == ("deploy:1", "#operations", 0, None)
    assert delivery.wanted == ledger.record([event(sequence=4)])[0].row
    assert len(ledger.due("datadog", START)) == 5


def test_the_newest_state_comes_first(ledger: Ledger) -> None:
    ledger.record([event("deploy:1"), event("deploy:2"), event("deploy:3")])
    ledger.record([event("deploy:1", State.FINISHED, 1)])
    assert [delivery.key for delivery in slack(ledger)] == ["deploy:1", "deploy:3", "deploy:2"]
    assert [delivery.key for delivery in ledger.due("slack", START, limit=1)] == ["deploy:1"]


def test_a_delivery_that_is_settled_waits_no_more(ledger: Ledger) -> None:
    ledger.record([event()])
    [delivery] = slack(ledger)
    ledger.begin(delivery, START)
    ledger.settle(delivery, delivery.wanted, {"ts": "17.0001", "channel": "C1"})
    assert slack(ledger) == []
    assert ledger.next_due("slack") is None
    [kept] = [one for one in ledger.deliveries(correlation="deploy:1") if one.sink == "slack"]
    assert (kept.shown, kept.ref) == (delivery.wanted, {"ts": "17.0001", "channel": "C1"})
    assert (kept.attempts, kept.attempt_started) == (0, None)


def test_what_came_while_it_was_sent_waits_on_and_knows_the_message(ledger: Ledger, clock: Clock) -> None:
    ledger.record([event()])
    [delivery] = slack(ledger)
    ledger.begin(delivery, START)
    ledger.record([event(state=State.FINISHED, sequence=1)])
    clock.now = START + MINUTE
    ledger.settle(delivery, delivery.wanted, {"ts": "1"})
    [again] = slack(ledger, clock.now)
    assert again.shown == delivery.wanted < again.wanted
    assert again.ref == {"ts": "1"}
    assert again.waiting_since == clock.now


def test_what_was_begun_and_not_settled_is_in_doubt_after_a_crash(open_ledger: Callable[[], Ledger]) -> None:
    first = open_ledger()
    first.record([event()])
    [delivery] = slack(first)
    assert delivery.attempt_started is None
    first.begin(delivery, START + MINUTE)
    [again] = slack(open_ledger(), START + 2 * MINUTE)
    assert (again.attempt_started, again.attempts) == (START + MINUTE, 1)


def test_a_certain_failure_leaves_no_doubt(ledger: Ledger) -> None:
    ledger.record([event()])
    [delivery] = slack(ledger)
    ledger.begin(delivery, START)
    ledger.retry(delivery, START + MINUTE, "429")
    assert slack(ledger, START + MINUTE - timedelta(microseconds=1)) == []
    assert ledger.next_due("slack") == START + MINUTE
    [again] = slack(ledger, START + MINUTE)
    assert (again.attempts, again.attempt_started, again.error) == (1, None, "429")


def test_a_doubt_outlives_a_failure_to_look(ledger: Ledger) -> None:
    ledger.record([event()])
    [delivery] = slack(ledger)
    ledger.begin(delivery, START)
    ledger.ambiguous(delivery, START + MINUTE, "reset by peer")
    [doubted] = slack(ledger, START + MINUTE)
    ledger.begin(doubted, START + MINUTE)
    ledger.retry(doubted, START + 2 * MINUTE, "429 to the question")
    [again] = slack(ledger, START + 2 * MINUTE)
    assert (again.attempt_started, again.attempts) == (START, 2), "look from the first attempt on"


def test_a_newer_state_waits_as_long_as_the_older_had_to(ledger: Ledger) -> None:
    ledger.record([event()])
    [delivery] = slack(ledger)
    ledger.begin(delivery, START)
    ledger.ambiguous(delivery, START + MINUTE, "timeout")
    ledger.record([event(state=State.FINISHED, sequence=1)])
    assert slack(ledger) == []
    [again] = slack(ledger, START + MINUTE)
    assert (again.attempts, again.attempt_started) == (1, START)


def test_what_is_parked_waits_no_more_until_a_newer_state_comes(ledger: Ledger) -> None:
    ledger.record([event()])
    [delivery] = slack(ledger)
    ledger.begin(delivery, START)
    ledger.park(delivery, "invalid_blocks")
    assert slack(ledger) == []
    [parked] = ledger.deliveries(sink="slack")
    assert (parked.parked, parked.error) == (True, "invalid_blocks")
    assert (ledger.backlog("slack").count, ledger.backlog("slack").parked) == (0, 1)
    ledger.record([event(state=State.FINISHED, sequence=1)])
    [again] = slack(ledger)
    assert (again.attempts, again.parked) == (0, False)


def test_a_replay_wants_everything_of_one_story_again(ledger: Ledger, clock: Clock) -> None:
    ledger.record([event("deploy:1"), event("deploy:2")])
    for delivery in slack(ledger) + ledger.due("datadog", START):
        ledger.settle(delivery, delivery.wanted, {"id": delivery.key})
    assert ledger.replay("deploy:1", "slack") == 1
    assert [delivery.key for delivery in slack(ledger)] == ["deploy:1"]
    assert ledger.due("datadog", START) == []
    assert ledger.replay("deploy:1") == 2
    assert [(one.key, one.ref) for one in ledger.due("datadog", clock())] == [
        ("deploy:1/started/0", {"id": "deploy:1/started/0"})
    ]
    assert ledger.replay("deploy:none") == 0


def test_the_backlog_is_as_old_as_what_waits_longest(ledger: Ledger, clock: Clock) -> None:
    assert (ledger.backlog("slack").count, ledger.backlog("slack").oldest) == (0, None)
    ledger.record([event("deploy:1")])
    clock.now = START + MINUTE
    ledger.record([event("deploy:1", sequence=1), event("deploy:2")])
    clock.now = START + 3 * MINUTE
    backlog = ledger.backlog("slack")
    assert (backlog.count, backlog.oldest) == (2, 3 * MINUTE)


def test_who_sends_is_told_when_something_is_wanted(ledger: Ledger) -> None:
    told: list[str] = []
    ledger.subscribe(lambda: told.append("wanted"))
    ledger.record([event()])
    ledger.record([event()])
    assert told == ["wanted"], "a duplicate is nothing to wake up for"
    ledger.replay("deploy:1")
    assert told == ["wanted", "wanted"]


# Sinks.


def test_the_state_of_a_sink_outlives_the_process(open_ledger: Callable[[], Ledger], clock: Clock) -> None:
    first = open_ledger()
    assert first.sink_state("slack") == SinkState()
    first.set_sink_state("slack", "slow", "503", START + MINUTE)
    clock.now = START + MINUTE
    first.set_sink_state("slack", "slow", "503 again", START + 2 * MINUTE)
    assert open_ledger().sink_state("slack") == SinkState("slow", "503 again", START, START + 2 * MINUTE)
    first.set_sink_state("slack", "paused", "token_revoked")
    assert first.sink_state("slack") == SinkState("paused", "token_revoked", START, None)


def test_of_two_one_leads(open_ledger: Callable[[], Ledger], clock: Clock) -> None:
    ann, bob = open_ledger(), open_ledger()
    ann.set_sink_state("slack", "slow", "503")
    assert ann.lead("slack", "ann", START, 30)
    assert not bob.lead("slack", "bob", START, 30)
    assert bob.lead("datadog", "bob", START, 30), "each sink has its own"
    assert ann.lead("slack", "ann", START + timedelta(seconds=20), 30)
    clock.now = START + timedelta(seconds=49)
    assert not bob.lead("slack", "bob", clock.now, 30)
    assert bob.leader("slack") == "ann"
    clock.now = START + timedelta(seconds=50)
    assert bob.leader("slack") == ""
    assert bob.lead("slack", "bob", clock.now, 30)
    assert not ann.lead("slack", "ann", clock.now, 30)
    bob.release("bob")
    assert ann.lead("slack", "ann", clock.now, 30)
    assert bob.sink_state("slack").reason == "503", "who leads says nothing about how the sink is"


def test_a_lease_given_by_a_clock_that_was_wrong_holds_nobody_up(ledger: Ledger) -> None:
    assert ledger.lead("slack", "ann", START + timedelta(days=365), 30)
    assert ledger.lead("slack", "bob", START, 30)


# What nobody can read.


def test_what_nobody_can_read_is_kept_for_a_person(ledger: Ledger, clock: Clock) -> None:
    ledger.quarantine("events", "no kind", '{"a": "\0"}')
    clock.now = START + MINUTE
    ledger.quarantine("events", "no state", "{}")
    newest, oldest = ledger.quarantined()
    assert (newest.reason, newest.received_at) == ("no state", START + MINUTE)
    assert (oldest.source, oldest.body) == ("events", '{"a": ""}')


def test_what_nobody_can_read_does_not_fill_the_disk(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops_bot.ledger.quarantine.KEEP", 3)
    for number in range(5):
        ledger.quarantine("events", str(number), "")
    assert [one.reason for one in ledger.quarantined()] == ["4", "3", "2"]


def test_what_is_due_can_leave_out_channels_that_are_blocked(ledger: Ledger) -> None:
    ledger._plan = lambda one: [Wanted("slack", one.correlation, one.correlation, lane=f"#{one.service}")]
    ledger.record([event("deploy:1", service="web"), event("deploy:2", service="eval")])
    assert [one.lane for one in slack(ledger)] == ["#eval", "#web"]
    assert [one.lane for one in ledger.due("slack", START, without_lanes={"#eval"})] == ["#web"]


def test_after_the_clock_was_set_back_nothing_waits_for_the_old_time(ledger: Ledger) -> None:
    ledger.record([event()])
    [delivery] = slack(ledger)
    ledger.retry(delivery, START + 60 * MINUTE, "503")
    assert not slack(ledger)
    ledger.hurry("slack", START)
    assert [one.key for one in slack(ledger)] == ["deploy:1"]


def test_a_sink_is_as_healthy_as_the_worst_of_its_channels(ledger: Ledger) -> None:
    assert ledger.health("slack") == SinkState()
    ledger.set_sink_state("slackers", "paused", "another sink")
    ledger.set_sink_state("slack #random", "paused", "is_archived")
    assert (ledger.health("slack").state, ledger.health("slack").reason) == ("paused", "#random: is_archived")
    assert ledger.sink_state("slack").state == "ok"
    ledger.set_sink_state("slack", "slow", "503")
    assert ledger.health("slack").reason == "503"


def test_what_is_not_worth_showing_alone_corrects_what_is_shown(ledger: Ledger) -> None:
    ledger._plan = lambda one: [
        Wanted("slack", one.correlation, one.correlation, if_known=one.state not in (State.FAILED, State.LOST))
    ]
    ledger.record([event("build:1"), event("build:1", State.FINISHED, 1)])
    assert not slack(ledger)
    ledger.record([event("build:2"), event("build:2", State.LOST, 1)])
    [lost] = slack(ledger)
    ledger.settle(lost, lost.wanted, {"ts": "1"})
    ledger.record([event("build:2", State.FINISHED, 2)])
    [again] = slack(ledger)
    assert (again.key, again.ref) == ("build:2", {"ts": "1"})
    ledger.record([event("build:3", State.FAILED, 1), event("build:3", State.FINISHED, 2)])
    assert {one.key for one in slack(ledger)} == {"build:2", "build:3"}, "both came at once"
