"""Error groups, cursors and what the assembler remembers, in tables beside the ledger's. Functions of a connection."""

import json
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import BigInteger, Column, Connection, Index, MetaData, Table, Text, delete, func, select

from ops_bot.errors.groups import Group
from ops_bot.events import State
from ops_bot.ledger.schema import micros
from ops_bot.ledger.upsert import upsert

metadata = MetaData()

groups = Table(
    "error_groups",
    metadata,
    Column("environment", Text, primary_key=True),
    Column("fingerprint", Text, primary_key=True),
    Column("service", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("body", Text, nullable=False),  # JSON
    Index("error_groups_by_state", "environment", "state", "last_at"),
    Index("error_groups_by_first", "environment", "service", "first_at"),
)

# How far each journal file has been read.
journals = Table(
    "error_journals",
    metadata,
    Column("file", Text, primary_key=True),  # the id in its header: it stays when the file is renamed
    Column("cursor", Text, nullable=False),
)

# What is remembered between two entries, and since when journals are followed. `version` counts its changes up: whoever
# changes it must have seen the last one.
memory = Table(
    "error_memory",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("body", Text, nullable=False),  # JSON
)

_GROUP = TypeAdapter(Group)
_MANY = 500


def create(connection: Connection) -> None:
    """Make the tables where there are none."""
    metadata.create_all(connection)


def load(connection: Connection, environment: str, fingerprints: Collection[str]) -> dict[str, Group]:
    """Return the groups of these fingerprints, as far as they are known."""
    wanted, found = sorted(fingerprints), {}
    for start in range(0, len(wanted), _MANY):
        query = select(groups.c.body).where(
            groups.c.environment == environment, groups.c.fingerprint.in_(wanted[start : start + _MANY])
        )
        for body in connection.scalars(query):
            group = _GROUP.validate_json(body)
            found[group.fingerprint] = group
    return found


def save(connection: Connection, changed: Iterable[Group]) -> None:
    """Keep these groups as they are now."""
    upsert(
        connection,
        groups,
        [
            {
                "environment": group.environment,
                "fingerprint": group.fingerprint,
                "service": group.service,
                "state": str(group.state),
                "first_at": micros(group.first_at),
                "last_at": micros(group.last_at),
                "body": _GROUP.dump_json(group).decode(),
            }
            for group in changed
        ],
    )


def unresolved(connection: Connection, environment: str, limit: int = 10_000) -> list[Group]:
    """Return the groups that are not resolved, the last seen first."""
    query = (
        select(groups.c.body)
        .where(groups.c.environment == environment, groups.c.state != str(State.RESOLVED))
        .order_by(groups.c.last_at.desc())
        .limit(limit)
    )
    return [_GROUP.validate_json(body) for body in connection.scalars(query)]


def new_since(connection: Connection, environment: str, service: str, since: datetime) -> int:
    """Return how many groups of a service were seen for the first time since then."""
    query = select(func.count()).where(
        groups.c.environment == environment, groups.c.service == service, groups.c.first_at >= micros(since)
    )
    return int(connection.scalar(query) or 0)


def forget(connection: Connection, environment: str, before: datetime) -> int:
    """Delete resolved groups that were not seen since then; returns how many."""
    statement = delete(groups).where(
        groups.c.environment == environment, groups.c.state == str(State.RESOLVED), groups.c.last_at < micros(before)
    )
    return connection.execute(statement).rowcount


def cursors(connection: Connection) -> dict[str, str]:
    """Return the cursor of each journal file."""
    return {row.file: row.cursor for row in connection.execute(select(journals))}


def keep_cursor(connection: Connection, file: str, cursor: str) -> None:
    """Keep how far a file has been read."""
    upsert(connection, journals, [{"file": file, "cursor": cursor}])


def forget_cursors(connection: Connection, files: Collection[str]) -> None:
    """Forget files that are gone."""
    for start in range(0, len(gone := sorted(files)), _MANY):
        connection.execute(delete(journals).where(journals.c.file.in_(gone[start : start + _MANY])))


def recall(connection: Connection, name: str) -> tuple[int, dict[str, Any]]:
    """Return (version, what is remembered) under a name; version 0 when nothing is."""
    row = connection.execute(select(memory).where(memory.c.name == name)).first()
    return (row.version, json.loads(row.body)) if row else (0, {})


def remember(connection: Connection, name: str, version: int, what: dict[str, Any]) -> None:
    """Remember `what` under a name."""
    upsert(connection, memory, [{"name": name, "version": version, "body": json.dumps(what, separators=(",", ":"))}])
