"""Copies of a ledger: made while it is used, put back while it is not."""

import contextlib
import fcntl
import os
import shutil
import sqlite3
from pathlib import Path

from sqlalchemy.engine import make_url

from ops_bot.ledger import outbox
from ops_bot.ledger.database import Database, LedgerCorrupt, LedgerError, explain_sqlite


def lock_against_restore(path: Path) -> int | None:
    """Say that this process uses the ledger at `path`, until the descriptor is closed. None where we may not write."""
    try:
        descriptor = os.open(_lock_file(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None  # reading from a read-only disk needs no lock
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise LedgerError("this ledger is being restored right now: try again when that has ended") from None
    return descriptor


def back_up(database: Database, path: Path) -> None:
    """Copy a SQLite ledger to `path`, as it is at one moment, and put it on disk.

    Raises FileExistsError when `path` exists, LedgerError when it cannot be done.
    """
    if database.path is None:
        raise LedgerError("a ledger in PostgreSQL is backed up by its own tool: pg_dump --format=custom")
    if path.exists():
        raise FileExistsError(f"{path} exists already; choose another name")
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        with contextlib.closing(sqlite3.connect(database.path, timeout=5, isolation_level=None)) as source:
            # One read transaction: writers go on, and what they write is not in it.
            source.execute("VACUUM INTO ?", [str(partial)])
        _check(partial, path.name)
        partial.chmod(0o600)
        _sync(partial)
        partial.rename(path)
        _sync(path.parent)
    except sqlite3.Error as error:
        raise explain_sqlite(error) from error
    finally:
        partial.unlink(missing_ok=True)


def restore(url: str, backup: Path) -> Path | None:
    """Put `backup` in the place of the SQLite ledger at `url`. The path the old one was moved to, if there was one.

    What waited when the backup was made may have been sent since: sinks will look before they send it again.
    Raises LedgerError: it is in use, or the backup is not whole.
    """
    name = make_url(url).database
    if not url.startswith("sqlite:///") or not name:
        raise LedgerError("a ledger in PostgreSQL is restored by its own tool: pg_restore")
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(_lock_file(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LedgerError("the ledger is in use: stop the bot first, then restore") from None
        if not backup.is_file():
            raise LedgerError(f"there is no backup at {backup}")
        fresh = path.with_name(f".{path.name}.restoring")
        shutil.copyfile(backup, fresh)
        try:
            fresh.chmod(0o600)
            _check(fresh, backup.name)
            database = Database(f"sqlite:///{fresh}")
            with database.write() as connection:
                outbox.doubt_everything(connection)
            database.close()
            _sync(fresh)
            old = _put_aside(path)
            fresh.rename(path)
            _sync(path.parent)
            return old
        except sqlite3.Error as error:
            raise explain_sqlite(error) from error
        finally:
            for part in ("", "-wal", "-shm"):
                fresh.with_name(fresh.name + part).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _put_aside(path: Path) -> Path | None:
    if not path.exists():
        return None
    number = 1
    while (old := path.with_name(f"{path.name}.replaced-{number}")).exists():
        number += 1
    # The log belongs to its database: it goes with it, or it would be played into the new one.
    for part in ("-wal", "-shm", ""):
        if (file := path.with_name(path.name + part)).exists():
            file.rename(old.with_name(old.name + part))
    return old


def _check(path: Path, name: str) -> None:
    with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as copy:
        try:
            found = [row[0] for row in copy.execute("PRAGMA integrity_check(3)")]
            copy.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
        except sqlite3.DatabaseError as error:
            raise LedgerCorrupt(f"{name} is no whole ledger: {error}") from error
    if found != ["ok"]:
        raise LedgerCorrupt(f"{name} is no whole ledger: {'; '.join(found)}")


def _lock_file(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
