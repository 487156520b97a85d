"""What happened: append-only events, and the stories they tell. Functions of a connection inside a transaction."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection, and_, bindparam, delete, insert, or_, select, text
from sqlalchemy import func as sql

from ops_bot.events import ENDED, Event, Kind, Story, fold_order
from ops_bot.ledger import outbox
from ops_bot.ledger.outbox import Wanted
from ops_bot.ledger.schema import events, micros, moment, stories
from ops_bot.ledger.schema import outbox as deliveries
from ops_bot.ledger.upsert import upsert
from ops_bot.ledger.usual import with_commits, with_recovered, with_usual

Plan = Callable[[Event], Sequence[Wanted]]
Cursor = tuple[datetime, str]  # (last_at, correlation) of the last story of the page before

# Far below what either database takes in one statement (SQLite: 32,766 variables).
_MANY = 500

# Made once: making a statement costs more than running it.
_APPEND = insert(events).returning(events.c.row, sort_by_parameter_order=True)
_ROWS = select(events.c.id, events.c.row).where(events.c.id.in_(bindparam("some", expanding=True)))
_STORIES = select(stories).where(stories.c.correlation.in_(bindparam("some", expanding=True)))

Item = TypeVar("Item")

# One look into the index for each, not a walk through all of it.
_SERVICES = text("""
    WITH RECURSIVE places (environment) AS (
        SELECT min(environment) FROM stories
        UNION ALL
        SELECT (SELECT min(environment) FROM stories WHERE environment > places.environment)
        FROM places WHERE places.environment IS NOT NULL
    ), found (environment, service) AS (
        SELECT environment, (SELECT min(service) FROM stories WHERE stories.environment = places.environment)
        FROM places WHERE places.environment IS NOT NULL
        UNION ALL
        SELECT environment, (
            SELECT min(service) FROM stories
            WHERE stories.environment = found.environment AND stories.service > found.service
        )
        FROM found WHERE found.service IS NOT NULL
    )
    SELECT environment, service FROM found WHERE service <> ''
