"""From lines of journals to events in the ledger: each line once, whatever fails when."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes.clock import Clock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journal_lines import NOON, Journal, traceback
from sqlalchemy import inspect, text

from ops_bot.errors import store
from ops_bot.errors.follower import Follower, Overtaken
from ops_bot.events import Event, Kind, State, Story
from ops_bot.ledger import Ledger, LedgerError
from ops_bot.settings import Settings

SETTINGS = Settings(environment_name="production", journal_dir="/nowhere")
MINUTE = timedelta(minutes=1)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def ledger(ledger_url: str, clock: Clock) -> Iterator[Ledger]:
    opened = Ledger.open(ledger_url, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def follower(ledger: Ledger, clock: Clock) -> Follower:
    return Follower(ledger, SETTINGS, clock)


def errors(ledger: Ledger) -> list[Story]:
    return ledger.stories(kind=Kind.ERROR)


def counted(ledger: Ledger, clock: Clock) -> int:
    """How many occurrences all groups have, once everything has settled."""
    clock.now += MINUTE
    Follower(ledger, SETTINGS, clock).rest()
    with ledger.read() as connection:
        return sum(group.total for group in store.unresolved(connection, "production"))


def deploy(ledger: Ledger, tag: str, ended: datetime, **fields: Any) -> str:
    """A deploy that took ten seconds; returns its correlation."""
    story = {"correlation": f"deploy:{tag}", "kind": Kind.DEPLOY, "service": "web", "environment": "production"}
    started = {"state": State.STARTED, "tag": tag, "from_tag": "v64", "at": ended - timedelta(seconds=10)}
    end = {"state": State.FINISHED, "at": ended, "sequence": 1, **fields}
    ledger.record([Event.model_validate(story | one) for one in (started, end)])
    return f"deploy:{tag}"


def test_an_error_becomes_an_event(follower: Follower, ledger: Ledger, journal: Journal) -> None:
    follower.feed("file", [journal.structured("error", "request failed", exception=traceback())])
    (story,) = errors(ledger)
    assert (story.state, story.environment, story.service) == (State.NEW, "production", "web")
    assert (story.title, story.culprit) == ("ValueError: no such lesson: tides", "app/pages.py in render")
    assert (story.count, story.first_tag, story.last_tag) == (1, "v65", "v65")
    assert [host.name for host in story.hosts] == ["web1"]
    assert story.log_tail.endswith("ValueError: no such lesson: tides")
    assert story.correlation == f"error:{story.fingerprint}:1"


def test_a_flood_is_one_story_whose_count_moves(follower: Follower, ledger: Ledger, journal: Journal) -> None:
    for _ in range(10):
        follower.feed("file", [journal.structured("error", "no") for _ in range(100)])
    (story,) = errors(ledger)
    states = [(event.state, event.count) for event in ledger.events(story.correlation)]
    assert states == [(State.NEW, 100), (State.NOTED, 1_000)]


def test_new_after_a_deploy_it_is_attached_to_that(
    follower: Follower, ledger: Ledger, journal: Journal, clock: Clock
) -> None:
    rollout = deploy(ledger, "v65", NOON - 4 * MINUTE)
    follower.feed("file", [journal.structured("error", "no", exception=traceback())])
    (story,) = errors(ledger)
    assert (story.first_tag, story.seconds_after_deploy) == ("v65", 240.0)
    deployed = ledger.story(rollout)
    assert deployed
    assert deployed.state == State.FINISHED
    assert deployed.next_command == "make rollback ENV=production SERVICE=web"
    (note,) = deployed.errors
    assert (note.fingerprint, note.state, note.count, note.seconds_after) == (story.fingerprint, State.NEW, 1, 240.0)
    # More of it moves the count there too; and when it is resolved, that is no harm any more.
    follower.feed("file", [journal.structured("error", "no", exception=traceback()) for _ in range(99)])
    assert [one.count for one in (ledger.story(rollout) or story).errors] == [100]
    deploy(ledger, "v66", NOON + MINUTE)
    clock.now += timedelta(hours=2)
    follower.rest()
    assert [one.state for one in (ledger.story(rollout) or story).errors] == [State.RESOLVED]


@pytest.mark.parametrize(
    ("tag", "minutes"),
    [("v64", 4), ("v65", 61)],
    ids=["seen in the release before it", "too long after it"],
)
def test_it_is_not_attached_to_what_did_not_bring_it(
    follower: Follower, ledger: Ledger, journal: Journal, tag: str, minutes: int
) -> None:
    rollout = deploy(ledger, "v65", NOON - minutes * MINUTE)
    follower.feed("file", [journal.structured("error", "no", tag=tag, exception=traceback())])
    deployed = ledger.story(rollout)
    assert deployed
    assert deployed.errors == []
    assert errors(ledger)[0].seconds_after_deploy is None


def test_during_a_rollout_it_is_attached_without_a_command(
    follower: Follower, ledger: Ledger, journal: Journal
) -> None:
    ledger.record(
        [
            Event(
                correlation="deploy:1",
                kind=Kind.DEPLOY,
                state=State.STARTED,
                at=NOON - MINUTE,
                environment="production",
                service="web",
                tag="v65",
            )
        ]
    )
    follower.feed("file", [journal.structured("error", "no", exception=traceback())])
    story = ledger.story("deploy:1")
    assert story
    assert (story.state, story.next_command, len(story.errors)) == (State.STARTED, "", 1)


def test_what_a_release_says_while_it_is_rolled_back_came_with_its_deploy(
    follower: Follower, ledger: Ledger, journal: Journal
) -> None:
    rollout = deploy(ledger, "v65", NOON - 2 * MINUTE)
    back = {"correlation": "rollback:1", "kind": Kind.ROLLBACK, "service": "web", "environment": "production"}
    ledger.record([Event.model_validate(back | {"state": State.STARTED, "tag": "v64", "at": NOON - MINUTE})])
    follower.feed("file", [journal.structured("error", "no", exception=traceback())])
    assert [note.count for note in (ledger.story(rollout) or errors(ledger)[0]).errors] == [1]
    assert (ledger.story("rollback:1") or errors(ledger)[0]).errors == []


def test_it_comes_back_and_is_told_anew(follower: Follower, ledger: Ledger, journal: Journal, clock: Clock) -> None:
    follower.feed("file", [journal.structured("error", "no", exception=traceback())])
    clock.now += timedelta(days=8)
    follower.rest()
    journal.seconds = timedelta(days=9).total_seconds()
    clock.now = journal.now
    rollout = deploy(ledger, "v70", clock.now - MINUTE)
    follower.feed("file", [journal.structured("error", "no", tag="v70", exception=traceback())])
    regressed, resolved = errors(ledger)
    assert (regressed.state, resolved.state) == (State.REGRESSED, State.RESOLVED)
    assert (regressed.first_tag, regressed.last_tag) == ("v65", "v70")
    assert [note.state for note in (ledger.story(rollout) or regressed).errors] == [State.REGRESSED]


def test_a_traceback_that_is_cut_by_a_restart_is_whole(
    follower: Follower, ledger: Ledger, journal: Journal, clock: Clock
) -> None:
    lines = [journal.log(line, stderr=True) for line in traceback().splitlines()]
    follower.feed("file", lines[:4])
    Follower(ledger, SETTINGS, clock).feed("file", lines[4:])
    clock.now += MINUTE
    last = Follower(ledger, SETTINGS, clock)
    last.rest()
    (story,) = errors(ledger)
    assert (story.title, story.count) == ("ValueError: no such lesson: tides", 1)


def test_what_cannot_be_committed_was_not_learnt(
    follower: Follower, ledger: Ledger, journal: Journal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [journal.structured("error", f"kind {word}", x=traceback()) for word in ("one", "two", "three")]
    follower.feed("file", lines[:1])

    def full(*_arguments: object) -> None:
        raise LedgerError("the ledger's disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(store, "keep_cursor", full)
        with pytest.raises(LedgerError):
            follower.feed("file", lines[1:])
    follower.feed("file", lines[1:])
    assert counted(ledger, clock) == 3


def test_of_two_followers_one_learns(ledger: Ledger, journal: Journal, clock: Clock) -> None:
    first, second = Follower(ledger, SETTINGS, clock), Follower(ledger, SETTINGS, clock)
    line = journal.structured("error", "no")
    first.feed("file", [line])
    with pytest.raises(Overtaken):
        second.feed("file", [line])
    second.feed("file", [line])
    assert counted(ledger, clock) == 1


def test_lines_that_arrive_twice_count_once(follower: Follower, ledger: Ledger, journal: Journal, clock: Clock) -> None:
    lines = [journal.structured("error", f"of user {n}", host=f"web{n % 2}") for n in range(10)]
    follower.feed("file", lines, "remote")
    # The uploader sends from its last acknowledged entry on, and the collector has begun another file.
    more = journal.structured("error", "of user 11")
    follower.feed("next file", [*lines[4:], more], "remote")
    assert counted(ledger, clock) == 11


cuts = st.lists(st.tuples(st.integers(1, 15), st.booleans()), max_size=5)


@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(cuts)
def test_however_it_is_cut_and_killed_each_line_counts_once(
    tmp_path_factory: Any, cuts: list[tuple[int, bool]]
) -> None:
    clock, journal = Clock(NOON), Journal()
    ledger = Ledger.open(f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.db", clock=clock)
    lines = []
    for host in ("web1", "web2"):
        lines += [journal.log(line, host=host) for line in traceback(word=host).splitlines()]
        lines += [journal.structured("error", "no", host=host), journal.structured("info", "yes", host=host)]
    place, follower = 0, Follower(ledger, SETTINGS, clock)
    for size, killed in [*cuts, (len(lines), False)]:
        some = lines[place : place + size]
        if killed:  # in the middle of the transaction, and started anew
            dying = Follower(ledger, SETTINGS, clock)
            dying._ledger = _Failing(ledger)  # type: ignore[assignment]
            with pytest.raises(KeyboardInterrupt):
                dying.feed("file", some)
            follower = Follower(ledger, SETTINGS, clock)
        else:
            follower.feed("file", some)
            place += size
    assert counted(ledger, clock) == 4
    ledger.close()


class _Failing:
    """A ledger in which every transaction is cut off before it is committed."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def read(self) -> Any:
        return self._ledger.read()

    def recording(self) -> Any:
        outer = self._ledger.recording()

        class Cut:
            def __enter__(self) -> Any:
                return outer.__enter__()

            def __exit__(self, *_: object) -> Any:
                error = KeyboardInterrupt()
                outer.__exit__(KeyboardInterrupt, error, None)
                raise error

        return Cut()


