"""Migrations only add: an older release must be able to serve on a newer schema."""

import io
import re

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from app.health import REQUIRED_REVISION
from app.migrate import alembic_config

ADDS = re.compile(
    r"""
    BEGIN | COMMIT
    | CREATE\ TABLE\ .*
    | CREATE\ INDEX\ .*
    | INSERT\ INTO\ .*
    | ALTER\ TABLE\ \S+\ ADD\ COLUMN\ (?!.*\bUNIQUE\b)( (?!.*NOT\ NULL).* | .*\bDEFAULT\b.* )
    | UPDATE\ alembic_version\ .*
    """,
    re.VERBOSE | re.DOTALL,
)


def without_literals(sql: str) -> str:
    """A lesson may speak of dropping a table; and a semicolon in a text ends no statement."""
    return re.sub(r"('(?:[^']|'')*')|--[^\n]*", lambda found: "''" if found[1] else "", sql)


def refused(sql: str) -> list[str]:
    statements = (statement.strip() for statement in without_literals(sql).split(";"))
    return [statement for statement in statements if statement and not ADDS.fullmatch(statement)]


def test_every_migration_only_adds() -> None:
    config = alembic_config()
    config.output_buffer = written = io.StringIO()
    command.upgrade(config, "head", sql=True)
    assert "CREATE TABLE lessons" in written.getvalue()
    assert refused(written.getvalue()) == []


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE lessons",
        "ALTER TABLE lessons DROP COLUMN body",
        "ALTER TABLE lessons RENAME COLUMN body TO text",
        "ALTER TABLE lessons ALTER COLUMN minutes TYPE BIGINT",
        "ALTER TABLE lessons ALTER COLUMN minutes SET NOT NULL",
        "ALTER TABLE lessons ADD COLUMN author TEXT NOT NULL",
        "ALTER TABLE lessons ADD CONSTRAINT one UNIQUE (title)",
        "CREATE UNIQUE INDEX one ON lessons (title)",
        "UPDATE lessons SET body = 'x'",
        "DELETE FROM lessons",
        "TRUNCATE lessons",
        "INSERT INTO lessons VALUES ('a;b'); DROP TABLE lessons",
    ],
)
def test_what_would_break_an_older_release_is_refused(sql: str) -> None:
    assert len(refused(sql)) == 1


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE lessons ADD COLUMN author TEXT",
        "ALTER TABLE lessons ADD COLUMN author TEXT DEFAULT '' NOT NULL",
        "CREATE INDEX by_title ON lessons (title)",
        "INSERT INTO lessons (body) VALUES ('how to; DROP TABLE lessons -- it''s easy')",
    ],
)
def test_what_only_adds_is_let_through(sql: str) -> None:
    assert refused(sql) == []


def test_revisions_are_numbered_in_one_line() -> None:
    """Health compares revisions as text: that holds only while they are numbers of four digits in order."""
    revisions = [script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()]
    assert revisions[::-1] == [f"{number:04}" for number in range(1, len(revisions) + 1)]


def test_the_code_needs_a_revision_that_exists() -> None:
    script = ScriptDirectory.from_config(alembic_config())
    assert REQUIRED_REVISION in {one.revision for one in script.walk_revisions()}
