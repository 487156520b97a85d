"""What Alembic runs for each command: here only `upgrade`, called by app.migrate."""

from typing import Any

from alembic import context


def _note(*_: Any, **done: Any) -> None:
    revision = done["step"].up_revision
    context.config.attributes["applied"].append(f"applied {revision.revision}: {revision.doc}")


if context.is_offline_mode():
    # As SQL, for the test that reads what the migrations would do.
    context.configure(dialect_name="postgresql", literal_binds=True)
else:
    # The connection is in a transaction already, app.migrate's: it commits all migrations or none.
    context.configure(connection=context.config.attributes["connection"], on_version_apply=_note)

with context.begin_transaction():
    context.run_migrations()
