"""The delivery loop against a sink that does anything at any time: order, coalescing, and each thing exactly once."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops_bot.delivery import Sender
from ops_bot.events import Event, Kind, State
from ops_bot.ledger import Delivery, Ledger, Wanted
from ops_bot.settings import Settings
from ops_bot.sinks.base import Absent, Ambiguous, Failure, Found, Job, Outcome, Pause, Refused, Retry, Sent

START = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Board:
    """A sink that shows one line for each key, and that fails as it is told."""

    name: str = "board"
    doubt_seconds: float = 1.0
    luck: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)  # keys, one for each line that a person sees
    shown: dict[str, list[int]] = field(default_factory=dict)  # what each key showed, one after the other
    calls: list[str] = field(default_factory=list)

    def wait_seconds(self, _delivery: Delivery, _now: datetime) -> float:
        return 0.0

    def reconcile(self, job: Job, _now: datetime) -> Found | Absent | Failure:
        luck = self.luck.pop(0) if self.luck else "well"
        if luck in ("no", "lost", "doubt"):
            return Ambiguous(luck)
        return Found({"line": job.delivery.key}) if job.delivery.key in self.lines else Absent()

    def deliver(self, job: Job, _now: datetime) -> Outcome:
        luck = self.luck.pop(0) if self.luck else "well"
        self.calls.append(job.delivery.key)
        failures: dict[str, Outcome] = {
            "no": Retry("503"),
            "later": Retry("429", after_seconds=30),
            "alone": Retry("odd", alone=True),
            "doubt": Ambiguous("reset"),
            "pause": Pause("token_revoked"),
            "channel": Pause("is_archived", lane=True),
        }
        if luck in failures:
            return failures[luck]
        if job.delivery.ref is None:
            self.lines.append(job.delivery.key)
        self.shown.setdefault(job.delivery.key, []).append(job.story.sequence)
        return Ambiguous("accepted, then reset") if luck == "lost" else Sent({"line": job.delivery.key})


class Setting:
    """A ledger, a board, a clock."""

    def __init__(self, folder: str) -> None:
        self.now = START
        self.board = Board()
        self.sequence = 0
        self.ledger = Ledger.open(f"sqlite:///{Path(folder)}/ledger.db", clock=lambda: self.now, plan=_plan)
        self.restart()

    def restart(self) -> None:
        self.sender = Sender(
            self.ledger, self.board, Settings(), clock=lambda: self.now, owner="one", jitter=lambda: 1.0
        )

    def record(self, story: int, count: int = 1) -> None:
        for _ in range(count):
            self.sequence += 1
            state = State.PROGRESS if self.sequence % 3 else State.FAILED
            self.ledger.record([_event(f"deploy:{story}", state, self.sequence, self.now)])

    def run(self, seconds: float) -> None:
        end = self.now + timedelta(seconds=seconds)
        while self.now < end:
            wait = self.sender.step()
            left = (end - self.now).total_seconds()
            self.now += timedelta(seconds=min(wait + 1e-6, left) if wait > 0 else 0)

    def die(self) -> None:
        """Whatever is sent next is sent, and never written down."""

        def killed(*_: object) -> None:
            raise Killed

        settle, self.ledger.settle = self.ledger.settle, killed  # type: ignore[assignment,method-assign]
        try:
            self.run(1)
        except Killed:
            pass
        finally:
            self.ledger.settle = settle  # type: ignore[method-assign]
        self.restart()


def _plan(event: Event) -> Sequence[Wanted]:
    if event.kind == Kind.ALERT:
        return []
    wanted = [Wanted("board", event.correlation, event.correlation, lane=f"#{event.correlation[-1]}")]
    if event.state == State.FAILED:
        wanted.append(Wanted("board", event.id, event.correlation, lane="#events"))
    return wanted


def _event(correlation: str, state: State, sequence: int, at: datetime) -> Event:
    return Event(
        id=f"event-{sequence:05d}", correlation=correlation, kind=Kind.DEPLOY, state=state, at=at, sequence=sequence
    )


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("record"), st.integers(0, 3)),
        st.tuples(st.just("run"), st.sampled_from([0, 1, 10, 400])),
        st.tuples(st.just("die"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=12,
)
LUCK = st.lists(st.sampled_from(["well", "no", "later", "alone", "lost", "doubt", "pause", "channel"]), max_size=25)


@given(steps=STEPS, luck=LUCK)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_happens_each_thing_is_shown_once_and_in_its_newest_state(
    steps: list[tuple[str, int]], luck: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = Setting(folder)
        world.board.luck = list(luck)
        for what, number in steps:
            match what:
                case "record":
                    world.record(number)
                case "run":
                    world.run(number)
                case "die":
                    world.die()
                case "restart":
                    world.restart()
        world.board.luck.clear()
        world.run(3_000)
        stories = [story for story in world.ledger.stories(limit=1_000) if story.kind != Kind.ALERT]
        events = [event for story in stories for event in world.ledger.events(story.correlation)]
        keys = {story.correlation for story in stories} | {e.id for e in events if e.state == State.FAILED}
        assert Counter(world.board.lines) == Counter(keys), "each thing is there, and once"
        for story in stories:
            assert world.board.shown[story.correlation][-1] == story.sequence, "in its newest state"
        for key, shown in world.board.shown.items():
            assert shown == sorted(shown), f"{key} never went back"
        assert world.ledger.backlog("board").count == 0
        world.ledger.close()


@given(counts=st.lists(st.integers(1, 30), min_size=1, max_size=4))
@settings(max_examples=15, deadline=None)
def test_states_that_nobody_saw_are_never_sent(counts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = Setting(folder)
        for story, count in enumerate(counts):
            world.record(story, count)
        world.run(60)
        assert all(len(world.board.shown[f"deploy:{story}"]) == 1 for story in range(len(counts)))
        first_calls = [key for key in world.board.calls if key.startswith("deploy:")]
        assert first_calls == [f"deploy:{story}" for story in reversed(range(len(counts)))], "the newest first"
        world.ledger.close()


def test_what_is_refused_for_good_is_parked_and_recorded(tmp_path: Path) -> None:
    world = Setting(str(tmp_path))
    world.board.deliver = lambda _job, _now: Refused("msg_too_long")  # type: ignore[assignment,method-assign]
    world.record(1)
    world.run(5)
    assert world.ledger.counts()["parked"] == 1
    assert [story.error for story in world.ledger.stories(kind=Kind.ALERT)] == ["deploy:1: msg_too_long"]
    world.ledger.close()