def test_a_hundred_new_kinds_of_errors_are_not_a_hundred_messages(
    follower: Follower, ledger: Ledger, journal: Journal
) -> None:
    words = [f"{a}{b}" for a in "abcdefghij" for b in "klmnopqrst"]
    follower.feed("file", [journal.structured("error", f"trouble with {word}", x=traceback()) for word in words])
    follower.rest()
    found = errors(ledger)
    assert len(found) == 21
    assert max(story.count or 0 for story in found) >= 70
    assert any(story.title == "web: more than 20 new kinds of errors within 10 minutes" for story in found)


def everything(ledger: Ledger) -> str:
    """Every row of every table."""
    with ledger.read() as connection:
        tables = inspect(connection).get_table_names()
        return " ".join(str(row) for name in tables for row in connection.execute(text(f"SELECT * FROM {name}")))  # noqa: S608


def test_no_secret_reaches_the_disk(follower: Follower, ledger: Ledger, journal: Journal) -> None:
    secret = "hunter2-hunter2-hunter2"
    url = f"postgresql://web:{secret}@data1/web"
    lines = [
        journal.structured("error", f"cannot connect to {url}"),
        journal.structured("error", "no", exception=traceback(word=url)),
        journal.log(f"bad configuration: {url}", stderr=True),
        *(journal.log(line) for line in traceback(word=url).splitlines()),
    ]
    follower.feed("file", lines)
    kept = everything(ledger)
    assert "no such lesson" in kept
    assert secret not in kept


