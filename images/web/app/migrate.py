"""Bring the schema to what this code needs: `alembic upgrade head`, one at a time, again without harm."""

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

LOCK = 7_420_031  # any number, as long as nothing else in the database takes it
LOCK_SECONDS = 60  # for the other host's migration to end
# DDL that waits for a lock makes every query behind it wait too: rather fail, and be run again.
STATEMENT_LOCK_SECONDS = 5


class MigrationError(Exception):
    """One line saying why the schema is not where it should be."""


def alembic_config() -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def migrate(url: str) -> list[str]:
    """Apply what is missing and return a line for each step, or one that says there was none."""
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(url, connect_timeout=5, application_name="web migrate"),
        poolclass=NullPool,
    )
    try:
        with engine.begin() as connection:
            return _migrate(connection)
    except DBAPIError as error:
        raise MigrationError(str(error.orig).strip().replace("\n", " ")) from None


def _migrate(connection: Connection) -> list[str]:
    # The lock ends with the transaction, so a host that dies here blocks nobody.
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    connection.execute(text(f"SET LOCAL lock_timeout = '{STATEMENT_LOCK_SECONDS}s'"))

    config = alembic_config()
    head = ScriptDirectory.from_config(config).get_current_head()
    current = _current(connection)
    if current and head and current > head:
        # A rollback runs the older release's migrate: the newer schema serves it, for it only added.
        return [f"schema is at {current}, newer than the {head} needed here: nothing to do"]
    applied: list[str] = []
    config.attributes.update(connection=connection, applied=applied)
    command.upgrade(config, "head")
    return applied or [f"schema is at {current}: nothing to do"]


def _current(connection: Connection) -> str | None:
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    current: str | None = connection.scalar(text("SELECT max(version_num) FROM alembic_version"))
    return current
