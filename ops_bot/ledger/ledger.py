"""The one object that others use: each method one transaction, in the words of the modules beside it."""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Engine

from ops_bot.events import Event, Kind, Story
from ops_bot.ledger import history, outbox, quarantine, sink_states
from ops_bot.ledger.backup import back_up, lock_against_restore
from ops_bot.ledger.database import Database
from ops_bot.ledger.history import Cursor, Plan, Recorded
from ops_bot.ledger.outbox import Backlog, Delivery, Wanted
from ops_bot.ledger.quarantine import Quarantined
from ops_bot.ledger.sink_states import Circuit, SinkState

Clock = Callable[[], datetime]

# Stories deleted in one transaction: few enough that nobody who wants to record waits long.
_PRUNED_AT_ONCE = 200


def utc_now() -> datetime:
    """The machine's clock."""
    return datetime.now(UTC)


def _nothing(_event: Event) -> Sequence[Wanted]:
    return ()


class Ledger:
    """An open ledger. May be used from many threads, and by many processes at once."""

    def __init__(self, database: Database, clock: Clock, plan: Plan) -> None:
        self._database = database
        self._clock = clock
        self._plan = plan
        self._listeners: list[Callable[[], None]] = []
        self._lock: int | None = None

    @classmethod
    def open(cls, url: str, *, clock: Clock = utc_now, plan: Plan = _nothing, create: bool = True) -> Self:
        """Open the ledger at `url` (`sqlite:///path` or `postgresql://…`), making it where there is none.

        Without `create`, a file that is not there is a LedgerError: asking must not make an empty ledger.
        `plan` says which deliveries an event wants; they are wanted in the transaction that records the event.
        """
        database = Database(url, create=create)
        ledger = cls(database, clock, plan)
        if database.path is not None:
            ledger._lock = lock_against_restore(Path(database.path))
        return ledger

    def check(self) -> None:
        """Raise LedgerError when the ledger cannot be read."""
        self._database.check()

    def close(self) -> None:
        """Close every connection."""
        self._database.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def engine(self) -> Engine:
        """The SQLAlchemy engine, for tables of others beside ours."""
        return self._database.engine

    def write(self) -> AbstractContextManager[Connection]:
        """One transaction that may write, durable when its block is left."""
        return self._database.write()

    def read(self) -> AbstractContextManager[Connection]:
        """One consistent view."""
        return self._database.read()

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` (from any thread; it must return at once) after this process changed what is wanted."""
        self._listeners.append(listener)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    # What happened.

    def record(self, events: Sequence[Event]) -> list[Recorded]:
        """Append `events` and want what they want shown: all or none. An id known already is a duplicate: a no-op."""
        with self.write() as connection:
            recorded = history.record(connection, events, self._clock(), self._plan)
        if not all(one.duplicate for one in recorded):
            self._tell()
        return recorded

    @contextmanager
    def recording(self) -> Iterator[tuple[Connection, Callable[[Sequence[Event]], list[Recorded]]]]:
        """One transaction for tables of others beside ours, and a `record` whose events are part of it."""
        recorded: list[Recorded] = []

        with self.write() as connection:

            def record(events: Sequence[Event]) -> list[Recorded]:
                done = history.record(connection, events, self._clock(), self._plan)
                recorded.extend(done)
                return done

            yield connection, record
        if not all(one.duplicate for one in recorded):
            self._tell()

    def story(self, correlation: str) -> Story | None:
        """What the events of `correlation` tell together."""
        with self.read() as connection:
            return history.story(connection, correlation)

    def events(self, correlation: str) -> list[Event]:
        """The events of `correlation` as they were recorded, oldest first."""
        with self.read() as connection:
            return history.of_correlation(connection, correlation)

    def event(self, event_id: str) -> Event | None:
        """One event by its id."""
        with self.read() as connection:
            return history.by_id(connection, event_id)

    def stories(
        self,
        environment: str | None = None,
        service: str | None = None,
        kind: Kind | None = None,
        *,
        since: datetime | None = None,
        limit: int = 50,
        before: Cursor | None = None,
        unfinished: bool = False,
    ) -> list[Story]:
        """The newest `limit` stories, by their last event. The next page: `before=(last_at, correlation)` of the last.

        `unfinished` keeps those that have not ended.
        """
        with self.read() as connection:
            return history.newest(
                connection,
                environment=environment,
                service=service,
                kind=kind,
                since=since,
                unfinished=unfinished,
                limit=limit,
                before=before,
            )

    def silent(self, kinds: Sequence[Kind], since: datetime) -> list[tuple[Story, datetime]]:
        """Stories of `kinds` that have not ended and of which nothing was recorded `since`, and when something was."""
        with self.read() as connection:
            return history.silent(connection, kinds, since)

    def matching(self, beginning: str, limit: int = 20) -> list[str]:
        """Correlations that start with `beginning`, newest first."""
        with self.read() as connection:
            return history.matching(connection, beginning, limit)

    def services(self) -> list[tuple[str, str]]:
        """Every (environment, service) that anything happened to."""
        with self.read() as connection:
            return history.services(connection)

    def prune(self, before: datetime) -> int:
        """Forget stories nothing happened to since `before`, except what a sink waits for. How many were."""
        forgotten = 0
        while True:
            with self.write() as connection:
                some = history.forget(connection, before, _PRUNED_AT_ONCE)
            forgotten += some
            if some < _PRUNED_AT_ONCE:
                return forgotten

    def quarantine(self, source: str, reason: str, body: str) -> None:
        """Keep what an authenticated sender sent and nobody could read, for a person to look at."""
        with self.write() as connection:
            quarantine.put(connection, source, reason, body, self._clock())

    def quarantined(self, limit: int = 50) -> list[Quarantined]:
        """What is kept there, newest first."""
        with self.read() as connection:
            return quarantine.newest(connection, limit)

    def counts(self) -> dict[str, int]:
        """How many events, stories and unreadable bodies there are, and how many deliveries wait or are parked."""
        with self.read() as connection:
            events, stories = history.count(connection)
            waiting, parked = outbox.count(connection)
            return {
                "events": events,
                "stories": stories,
                "waiting": waiting,
                "parked": parked,
                "quarantined": quarantine.count(connection),
            }

    def backup(self, path: Path) -> None:
        """Write a consistent copy to `path`, while others read and write. Raises LedgerError, FileExistsError."""
        back_up(self._database, path)

    # What sinks must be told. The time is the caller's, so that one clock rules a delivery.

    def due(self, sink: str, now: datetime, limit: int = 100, *, without_lanes: Collection[str] = ()) -> list[Delivery]:
        """The deliveries of `sink` that may be tried now, newest state first; nothing of `without_lanes`."""
        with self.read() as connection:
            return outbox.due(connection, sink, now, limit, without_lanes)

    def hurry(self, sink: str, now: datetime) -> None:
        """Let everything that waits for `sink` be tried now: the clock its times were of has been set back."""
        with self.write() as connection:
            outbox.hurry(connection, sink, now)

    def next_due(self, sink: str) -> datetime | None:
        """When the next delivery of `sink` may be tried; None when nothing waits."""
        with self.read() as connection:
            return outbox.next_due(connection, sink)

    def begin(self, delivery: Delivery, now: datetime) -> None:
        """Before the network is touched: note on disk that an attempt starts."""
        with self.write() as connection:
            outbox.begin(connection, delivery, now)

    def settle(self, delivery: Delivery, shown: int, ref: dict[str, Any] | None) -> None:
        """The sink shows it as of event row `shown`; `ref` finds it there again."""
        with self.write() as connection:
            outbox.settle(connection, delivery, shown, ref, self._clock())

    def retry(self, delivery: Delivery, at: datetime, error: str) -> None:
        """It failed for certain; try again at `at`. `delivery` is the one `due` gave, from before `begin`."""
        with self.write() as connection:
            outbox.retry(connection, delivery, at, error)

    def ambiguous(self, delivery: Delivery, at: datetime, error: str) -> None:
        """Nobody knows whether it was sent: at `at`, reconcile first (`attempt_started` stays)."""
        with self.write() as connection:
            outbox.ambiguous(connection, delivery, at, error)

    def park(self, delivery: Delivery, error: str) -> None:
        """The sink will never take it: stop trying until a newer state comes, or `replay`."""
        with self.write() as connection:
            outbox.park(connection, delivery, error)

    def replay(self, correlation: str, sink: str | None = None) -> int:
        """Want everything of a story shown again, by one sink or all. How many things that is."""
        with self.write() as connection:
            wanted = outbox.replay(connection, correlation, sink, self._clock())
        self._tell()
        return wanted

    def deliveries(self, sink: str | None = None, correlation: str | None = None, limit: int = 100) -> list[Delivery]:
        """All of one story; else those that wait or are parked, the longest waiting first."""
        with self.read() as connection:
            return outbox.listed(connection, sink, correlation, limit)

    def backlog(self, sink: str) -> Backlog:
        """How much waits for `sink`, and for how long."""
        with self.read() as connection:
            return outbox.backlog(connection, sink, self._clock())

    def sink_state(self, sink: str) -> SinkState:
        """How `sink` is."""
        with self.read() as connection:
            return sink_states.get(connection, sink)

    def health(self, sink: str) -> SinkState:
        """How `sink` is for people: also not ok when one of its channels is not."""
        with self.read() as connection:
            return sink_states.health(connection, sink)

    def set_sink_state(self, sink: str, state: Circuit, reason: str = "", until: datetime | None = None) -> None:
        """Note how `sink` is, for this process, the next one, and people."""
        with self.write() as connection:
            sink_states.put(connection, sink, SinkState(state, reason, self._clock(), until))

    def lead(self, sink: str, owner: str, now: datetime, seconds: float) -> bool:
        """Whether `owner` may send to `sink` for the next `seconds`: of two processes on one ledger, one may."""
        with self.write() as connection:
            return sink_states.lead(connection, sink, owner, now, seconds)

    def leader(self, sink: str) -> str:
        """Who may send to `sink` now; empty when nobody does."""
        with self.read() as connection:
            return sink_states.leader(connection, sink, self._clock())

    def release(self, owner: str) -> None:
        """Give up what `owner` leads, for the next process to take over at once."""
        with self.write() as connection:
            sink_states.release(connection, owner)
