"""Real journals, written by systemd's own collector and read by its own journalctl, while the reader is killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event as Stop
from threading import Thread

import pytest
from journal_fleet import Fleet, eventually, needs_collector

from ops_bot.errors import follower, store
from ops_bot.errors.follower import Follower
from ops_bot.errors.reader import JournalError, journals
from ops_bot.events import Kind, State
from ops_bot.ledger import Ledger
from ops_bot.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
FOLLOW = """
import sys, threading
from ops_bot.errors import follower
from ops_bot.errors.follower import Follower
from ops_bot.ledger import Ledger
from ops_bot.settings import Settings
follower.LEASE_SECONDS = follower.RETRY_SECONDS = 0.1  # so that the next one begins at once
ledger = Ledger.open(sys.argv[1])
print("begins", flush=True)
Follower(ledger, Settings(journal_dir=sys.argv[2])).run(threading.Event())
"""
TRACEBACK = (
    "Traceback (most recent call last):",
    '  File "/srv/app/jobs.py", line 3, in run',
    "    raise ValueError(job)",
    "ValueError: bad job {}",
)

pytestmark = needs_collector


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path / "journals")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    with opened.write() as connection:
        store.create(connection)
    yield opened
    opened.close()


def totals(ledger: Ledger) -> dict[str, int]:
    """How often each group was seen."""
    with ledger.read() as connection:
        return {group.title: group.total for group in store.unresolved(connection, "local")}


@contextmanager
def following(folder: Path, fleet: Fleet) -> Iterator[None]:
    """A process that follows, as soon as it does; killed in the end."""
    command = [sys.executable, "-c", FOLLOW, f"sqlite:///{folder}/ledger.db", str(fleet.folder)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"begins\n"
            yield
        finally:
            process.kill()


def test_what_the_collector_writes_is_read_once(fleet: Fleet, ledger: Ledger) -> None:
    follower = Follower(ledger, Settings(journal_dir=str(fleet.folder)))
    fleet.send(fleet.entry('{"level": "error", "message": "one"}'), fleet.entry('{"level": "info", "message": "two"}'))
    assert follower.poll() == 2
    assert follower.poll() == 0
    fleet.send(fleet.entry('{"level": "error", "message": "three"}'))
    assert follower.poll() == 1
    assert totals(ledger) == {"one": 1, "three": 1}


def test_what_a_host_sends_late_is_not_overlooked(fleet: Fleet, ledger: Ledger) -> None:
    follower = Follower(ledger, Settings(journal_dir=str(fleet.folder)))
    fleet.send(fleet.entry('{"level": "error", "message": "prompt"}', host="web1"))
    follower.poll()
    # Cut off for ten minutes: what it says now lies before what has been read.
    fleet.send(fleet.entry('{"level": "error", "message": "late"}', host="web2", late_seconds=600))
    follower.poll()
    assert totals(ledger) == {"prompt": 1, "late": 1}


def test_what_is_sent_twice_counts_once_and_rotation_loses_nothing(fleet: Fleet, ledger: Ledger) -> None:
    folder = str(fleet.folder)
    entries = [fleet.entry('{"level": "error", "message": "no"}', host=f"web{n % 3}") for n in range(300)]
    fleet.send(*entries[:100])
    Follower(ledger, Settings(journal_dir=folder)).poll()
    fleet.send(*entries[50:200])  # an uploader was killed before it knew what had arrived
    fleet.rotate()
    fleet.send(*entries[150:])
    assert len(journals(fleet.folder)) == 2
    Follower(ledger, Settings(journal_dir=folder)).poll()
    assert totals(ledger) == {"no": 300}
    fleet.rotate()
    (fleet.folder / sorted(path.name for path in fleet.folder.iterdir())[0]).unlink()
    assert Follower(ledger, Settings(journal_dir=folder)).poll() == 0


def test_a_flood_is_one_story(fleet: Fleet, ledger: Ledger) -> None:
    follower = Follower(ledger, Settings(journal_dir=str(fleet.folder)))
    fleet.send(*(fleet.entry(f'{{"level": "error", "message": "user {n} not found"}}') for n in range(10_000)))
    started = time.process_time()
    assert follower.poll() == 10_000
    assert time.process_time() - started < 20, "seconds of CPU for 10,000 errors"
    (story,) = ledger.stories(kind=Kind.ERROR)
    assert (story.state, story.count) == (State.NEW, 10_000)
    assert len(ledger.events(story.correlation)) <= 3


def test_a_follower_that_runs_ends_when_told(fleet: Fleet, ledger: Ledger) -> None:
    stop = Stop()
    follower = Follower(ledger, Settings(journal_dir=str(fleet.folder)))
    thread = Thread(target=follower.run, args=[stop], daemon=True)
    thread.start()
    fleet.send(*(fleet.entry(line.format(7)) for line in TRACEBACK))
    eventually(lambda: totals(ledger) == {"ValueError: bad job 7": 1})
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert ledger.leader("errors") == ""


def test_a_broken_archive_does_not_stand_in_the_way(fleet: Fleet, ledger: Ledger) -> None:
    follower = Follower(ledger, Settings(journal_dir=str(fleet.folder)))
    fleet.send(fleet.entry('{"level": "error", "message": "lost"}'))
    fleet.rotate()
    (archive,) = fleet.folder.iterdir()
    os.truncate(archive, 4096)
    fleet.send(fleet.entry('{"level": "error", "message": "kept"}'))
    assert follower.poll() == 1
    assert totals(ledger) == {"kept": 1}


def test_told_to_end_in_the_middle_of_much_to_read_it_ends(
    fleet: Fleet, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "AT_ONCE", 10)
    fleet.send(*(fleet.entry('{"level": "error", "message": "no"}') for _ in range(100)))
    stop = Stop()
    first = Follower(ledger, Settings(journal_dir=str(fleet.folder)), count=lambda *_: stop.set())
    first.run(stop)
    assert totals(ledger) == {"no": 10}
    Follower(ledger, Settings(journal_dir=str(fleet.folder))).poll()
    assert totals(ledger) == {"no": 100}


def test_a_folder_that_is_not_there_is_said(ledger: Ledger) -> None:
    follower = Follower(ledger, Settings(journal_dir="/nowhere"))
    with pytest.raises(JournalError, match=r"/nowhere cannot be read: No such file"):
        follower.poll()


def test_killed_at_random_no_line_is_lost_or_counted_twice(fleet: Fleet, ledger: Ledger, tmp_path: Path) -> None:
    chance = random.Random(81)  # noqa: S311 - where to kill, not a secret
    jobs, learnt = 0, []
    for _ in range(12):
        with following(tmp_path, fleet):
            for _ in range(chance.randrange(1, 5)):
                batch = chance.randrange(1, 40)
                lines = [line.format(jobs + n) for n in range(batch) for line in TRACEBACK]
                jobs += batch
                cut = chance.randrange(len(lines))
                entries = [fleet.entry(line) for line in lines]
                fleet.send(*entries[:cut])
                time.sleep(chance.random() / 2)
                fleet.send(*entries[cut:])
            time.sleep(chance.random())
        learnt.append(sum(totals(ledger).values()))
    with following(tmp_path, fleet):
        eventually(lambda: sum(totals(ledger).values()) >= jobs, seconds=60)
        time.sleep(3)  # for what would be one too many
    assert len(set(learnt)) > 3, "it was killed while it was at work"
    assert list(totals(ledger).values()) == [jobs]
    (story,) = ledger.stories(kind=Kind.ERROR)
    told = [(event.sequence, event.count) for event in ledger.events(story.correlation)]
    assert [sequence for sequence, _ in told] == list(range(1, len(told) + 1))
    assert sum((event.model_extra or {})["added"] for event in ledger.events(story.correlation)) == told[-1][1]
