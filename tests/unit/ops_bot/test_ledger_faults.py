"""Disks that fill, files that break, locks that last: said in words, nothing half done. And the way back: backups."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ops_bot.events import Event, Kind, State
from ops_bot.ledger import Ledger, LedgerBusy, LedgerCorrupt, LedgerError, LedgerFull, LedgerReadOnly, Wanted
from ops_bot.ledger.backup import restore

START = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
NOTHING = {"events": 0, "stories": 0, "waiting": 0, "parked": 0, "quarantined": 0}


def event(number: int, **fields: object) -> Event:
    told = {"id": f"event-no-{number}", "correlation": f"deploy:{number // 5}", "sequence": number, "kind": Kind.DEPLOY}
    return Event.model_validate(told | {"state": State.PROGRESS, "at": START} | fields)


def open_ledger(path: Path) -> Ledger:
    return Ledger.open(
        f"sqlite:///{path}", clock=lambda: START, plan=lambda e: [Wanted("slack", e.correlation, e.correlation)]
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    ledger = open_ledger(path)
    yield ledger
    ledger.close()


# What can go wrong.


def test_a_lock_that_lasts_is_said_and_the_next_try_succeeds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_ledger(path).close()
    monkeypatch.setattr("ops_bot.ledger.database.BUSY_SECONDS", 0.05)
    ledger = open_ledger(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerBusy, match="another process holds the ledger's write lock"):
            ledger.record([event(1)])
        assert ledger.stories() == [], "who only reads does not wait"
        other.execute("ROLLBACK")
    assert not ledger.record([event(1)])[0].duplicate
    ledger.close()


def test_a_lock_that_is_given_back_in_time_is_waited_for(path: Path) -> None:
    ledger = open_ledger(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.1, other.execute, ["ROLLBACK"])
        timer.start()
        assert not ledger.record([event(1)])[0].duplicate
        timer.join()
    ledger.close()


def test_a_full_disk_is_said_and_nothing_half_is_kept(ledger: Ledger) -> None:
    with ledger.write() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LedgerFull, match="free some space"):
        ledger.record([event(number, log_tail="x" * 5000) for number in range(50)])
    assert ledger.counts() == NOTHING
    with ledger.write() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 100000")
    ledger.record([event(number, log_tail="x" * 5000) for number in range(50)])
    assert ledger.counts()["events"] == 50


def test_a_disk_that_became_read_only_is_said_and_history_can_still_be_read(ledger: Ledger) -> None:
    ledger.record([event(1)])
    with ledger.read() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")
    with pytest.raises(LedgerReadOnly, match="the ledger is read-only"):
        ledger.record([event(2)])
    assert [story.correlation for story in ledger.stories()] == ["deploy:0"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LedgerReadOnly, match="does its folder exist"):
        Ledger.open(f"sqlite:///{tmp_path}/nowhere/ledger.db")


def test_a_file_that_is_no_ledger(path: Path) -> None:
    path.write_bytes(b"something else entirely, and longer than a header\n" * 100)
    with pytest.raises(LedgerCorrupt, match="this file is no ledger: check OPS_BOT_LEDGER_URL"):
        open_ledger(path)
    assert path.read_bytes().startswith(b"something else"), "what is not ours stays as it is"


def use(path: Path) -> None:
    with contextlib.closing(open_ledger(path)) as damaged:
        for number in range(20):
            damaged.events(f"deploy:{number}")
        damaged.record([event(1000)])


def test_a_damaged_file_is_said_to_be_and_what_to_type(path: Path) -> None:
    ledger = open_ledger(path)
    ledger.record([event(number, log_tail="x" * 3000) for number in range(100)])
    ledger.close()
    with contextlib.closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    content[4096 * 8 : 4096 * 40] = b"\xa5" * (4096 * 32)
    path.write_bytes(content)
    with pytest.raises(LedgerCorrupt, match="ops-bot restore BACKUP"):
        use(path)


def test_a_ledger_of_a_newer_version_is_left_alone(path: Path) -> None:
    open_ledger(path).close()
    with contextlib.closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE meta SET value = '99'")
    with pytest.raises(LedgerError, match="written by a newer ops-bot"):
        open_ledger(path)


def test_what_asks_makes_no_ledger(path: Path) -> None:
    with pytest.raises(LedgerError, match="there is no ledger at"):
        Ledger.open(f"sqlite:///{path}", create=False)
    assert not path.exists()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "nonsense"])
def test_a_ledger_is_a_file(url: str) -> None:
    with pytest.raises(LedgerError, match=r"sqlite:///ledger\.db"):
        Ledger.open(url)


def test_what_is_said_holds_no_statement_and_no_password() -> None:
    with pytest.raises(LedgerError) as refusal:
        Ledger.open("postgresql://bot:hunter2@127.0.0.1:9/ledger")
    assert "hunter2" not in str(refusal.value)
    assert "SELECT" not in str(refusal.value)


def test_what_is_answered_is_flushed_to_the_disk(ledger: Ledger) -> None:
    # 2 is FULL: in this mode SQLite calls fsync before a commit returns (sqlite.org/pragma.html#pragma_synchronous).
    for opened in (ledger.read, ledger.write):
        with opened() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


# Backups.


def consistent(path: Path) -> int:
    """How many events the ledger at `path` holds; each of them must be told by its story and wanted by the sink."""
    with contextlib.closing(open_ledger(path)) as copy:
        counts = copy.counts()
        assert sum(story.updates for story in copy.stories(limit=10_000)) == counts["events"]
        assert counts["waiting"] == counts["stories"]
        return counts["events"]


def test_a_backup_made_while_others_write_is_of_one_moment(ledger: Ledger, tmp_path: Path) -> None:
    done = threading.Event()

    def write() -> None:
        for number in range(10_000):
            if done.is_set():
                return
            ledger.record([event(number)])

    writer = threading.Thread(target=write)
    writer.start()
    sizes = []
    try:
        for number in range(3):
            before = ledger.counts()["events"]
            ledger.backup(tmp_path / f"backup-{number}")
            sizes.append((before, consistent(tmp_path / f"backup-{number}"), ledger.counts()["events"]))
    finally:
        done.set()
        writer.join()
    for before, held, after in sizes:
        assert before <= held <= after
    assert (tmp_path / "backup-0").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir() if "partial" in path.name) == []


def test_a_backup_replaces_nothing(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "backup").write_text("the only copy of something")
    with pytest.raises(FileExistsError, match="exists already; choose another name"):
        ledger.backup(tmp_path / "backup")
    assert (tmp_path / "backup").read_text() == "the only copy of something"


def test_what_was_backed_up_comes_back(path: Path, tmp_path: Path) -> None:
    ledger = open_ledger(path)
    ledger.record([event(number) for number in range(10)])
    ledger.backup(tmp_path / "backup")
    ledger.record([event(number) for number in range(10, 20)])
    with pytest.raises(LedgerError, match="stop the bot first"):
        restore(f"sqlite:///{path}", tmp_path / "backup")
    ledger.close()
    replaced = restore(f"sqlite:///{path}", tmp_path / "backup")
    assert consistent(path) == 10
    assert replaced == path.with_name("ledger.db.replaced-1")
    assert consistent(replaced) == 20, "nothing is thrown away"
    assert restore(f"sqlite:///{path}", tmp_path / "backup") == path.with_name("ledger.db.replaced-2")


def test_what_waited_when_it_was_backed_up_may_have_been_sent_since(path: Path, tmp_path: Path) -> None:
    ledger = open_ledger(path)
    ledger.record([event(1)])
    ledger.backup(tmp_path / "backup")
    [delivery] = ledger.due("slack", START)
    ledger.begin(delivery, START)
    ledger.settle(delivery, delivery.wanted, {"ts": "1"})
    ledger.close()
    restore(f"sqlite:///{path}", tmp_path / "backup")
    with contextlib.closing(open_ledger(path)) as again:
        [delivery] = again.due("slack", START)
        assert delivery.attempt_started == START, "so the sink looks before it sends"


def test_on_a_new_machine(path: Path, tmp_path: Path) -> None:
    ledger = open_ledger(path)
    ledger.record([event(1)])
    ledger.backup(tmp_path / "backup")
    ledger.close()
    assert restore(f"sqlite:///{tmp_path}/elsewhere/ledger.db", tmp_path / "backup") is None
    assert consistent(tmp_path / "elsewhere/ledger.db") == 1


def test_a_damaged_backup_replaces_nothing(path: Path, tmp_path: Path) -> None:
    ledger = open_ledger(path)
    ledger.record([event(number, log_tail="x" * 3000) for number in range(100)])
    ledger.backup(tmp_path / "backup")
    ledger.close()
    content = bytearray((tmp_path / "backup").read_bytes())
    content[4096 * 8 : 4096 * 12] = b"\xa5" * (4096 * 4)
    for damaged in (bytes(content), content[:5000], b"", b"no ledger at all" * 500):
        (tmp_path / "damaged").write_bytes(damaged)
        with pytest.raises(LedgerCorrupt, match="damaged is no whole ledger"):
            restore(f"sqlite:///{path}", tmp_path / "damaged")
    with pytest.raises(LedgerError, match="there is no backup at"):
        restore(f"sqlite:///{path}", tmp_path / "nothing")
    assert consistent(path) == 100
    assert sorted(one.name for one in tmp_path.iterdir() if "restoring" in one.name or "replaced" in one.name) == []
