"""The tables of the ledger, one schema for SQLite and PostgreSQL. Times are microseconds since 1970, UTC."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, String, Table, Text

VERSION = 1

metadata = MetaData()

# SQLite counts rows up by itself only where the type is exactly INTEGER.
Row = BigInteger().with_variant(Integer, "sqlite")

meta = Table("meta", metadata, Column("name", String(50), primary_key=True), Column("value", Text, nullable=False))

# Append-only: what happened, as it was told.
events = Table(
    "events",
    metadata,
    Column("row", Row, primary_key=True, autoincrement=True),  # the order in which they were recorded
    Column("id", Text, nullable=False, unique=True),
    Column("correlation", Text, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Column("body", Text, nullable=False),  # JSON
    Index("events_of_a_story", "correlation", "row"),
    sqlite_autoincrement=True,  # a row is never given twice, not even after the newest was pruned
)

# A projection of `events`, kept in the same transaction: one row per correlation, to be found fast.
stories = Table(
    "stories",
    metadata,
    Column("correlation", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("open", Boolean, nullable=False),  # not ended
    Column("last_at", BigInteger, nullable=False),
    Column("last_row", Row, nullable=False),
    Column("heard_at", BigInteger, nullable=False),  # when its last event was recorded, by our clock
    # The place of its last event in the order in which events fold.
    Column("fold_sequence", BigInteger, nullable=False),
    Column("fold_at", BigInteger, nullable=False),
    Column("fold_id", Text, nullable=False),
    Column("body", Text, nullable=False),  # JSON
    Index("stories_by_time", "last_at", "correlation"),
    Index("stories_of_environment", "environment", "last_at", "correlation"),
    Index("stories_of_service", "service", "last_at", "correlation"),
    Index("stories_of_kind", "kind", "last_at", "correlation"),
    Index("stories_of_release", "environment", "service", "last_at", "correlation"),
    Index("stories_of_release_and_kind", "environment", "service", "kind", "last_at", "correlation"),
    Index("stories_open", "open", "kind", "last_at", "correlation"),
)

# What each sink must show: one row per visible thing. `wanted` and `shown` are rows of `events`.
outbox = Table(
    "outbox",
    metadata,
    Column("sink", String(50), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("correlation", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("wanted", Row, nullable=False),
    Column("shown", Row, nullable=False),  # 0: nothing yet
    Column("pending", Boolean, nullable=False),
    Column("parked", Boolean, nullable=False),
    Column("waiting_since", BigInteger, nullable=False),
    Column("next_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("attempt_started", BigInteger),
    Column("ref", Text),  # JSON: how the sink finds what it shows, to change it
    Column("error", Text, nullable=False),
    Index("outbox_due", "sink", "pending", "wanted", "waiting_since"),  # the last one to know a backlog without rows
    Index("outbox_parked", "sink", "parked"),
    Index("outbox_of_a_story", "correlation", "sink", "key"),
)

sinks = Table(
    "sinks",
    metadata,
    Column("sink", String(50), primary_key=True),
    Column("state", String(20), nullable=False),
    Column("reason", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger),
    Column("owner", Text, nullable=False),  # who may send
    Column("lease_until", BigInteger, nullable=False),
)

# What an authenticated sender sent and nobody could read, for a person to look at.
quarantine = Table(
    "quarantine",
    metadata,
    Column("row", Row, primary_key=True, autoincrement=True),
    Column("received_at", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("body", Text, nullable=False),
    sqlite_autoincrement=True,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


def micros(moment: datetime) -> int:
    """Microseconds since 1970 of an aware `moment`, exactly."""
    return (moment - _EPOCH) // _TICK


def moment(value: int) -> datetime:
    """The aware UTC datetime of `value` microseconds since 1970."""
    return _EPOCH + value * _TICK
