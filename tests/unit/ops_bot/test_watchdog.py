"""Rollouts nobody heard of again: said once, not too early, and taken back when they are heard of after all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fakes.clock import START, Clock

from ops_bot.events import Event, Kind, State
from ops_bot.ledger import Ledger, Wanted
from ops_bot.settings import Settings
from ops_bot.watchdog import Watchdog

HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    ledger = Ledger.open(
        f"sqlite:///{tmp_path}/ledger.db", clock=clock, plan=lambda e: [Wanted("slack", e.correlation, e.correlation)]
    )
    yield ledger
    ledger.close()


def watchdog(ledger: Ledger, clock: Clock) -> Watchdog:
    return Watchdog(ledger, Settings(lost_after_seconds=3600, retention_days=30), clock)


def event(state: State = State.STARTED, sequence: int = 0, **fields: object) -> Event:
    told = {"id": f"{state}-{sequence}-of-1", "kind": Kind.DEPLOY, "at": START, "correlation": "deploy:1"}
    return Event.model_validate(told | {"state": state, "sequence": sequence} | fields)


def state(ledger: Ledger) -> State:
    story = ledger.story("deploy:1")
    assert story is not None
    return story.state


def test_what_is_silent_for_too_long_is_lost_and_that_is_said_once(ledger: Ledger, clock: Clock) -> None:
    watch = watchdog(ledger, clock)
    ledger.record([event()])
    clock.now = START + HOUR
    watch.step()
    assert state(ledger) == State.STARTED
    clock.now += timedelta(seconds=1)
    watch.step()
    assert state(ledger) == State.LOST
    assert ledger.events("deploy:1")[-1].error == "nothing was heard of it since 2026-11-21 03:00:00 UTC"
    clock.now += HOUR
    watch.step()
    watchdog(ledger, clock).step()
    assert len(ledger.events("deploy:1")) == 2


def test_every_sign_of_life_counts(ledger: Ledger, clock: Clock) -> None:
    watch = watchdog(ledger, clock)
    ledger.record([event()])
    clock.now = START + 0.9 * HOUR
    ledger.record([event(State.PROGRESS, 1)])
    clock.now = START + 1.8 * HOUR
    watch.step()
    assert state(ledger) == State.PROGRESS
    clock.now = START + 2 * HOUR
    watch.step()
    assert state(ledger) == State.LOST


def test_its_own_deadline_wins(ledger: Ledger, clock: Clock) -> None:
    watch = watchdog(ledger, clock)
    ledger.record([event(until=START + 5 * HOUR)])
    clock.now = START + 5 * HOUR
    watch.step()
    assert state(ledger) == State.STARTED
    clock.now += timedelta(seconds=1)
    watch.step()
    assert state(ledger) == State.LOST


def test_a_sender_whose_clock_is_late_is_not_lost_at_once(ledger: Ledger, clock: Clock) -> None:
    watch = watchdog(ledger, clock)
    ledger.record([event(at=START - 3 * HOUR, until=START - 2 * HOUR)])
    watch.step()
    assert state(ledger) == State.STARTED
    clock.now = START + timedelta(seconds=61)
    watch.step()
    assert state(ledger) == State.LOST


def test_while_the_bot_was_down_nothing_could_be_heard(ledger: Ledger, clock: Clock) -> None:
    ledger.record([event()])
    clock.now = START + 10 * HOUR
    watch = watchdog(ledger, clock)
    watch.step()
    assert state(ledger) == State.STARTED
    clock.now += 1.1 * HOUR
    watch.step()
    assert state(ledger) == State.LOST


def test_what_ends_after_all_has_ended(ledger: Ledger, clock: Clock) -> None:
    watch = watchdog(ledger, clock)
    ledger.record([event()])
    clock.now = START + 2 * HOUR
    watch.step()
    ledger.record([event(State.PROGRESS, 1, at=clock.now)])
    assert state(ledger) == State.LOST, "progress that was spooled says nothing new"
    ledger.record([event(State.FINISHED, 2, at=clock.now)])
    assert state(ledger) == State.FINISHED
    clock.now += 2 * HOUR
    watch.step()
    assert state(ledger) == State.FINISHED


@pytest.mark.parametrize("kind", [Kind.FREEZE, Kind.ERROR, Kind.ALERT])
def test_what_has_no_end_of_its_own_is_never_lost(ledger: Ledger, clock: Clock, kind: Kind) -> None:
    watch = watchdog(ledger, clock)
    ledger.record([event(kind=kind, until=START + HOUR)])
    clock.now = START + 9 * HOUR
    watch.step()
    assert state(ledger) == State.STARTED


def test_once_a_day_what_is_old_is_forgotten(ledger: Ledger, clock: Clock) -> None:
    watch = watchdog(ledger, clock)
    ledger.record([event(State.FINISHED)])
    [delivery] = ledger.due("slack", clock())
    ledger.settle(delivery, delivery.wanted, None)
    watch.step()
    clock.now = START + timedelta(hours=23)
    assert ledger.stories() != []
    clock.now = START + timedelta(days=31)
    watch.step()
    assert ledger.stories() == []
