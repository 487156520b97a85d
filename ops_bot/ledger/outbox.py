"""What each sink must show: one row per visible thing, which remembers the newest state wanted and the one shown."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, case, select, update
from sqlalchemy import func as sql

from ops_bot.ledger.schema import micros, moment
from ops_bot.ledger.schema import outbox as table
from ops_bot.ledger.upsert import upsert


@dataclass(frozen=True)
class Wanted:
    """One thing a sink must show because of an event. `key` names the thing; things of one `lane` share a pace.

    `if_known`: only when an earlier event wanted it already; this one alone is not worth showing.
    """

    sink: str
    key: str
    correlation: str
    lane: str = ""
    if_known: bool = False


@dataclass(frozen=True)
class Delivery:
    """One thing a sink shows or must show. `wanted` and `shown` are rows of events; they differ while it waits.

    `attempt_started` is set when an earlier attempt may have succeeded unseen: look first, before sending anew.
    """

    sink: str
    key: str
    correlation: str
    lane: str
    wanted: int
    shown: int
    ref: dict[str, Any] | None
    attempts: int
    attempt_started: datetime | None
    next_at: datetime
    waiting_since: datetime
    pending: bool
    parked: bool
    error: str


@dataclass(frozen=True)
class Backlog:
    """How many deliveries of a sink wait, and for how long the oldest has waited."""

    count: int
    oldest: timedelta | None
    parked: int = 0


def want(connection: Connection, wanted: Sequence[tuple[Wanted, int]], now: datetime) -> None:
    """Want each thing shown as of an event's row. A thing that waits already waits on, for the newer state."""
    newest: dict[tuple[str, str], tuple[Wanted, int]] = {}
    unknown = _unknown(connection, [thing for thing, _ in wanted])
    for thing, row in sorted(wanted, key=lambda pair: pair[1]):
        place = (thing.sink, thing.key)
        if not (thing.if_known and place in unknown and place not in newest):
            newest[place] = (thing, row)
    at = micros(now)
    rows = [
        {
            "sink": thing.sink,
            "key": thing.key,
            "correlation": thing.correlation,
            "lane": thing.lane,
            "wanted": row,
            "shown": 0,
            "pending": True,
            "parked": False,
            "waiting_since": at,
            "next_at": at,
            "attempts": 0,
            "error": "",
        }
        for thing, row in newest.values()
    ]
    upsert(connection, table, rows, _wanted_anew)


def _unknown(connection: Connection, things: Sequence[Wanted]) -> set[tuple[str, str]]:
    """Of the things that are wanted if known: those that are not."""
    asked = {(thing.sink, thing.key) for thing in things if thing.if_known}
    known: set[tuple[str, str]] = set()
    keys = sorted({key for _, key in asked})
    for start in range(0, len(keys), 500):  # far below what either database takes in one statement
        query = select(table.c.sink, table.c.key).where(table.c.key.in_(keys[start : start + 500]))
        known |= {(row.sink, row.key) for row in connection.execute(query)}
    return asked - known


def _wanted_anew(new: Any) -> dict[str, Any]:
    """What becomes of a thing that is wanted once more, as of the row in `new`."""
    return {
        "wanted": new.wanted,
        "lane": new.lane,
        "pending": True,
        "parked": False,  # what was refused then may be taken now
        "waiting_since": case((table.c.pending, table.c.waiting_since), else_=new.waiting_since),
        "next_at": case((table.c.pending, table.c.next_at), else_=new.next_at),
        "attempts": case((table.c.pending, table.c.attempts), else_=0),
    }


def due(
    connection: Connection, sink: str, now: datetime, limit: int, without_lanes: Collection[str] = ()
) -> list[Delivery]:
    """What `sink` may try now, newest state first; nothing of `without_lanes`."""
    query = select(table).where(table.c.sink == sink, table.c.pending.is_(True), table.c.next_at <= micros(now))
    if without_lanes:
        query = query.where(table.c.lane.not_in(without_lanes))
    return [_delivery(row) for row in connection.execute(query.order_by(table.c.wanted.desc()).limit(limit))]


def next_due(connection: Connection, sink: str) -> datetime | None:
    """When the next delivery of `sink` may be tried; None when nothing waits."""
    query = select(sql.min(table.c.next_at)).where(table.c.sink == sink, table.c.pending.is_(True))
    found = connection.scalar(query)
    return None if found is None else moment(found)


def hurry(connection: Connection, sink: str, now: datetime) -> None:
    """Let nothing of `sink` wait beyond `now`."""
    late = (table.c.sink == sink) & table.c.pending.is_(True) & (table.c.next_at > micros(now))
    connection.execute(update(table).where(late).values(next_at=micros(now)))


