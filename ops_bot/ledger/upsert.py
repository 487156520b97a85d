"""Insert or update, in the words of either database."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

Row = dict[str, Any]


def upsert(
    connection: Connection, table: Table, rows: Sequence[Row], changes: Callable[[Any], Row] | None = None
) -> None:
    """Insert `rows`; where their primary key exists, change that row.

    `changes` makes the new values from the refused row (`excluded`); without it, every column takes its new value.
    """
    if not rows:
        return
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table)
    keys = [column.name for column in table.primary_key]
    values = (
        changes(statement.excluded)
        if changes
        else {name: statement.excluded[name] for name in rows[0] if name not in keys}
    )
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=values), list(rows))
