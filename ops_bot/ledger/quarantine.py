"""Bodies of authenticated senders that nobody could read: kept, bounded, for a person to look at."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy import func as sql

from ops_bot.ledger.schema import micros, moment
from ops_bot.ledger.schema import quarantine as table

KEEP = 1000


@dataclass(frozen=True)
class Quarantined:
    """One unreadable body."""

    received_at: datetime
    source: str
    reason: str
    body: str


def put(connection: Connection, source: str, reason: str, body: str, now: datetime) -> None:
    """Keep one; the oldest over KEEP goes."""
    row = connection.scalar(
        insert(table)
        .values(received_at=micros(now), source=_plain(source), reason=_plain(reason), body=_plain(body))
        .returning(table.c.row)
    )
    connection.execute(delete(table).where(table.c.row <= (row or 0) - KEEP))


def newest(connection: Connection, limit: int) -> list[Quarantined]:
    """The newest first."""
    rows = connection.execute(select(table).order_by(table.c.row.desc()).limit(limit))
    return [Quarantined(moment(row.received_at), row.source, row.reason, row.body) for row in rows]


def count(connection: Connection) -> int:
    """How many are kept."""
    return connection.scalar(select(sql.count()).select_from(table)) or 0


def _plain(text: str) -> str:
    return text.replace("\0", "")  # PostgreSQL keeps none in a text