def test_what_happened_long_before_the_bot_began_is_no_news(
    follower: Follower, ledger: Ledger, journal: Journal, clock: Clock
) -> None:
    journal.seconds = -3700
    old = journal.structured("error", "old")
    journal.seconds = -3500
    follower.feed("file", [old, journal.structured("error", "recent")])
    assert counted(ledger, clock) == 1


def test_odd_lines_stop_nothing(follower: Follower, ledger: Ledger, journal: Journal, clock: Clock) -> None:
    long = "x" * 300_000
    follower.feed(
        "file",
        [
            b"\xff\xfe no JSON",
            "[]",
            journal.structured("error", "\ud800 \0 half a character"),
            journal.structured("error", "no", tag="t" * 1000),
            journal.log(f"ERROR: {long}", CONTAINER_NAME=f"{'s' * 150}-a", TAGBOAT_TAG="v" * 400),
            journal.systemd(f"{'u' * 250}.service", "d9b373ed55a64feb8242e02dbe79a49c", UNIT_RESULT="exit-code"),
        ],
    )
    assert counted(ledger, clock) == 4


def test_each_occurrence_is_counted_for_metrics_once_it_is_on_disk(
    ledger: Ledger, journal: Journal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[tuple[str, str, int]] = []
    follower = Follower(
        ledger, SETTINGS, clock, lambda group, seen: counted.append((group.title, group.last_tag, seen))
    )
    lines = [journal.structured("error", "no", tag=tag) for tag in ("v65", "v65", "v66")]

    def full(*_arguments: object) -> None:
        raise LedgerError("the ledger's disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(store, "keep_cursor", full)
        with pytest.raises(LedgerError):
            follower.feed("file", lines)
    assert counted == []
    follower.feed("file", lines)
    assert counted == [("no", "v66", 3)]


def test_journals_that_cannot_be_read_are_told_of(ledger: Ledger, clock: Clock, tmp_path: Path) -> None:
    settings = Settings(environment_name="production", journal_dir=str(tmp_path / "journals"))
    follower = Follower(ledger, settings, clock)
    follower._step()
    clock.now += 4 * MINUTE
    follower._step()
    assert ledger.stories(kind=Kind.ALERT) == [], "that may be a matter of who starts first"
    clock.now += 2 * MINUTE
    for _ in range(3):
        follower._step()
    (alert,) = ledger.stories(kind=Kind.ALERT)
    assert alert.title == "errors of services are not seen: no journal can be read"
    assert "No such file or directory" in alert.error
    (tmp_path / "journals").mkdir()
    clock.now += MINUTE  # the lease of the one before
    Follower(ledger, settings, clock)._step()
    assert ledger.stories(kind=Kind.ALERT)[0].state == State.STARTED, "an empty folder is no better"
    (tmp_path / "journals/remote.journal").write_bytes(b"LPKSHHRH" + bytes(250))
    clock.now += MINUTE
    Follower(ledger, settings, clock)._step()
    (alert,) = ledger.stories(kind=Kind.ALERT)
    assert alert.state == State.FINISHED


def test_resolved_groups_are_forgotten_with_their_stories(
    follower: Follower, ledger: Ledger, journal: Journal, clock: Clock
) -> None:
    follower.feed("file", [journal.structured("error", "no")])
    for days in (8, 366):
        clock.now += timedelta(days=days)
        follower.rest()
    with ledger.read() as connection:
        assert store.load(connection, "production", [errors(ledger)[0].fingerprint]) == {}