""")


@dataclass(frozen=True)
class Recorded:
    """What became of one event: its row; `duplicate` when its id had been recorded before, and nothing was done."""

    id: str
    duplicate: bool
    row: int


def record(connection: Connection, new: Sequence[Event], now: datetime, plan: Plan) -> list[Recorded]:
    """Append `new`, tell their stories on, and want the deliveries of `plan`. One answer an event, in their order."""
    known = _rows_of_ids(connection, {event.id for event in new})
    fresh: dict[str, Event] = {}
    for event in new:
        if event.id not in known:
            known_better = with_commits(connection, with_usual(connection, event))
            fresh.setdefault(event.id, with_recovered(connection, known_better, fresh.values()))
    if fresh:
        rows = connection.scalars(
            _APPEND,
            [
                {
                    "id": event.id,
                    "correlation": event.correlation,
                    "recorded_at": micros(now),
                    "body": dump(event),
                }
                for event in fresh.values()
            ],
        ).all()
        appended = dict(zip(fresh, rows, strict=True))
        _tell_on(connection, list(fresh.values()), appended, now)
        outbox.want(
            connection, [(wanted, appended[event.id]) for event in fresh.values() for wanted in plan(event)], now
        )
        known |= appended
    answers: list[Recorded] = []
    for event in new:
        answers.append(Recorded(event.id, duplicate=event.id not in fresh, row=known[event.id]))
        fresh.pop(event.id, None)  # the second one of the same id is the duplicate
    return answers


def dump(event: Event) -> str:
    """`event` as JSON: what its sender said, no more, and always its id."""
    return event.model_copy(update={"id": event.id}).model_dump_json(exclude_unset=True)


def _tell_on(connection: Connection, fresh: Sequence[Event], rows: dict[str, int], now: datetime) -> None:
    by_correlation: dict[str, list[Event]] = {}
    for event in fresh:
        by_correlation.setdefault(event.correlation, []).append(event)
    told = {}
    for some in _chunks(list(by_correlation)):
        for row in connection.execute(_STORIES, {"some": some}):
            told[row.correlation] = row
    upserts = []
    for correlation, added in by_correlation.items():
        before = told.get(correlation)
        first = min(map(fold_order, added))
        if before is None:
            story = Story.of(added)
            last = max(map(fold_order, added))
        elif first > (before.fold_sequence, moment(before.fold_at), before.fold_id):
            story = Story.model_validate_json(before.body).followed_by(added)
            last = max(map(fold_order, added))
        else:  # one came late, out of order: fold everything anew
            everything = of_correlation(connection, correlation)
            story = Story.of(everything)
            last = max(map(fold_order, everything))
        upserts.append(
            {
                "correlation": correlation,
                "kind": story.kind.value,
                "environment": _plain(story.environment),
                "service": _plain(story.service),
                "open": story.state not in ENDED,
                "last_at": micros(story.last_at),
                "last_row": max([rows[event.id] for event in added] + ([before.last_row] if before else [])),
                "heard_at": micros(now),
                "fold_sequence": last[0],
                "fold_at": micros(last[1]),
                "fold_id": last[2],
                "body": story.model_dump_json(exclude_unset=True),
            }
        )
    upsert(connection, stories, upserts)


def _plain(text: str) -> str:
    return text.replace("\0", "")  # PostgreSQL keeps none in a text


def _rows_of_ids(connection: Connection, ids: set[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for some in _chunks(list(ids)):
        found |= {row.id: row.row for row in connection.execute(_ROWS, {"some": some})}
    return found


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), _MANY):
        yield items[start : start + _MANY]


def of_correlation(connection: Connection, correlation: str) -> list[Event]:
    """The events of one story, in the order in which they were recorded."""
    query = select(events.c.body).where(events.c.correlation == correlation).order_by(events.c.row)
    return [Event.model_validate_json(body) for body in connection.scalars(query)]


def by_id(connection: Connection, event_id: str) -> Event | None:
    """One event."""
    body = connection.scalar(select(events.c.body).where(events.c.id == event_id))
    return None if body is None else Event.model_validate_json(body)


def story(connection: Connection, correlation: str) -> Story | None:
    """One story."""
    body = connection.scalar(select(stories.c.body).where(stories.c.correlation == correlation))
    return None if body is None else Story.model_validate_json(body)


def newest(
    connection: Connection,
    *,
    environment: str | None,
    service: str | None,
    kind: Kind | None,
    since: datetime | None,
    unfinished: bool,
    limit: int,
    before: Cursor | None,
) -> list[Story]:
    """The stories that match, newest first."""
    query = select(stories.c.body)
    if environment is not None:
        query = query.where(stories.c.environment == environment)
    if service is not None:
        query = query.where(stories.c.service == service)
    if kind is not None:
        query = query.where(stories.c.kind == kind.value)
    if since is not None:
        query = query.where(stories.c.last_at >= micros(since))
    if unfinished:
        query = query.where(stories.c.open.is_(True))
    if before is not None:
        at, correlation = micros(before[0]), before[1]
        query = query.where(
            stories.c.last_at <= at,  # for the index, which cannot use the `or` alone
            or_(stories.c.last_at < at, and_(stories.c.last_at == at, stories.c.correlation < correlation)),
        )
    query = query.order_by(stories.c.last_at.desc(), stories.c.correlation.desc()).limit(limit)
    return [Story.model_validate_json(body) for body in connection.scalars(query)]


def silent(connection: Connection, kinds: Sequence[Kind], since: datetime) -> list[tuple[Story, datetime]]:
    """The stories of `kinds` that have not ended and were not heard of `since`, and when each last was."""
    query = select(stories.c.body, stories.c.heard_at).where(
        stories.c.open.is_(True),
        stories.c.kind.in_([kind.value for kind in kinds]),
        stories.c.heard_at < micros(since),
    )
    return [(Story.model_validate_json(row.body), moment(row.heard_at)) for row in connection.execute(query)]


def matching(connection: Connection, beginning: str, limit: int) -> list[str]:
    """Correlations that start with `beginning`."""
    query = select(stories.c.correlation).where(stories.c.correlation.startswith(beginning, autoescape=True))
    return list(connection.scalars(query.order_by(stories.c.last_at.desc()).limit(limit)))


def services(connection: Connection) -> list[tuple[str, str]]:
    """Every (environment, service) anything ever happened to."""
    return sorted((row.environment, row.service) for row in connection.execute(_SERVICES))


def forget(connection: Connection, before: datetime, limit: int) -> int:
    """Delete up to `limit` stories that nothing happened to since `before` and that no sink waits for. How many."""
    waiting = select(deliveries.c.correlation).where(deliveries.c.pending.is_(True))
    query = select(stories.c.correlation).where(
        stories.c.last_at < micros(before), stories.c.correlation.not_in(waiting.distinct())
    )
    old = list(connection.scalars(query.order_by(stories.c.last_at).limit(limit)))
    for some in _chunks(old):
        for table in (deliveries, events, stories):
            connection.execute(delete(table).where(table.c.correlation.in_(some)))
    return len(old)


def count(connection: Connection) -> tuple[int, int]:
    """How many events and stories there are."""
    return (
        connection.scalar(select(sql.count()).select_from(events)) or 0,
        connection.scalar(select(sql.count()).select_from(stories)) or 0,
    )
