"""What state a group is in, as its errors come and stay away."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal_lines import NOON

from ops_bot.errors.fingerprint import Occurrence
from ops_bot.errors.groups import Change, Group, Seen, Serving, observe, patience, rest, step
from ops_bot.events import State

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Life:
    """One group, from its first occurrence on."""

    def __init__(self) -> None:
        self.group: Group | None = None
        self.told: list[tuple[State, int] | int] = []  # (state, count) of a turn, or the count alone
        self.reasons: list[str] = []

    def seen(self, at: datetime, count: int = 1, tag: str = "v65", host: str = "web1") -> Life:
        one = Occurrence(at, host, "web", ("message",), "no", tag=tag, sample="no")
        self.group, change = observe(self.group, Seen.of([one] * count), "local", "f")
        return self._note(change)

    def rest(self, now: datetime, serving: Serving | None = None) -> Life:
        assert self.group
        self.group, change = rest(self.group, now, serving)
        return self._note(change)

    def _note(self, change: Change | None) -> Life:
        if change:
            self.told.append((change.group.state, change.group.count) if change.turned else change.group.count)
            self.reasons.append(change.reason)
        return self

    def state(self) -> State:
        assert self.group
        return self.group.state


def test_the_first_time_it_is_new() -> None:
    life = Life().seen(NOON)
    assert life.told == [(State.NEW, 1)]
    assert life.group
    assert (life.group.first_tag, life.group.last_tag, life.group.first_at) == ("v65", "v65", NOON)
    assert life.group.correlation == "error:f:1"


def test_a_flood_is_told_at_steps_of_ten() -> None:
    life = Life()
    for number in range(10_000):
        life.seen(NOON + timedelta(milliseconds=number))
    assert life.told == [(State.NEW, 1), 10, 100, 1000, 10_000]


def test_a_flood_in_batches_is_told_less_often() -> None:
    life = Life()
    for number in range(5):
        life.seen(NOON + timedelta(seconds=number), 2_000)
    assert life.told == [(State.NEW, 2_000), 10_000]


@given(st.lists(st.integers(1, 5_000), min_size=1, max_size=20))
def test_every_occurrence_is_counted_once_and_told_once(batches: list[int]) -> None:
    life, added = Life(), 0
    for number, count in enumerate(batches):
        before = len(life.told)
        life.seen(NOON + timedelta(seconds=number), count)
        assert life.group
        if len(life.told) > before:
            added = life.group.told
        assert life.group.count == sum(batches[: number + 1])
        assert step(life.group.count) == step(added), "the last step of ten was told"


def test_after_a_day_it_is_ongoing() -> None:
    life = Life().seen(NOON).seen(NOON + DAY / 2).seen(NOON + DAY).seen(NOON + DAY + HOUR)
    assert life.told == [(State.NEW, 1), (State.ONGOING, 3)]


def ongoing(an_hour: int) -> Life:
    """Seen `an_hour` times in each of 48 hours."""
    life = Life()
    for number in range(48):
        life.seen(NOON + number * HOUR, an_hour)
    life.told.clear()
    return life


def test_many_more_than_in_its_own_past_is_escalating() -> None:
    life = ongoing(100)
    now = NOON + 48 * HOUR
    for minute in range(5):
        life.seen(now + timedelta(minutes=minute), 75)
    assert life.told == [(State.ESCALATING, 4800 + 375)]


@pytest.mark.parametrize(("an_hour", "count"), [(100, 300), (1, 20), (7, 21)])
def test_a_few_more_than_before_is_not(an_hour: int, count: int) -> None:
    life = ongoing(an_hour)
    life.seen(NOON + 48 * HOUR, count)
    assert life.state() == State.ONGOING


def test_as_many_as_before_is_ongoing_again() -> None:
    life = ongoing(10)
    now = NOON + 48 * HOUR
    life.seen(now, 500)
    assert life.state() == State.ESCALATING
    life.rest(now + HOUR)
    assert life.state() == State.ESCALATING, "the hour before was the bad one"
    life.seen(now + 1.5 * HOUR, 10).rest(now + 2.1 * HOUR)
    assert life.state() == State.ONGOING
    assert life.reasons[-1] == "as many as before again"
    life.seen(now + 3 * HOUR, 600)
    assert life.state() == State.ONGOING, "by now that is its past"


def test_a_group_without_a_past_does_not_escalate() -> None:
    assert Life().seen(NOON).seen(NOON + HOUR, 9_000).told == [(State.NEW, 1), 9_001]


def test_not_seen_for_days_it_is_resolved() -> None:
    life = Life().seen(NOON)
    assert life.rest(NOON + 6.9 * DAY).state() == State.NEW
    assert life.rest(NOON + 7 * DAY).state() == State.RESOLVED
    assert life.reasons[-1] == "not seen for 7 days"
    assert life.rest(NOON + 9 * DAY).told == [(State.NEW, 1), (State.RESOLVED, 1)]


def test_not_seen_since_another_tag_serves_it_is_resolved() -> None:
    life = Life().seen(NOON, 50).seen(NOON + timedelta(minutes=50), 50)
    served = Serving("v66", NOON + HOUR)
    assert life.rest(NOON + 1.9 * HOUR, served).state() == State.NEW
    assert life.rest(NOON + 2 * HOUR, served).state() == State.RESOLVED
    assert life.reasons[-1] == "not seen since v66 serves"


@pytest.mark.parametrize(
    "served",
    [
        Serving("v65", NOON + 2 * HOUR),  # the very tag it was seen in
        Serving("v66", NOON - HOUR),  # seen since
        None,
    ],
)
def test_otherwise_it_is_not(served: Serving | None) -> None:
    assert Life().seen(NOON, 100).rest(NOON + 6 * DAY, served).state() == State.NEW


def test_a_rare_error_is_given_more_time() -> None:
    rare = Life()
    for number in range(11):
        rare.seen(NOON + 3 * number * HOUR)
    assert rare.group
    assert patience(rare.group) == 30 * HOUR
    once = Life().seen(NOON)
    assert once.group
    assert patience(once.group) == DAY


def test_seen_again_after_that_it_has_regressed() -> None:
    life = Life().seen(NOON, 30).rest(NOON + 8 * DAY).seen(NOON + 9 * DAY, 3, tag="v70", host="web2")
    assert life.told == [(State.NEW, 30), (State.RESOLVED, 30), (State.REGRESSED, 3)]
    group = life.group
    assert group
    assert (group.first_tag, group.last_tag, group.total, group.hosts) == ("v65", "v70", 33, ("web2",))
    assert group.correlation == "error:f:2", "a message of its own"
    life.seen(NOON + 10 * DAY, 3)
    assert life.state() == State.ONGOING


def test_a_line_from_before_that_came_late_regresses_nothing() -> None:
    life = Life().seen(NOON).rest(NOON + 8 * DAY).seen(NOON + HOUR)
    assert life.state() == State.RESOLVED
    assert life.group
    assert life.group.count == 2


def test_a_late_line_does_not_turn_back_the_last_tag() -> None:
    life = Life().seen(NOON, tag="v66").seen(NOON - HOUR, tag="v65")
    assert life.group
    assert (life.group.last_tag, life.group.last_at, life.group.first_at) == ("v66", NOON, NOON - HOUR)


def test_what_is_kept_of_a_group_is_bounded() -> None:
    life = Life()
    for number in range(400):
        life.seen(NOON + number * HOUR, host=f"web{number}")
    assert life.group
    assert len(life.group.hosts) == 50
    assert len(life.group.hours) <= 7 * 24 + 1


events = st.lists(
    st.tuples(st.sampled_from(["seen", "rest"]), st.integers(1, 3 * 24 * 60), st.integers(1, 300)), max_size=25
)


@given(events)
def test_sequences_count_up_and_episodes_end_with_resolved(steps: list[tuple[str, int, int]]) -> None:
    life, now = Life().seen(NOON), NOON
    last = (1, 1)
    for what, minutes, count in steps:
        now += timedelta(minutes=minutes)
        told = len(life.told)
        was = life.state()
        if what == "seen":
            life.seen(now, count)
        else:
            life.rest(now, Serving("v66", now - DAY))
        assert life.group
        where = (life.group.episode, life.group.sequence)
        assert where == last if len(life.told) == told else where in ((last[0], last[1] + 1), (last[0] + 1, 1))
        if where != last:
            assert (life.state() == State.REGRESSED and where[1] == 1) == (was == State.RESOLVED)
        last = where