def listed(connection: Connection, sink: str | None, correlation: str | None, limit: int) -> list[Delivery]:
    """For people: of one story everything; else what waits or is parked, the longest waiting first."""
    query = select(table)
    if sink is not None:
        query = query.where(table.c.sink == sink)
    if correlation is not None:
        query = query.where(table.c.correlation == correlation).order_by(table.c.sink, table.c.key)
    else:
        query = query.where(table.c.pending.is_(True) | table.c.parked.is_(True)).order_by(table.c.waiting_since)
    return [_delivery(row) for row in connection.execute(query.limit(limit))]


def begin(connection: Connection, delivery: Delivery, now: datetime) -> None:
    """Note that an attempt starts. An earlier one nobody knows the end of keeps its time."""
    _change(
        connection,
        delivery,
        attempts=table.c.attempts + 1,
        attempt_started=sql.coalesce(table.c.attempt_started, micros(now)),
    )


def settle(connection: Connection, delivery: Delivery, shown: int, ref: dict[str, Any] | None, now: datetime) -> None:
    """Note that the sink shows the thing as of event row `shown`. It waits on if a newer state came meanwhile."""
    newer = table.c.wanted > shown
    _change(
        connection,
        delivery,
        shown=case((table.c.shown > shown, table.c.shown), else_=shown),
        ref=None if ref is None else json.dumps(ref),
        pending=newer,
        parked=False,
        waiting_since=case((newer, micros(now)), else_=table.c.waiting_since),
        next_at=micros(now),
        attempts=0,
        attempt_started=None,
        error="",
    )


def retry(connection: Connection, delivery: Delivery, at: datetime, error: str) -> None:
    """Note that the attempt failed for certain; the next may start at `at`.

    What was in doubt before this attempt stays in doubt: `delivery` must be the one read before `begin`.
    """
    started = delivery.attempt_started
    _change(
        connection,
        delivery,
        next_at=micros(at),
        attempt_started=None if started is None else micros(started),
        error=error,
    )


def ambiguous(connection: Connection, delivery: Delivery, at: datetime, error: str) -> None:
    """Note that nobody knows whether the attempt succeeded; at `at`, look first."""
    _change(connection, delivery, next_at=micros(at), error=error)


def park(connection: Connection, delivery: Delivery, error: str) -> None:
    """Note that the sink will never take this; it waits no more, until a newer state or a person wants it again."""
    _change(connection, delivery, pending=False, parked=True, attempt_started=None, error=error)


def replay(connection: Connection, correlation: str, sink: str | None, now: datetime) -> int:
    """Want everything of a story shown again, now. How many things."""
    statement = update(table).where(table.c.correlation == correlation)
    if sink is not None:
        statement = statement.where(table.c.sink == sink)
    at = micros(now)
    return connection.execute(
        statement.values(
            pending=True,
            parked=False,
            next_at=at,
            attempts=0,
            waiting_since=case((table.c.pending, table.c.waiting_since), else_=at),
        )
    ).rowcount


def doubt_everything(connection: Connection) -> int:
    """Make sinks look before they send what waits: after a restore, it may have been sent since the backup."""
    return connection.execute(
        update(table)
        .where(table.c.pending.is_(True), table.c.attempt_started.is_(None))
        .values(attempt_started=table.c.waiting_since)
    ).rowcount


def backlog(connection: Connection, sink: str, now: datetime) -> Backlog:
    """What waits for `sink`."""
    query = select(sql.count(), sql.min(table.c.waiting_since))
    count, oldest = connection.execute(query.where(table.c.sink == sink, table.c.pending.is_(True))).one()
    parked = connection.scalar(
        select(sql.count()).select_from(table).where(table.c.sink == sink, table.c.parked.is_(True))
    )
    return Backlog(count, None if oldest is None else now - moment(oldest), parked or 0)


def count(connection: Connection) -> tuple[int, int]:
    """How many deliveries wait, and how many are parked."""
    waiting = connection.scalar(select(sql.count()).select_from(table).where(table.c.pending.is_(True)))
    parked = connection.scalar(select(sql.count()).select_from(table).where(table.c.parked.is_(True)))
    return waiting or 0, parked or 0


def _change(connection: Connection, delivery: Delivery, **values: Any) -> None:
    chosen = update(table).where(table.c.sink == delivery.sink, table.c.key == delivery.key)
    connection.execute(chosen.values(values))


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        sink=row.sink,
        key=row.key,
        correlation=row.correlation,
        lane=row.lane,
        wanted=row.wanted,
        shown=row.shown,
        ref=None if row.ref is None else json.loads(row.ref),
        attempts=row.attempts,
        attempt_started=None if row.attempt_started is None else moment(row.attempt_started),
        next_at=moment(row.next_at),
        waiting_since=moment(row.waiting_since),
        pending=row.pending,
        parked=row.parked,
        error=row.error,
    )
