"""The engine under the ledger: durable SQLite or PostgreSQL, one writer at a time, errors a person understands."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from ops_bot.ledger.schema import VERSION, meta, metadata

BUSY_SECONDS = 5
# Writers of one ledger queue here, as they do behind SQLite's BEGIN IMMEDIATE: rows are committed in their order.
_ADVISORY_LOCK = 0x7A67B0A7


class LedgerError(Exception):
    """The ledger could not be read or written; nothing was recorded. The message says why and what to do."""


class LedgerBusy(LedgerError):
    """Somebody else held the write lock for too long. Trying again helps."""


class LedgerFull(LedgerError):
    """The disk, or the database's own limit, is full."""


class LedgerReadOnly(LedgerError):
    """The file or its folder cannot be written."""


class LedgerCorrupt(LedgerError):
    """The file is damaged, or is no ledger."""


# What the databases say, in part, to what it means. SQLite's own texts: sqlite3ErrStr() in its main.c.
_MEANINGS: list[tuple[str, type[LedgerError], str]] = [
    ("database is locked", LedgerBusy, "another process holds the ledger's write lock"),
    ("database table is locked", LedgerBusy, "another process holds the ledger's write lock"),
    ("due to lock timeout", LedgerBusy, "another process holds the ledger's write lock"),
    ("database or disk is full", LedgerFull, "the ledger's disk is full: free some space"),
    ("No space left", LedgerFull, "the ledger's disk is full: free some space"),
    ("attempt to write a readonly", LedgerReadOnly, "the ledger is read-only: give its file and folder to this user"),
    ("read-only transaction", LedgerReadOnly, "the ledger is read-only: write to the primary"),
    ("unable to open database", LedgerReadOnly, "the ledger cannot be opened: does its folder exist, may we write it?"),
    ("malformed", LedgerCorrupt, "the ledger is damaged: stop the bot and type: ops-bot restore BACKUP"),
    ("file is not a database", LedgerCorrupt, "this file is no ledger: check OPS_BOT_LEDGER_URL"),
    ("disk I/O error", LedgerFull, "the ledger's disk does not take writes: is it full, or broken?"),
]


def explain(error: SQLAlchemyError) -> LedgerError:
    """What `error` of the database means for the ledger. The text holds no SQL, no parameters and no password."""
    return _meaning(str(error.orig) if isinstance(error, DBAPIError) else str(error))


def explain_sqlite(error: sqlite3.Error) -> LedgerError:
    """The same for the driver's own errors."""
    return _meaning(str(error))


def _meaning(said: str) -> LedgerError:
    for part, meaning, advice in _MEANINGS:
        if part.lower() in said.lower():
            return meaning(f"{advice} ({said})")
    return LedgerError(f"the ledger's database refused: {said}")


class Database:
    """An open database. `write()` is one durable transaction; `read()` one consistent view."""

    def __init__(self, url: str, *, create: bool = True) -> None:
        """Open `url`, creating file and tables where there are none. Raises LedgerError."""
        try:
            parsed = make_url(url)
        except ArgumentError as error:
            raise LedgerError("this is no address of a ledger; for example sqlite:///ledger.db") from error
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.path = parsed.database if self.is_sqlite else None
        if self.is_sqlite and self.path in (None, "", ":memory:"):
            raise LedgerError("a ledger is kept in a file: sqlite:///ledger.db")
        if self.path is not None and not create and not Path(self.path).exists():
            raise LedgerError(f"there is no ledger at {self.path}: check OPS_BOT_LEDGER_URL, or type: ops-bot serve")
        # Threads of this process queue on a lock of its own: SQLite's way to wait is to sleep and try again.
        self._turn = threading.RLock()
        if self.is_sqlite:
            self.engine: Engine = create_engine(parsed, connect_args={"timeout": BUSY_SECONDS}, pool_size=8)
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            parsed = parsed.set(drivername="postgresql+psycopg")
            self.engine = create_engine(parsed, pool_size=8, pool_pre_ping=True, connect_args={"connect_timeout": 5})
            event.listen(self.engine, "connect", _prepare_postgresql)
        try:
            self._create()
        except LedgerError:
            self.engine.dispose()
            raise

    def _create(self) -> None:
        # Looked up first: history can be read while another process writes, and from a full disk.
        with self.read() as connection:
            if inspect(connection).has_table(meta.name) and _version(connection) == VERSION:
                return
        with self.write() as connection:
            metadata.create_all(connection)
            found = _version(connection)
            if found is None:
                connection.execute(insert(meta).values(name="version", value=str(VERSION)))
            elif found > VERSION:
                raise LedgerError(f"this ledger was written by a newer ops-bot (schema {found}): install that one")
            elif found < VERSION:
                # The place for the steps from one version to the next, once there are two.
                connection.execute(update(meta).where(meta.c.name == "version").values(value=str(VERSION)))

    def check(self) -> None:
        """Raise LedgerError when nothing can be read."""
        with self.read() as connection:
            _version(connection)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, the only one that writes; on disk when the block has been left. Raises LedgerError."""
        with self._turn, self._translated(), self.engine.connect() as fresh:
            connection = fresh.execution_options(writes=True)
            with connection.begin():
                if not self.is_sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
                yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view, that neither waits for writers nor holds them up. Raises LedgerError."""
        with self._translated(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise explain(error) from error

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _version(connection: Connection) -> int | None:
    found = connection.scalar(select(meta.c.value).where(meta.c.name == "version"))
    return None if found is None else int(found)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver must not begin transactions by itself: it would begin them without the write lock.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later would fail, not wait, when another one wrote in between.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _prepare_postgresql(connection: Any, _record: object) -> None:
    connection.autocommit = True
    connection.execute("SET synchronous_commit = on")
    connection.execute(f"SET lock_timeout = '{BUSY_SECONDS}s'")
    connection.autocommit = False
