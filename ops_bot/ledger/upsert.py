"""Insert or update, in the words of either database."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Executable, Table
from sqlalchemy.dialects import postgresql, sqlite

Row = dict[str, Any]
# Makes the new values of a row that exists, from the one that was refused (`excluded`).
Changes = Callable[[Any], Row]


def upsert(connection: Connection, table: Table, rows: Sequence[Row], changes: Changes | None = None) -> None:
    """Insert `rows`; where their primary key exists, change that row: by `changes`, else every column it has.

    `changes` must be a function of a module, always the same: a statement is made once for each.
    """
    if rows:
        connection.execute(_statement(connection.dialect.name, table, tuple(rows[0]), changes), list(rows))


# Making it costs more than running it.
@lru_cache(maxsize=32)
def _statement(dialect: str, table: Table, columns: tuple[str, ...], changes: Changes | None) -> Executable:
    statement = (sqlite if dialect == "sqlite" else postgresql).insert(table)
    keys = [column.name for column in table.primary_key]
    new = statement.excluded
    values = changes(new) if changes else {name: new[name] for name in columns if name not in keys}
    made: Executable = statement.on_conflict_do_update(index_elements=keys, set_=values)
    return made
