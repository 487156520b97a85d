"""The suite of the ledger, word for word, against a PostgreSQL of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bot_process import until
from bot_team import Team
from sqlalchemy import create_engine, text

from ops_bot.events import State
from ops_bot.ledger import Ledger, LedgerBusy, LedgerError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit/ops_bot"))
pytest.register_assert_rewrite("test_ledger")

from test_ledger import *  # noqa: E402, F403
from test_ledger import event  # noqa: E402


def _programs() -> Path | None:
    """Where the newest PostgreSQL's programs are: on PATH, or where Debian keeps them."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def _as_postgres(command: list[str | Path]) -> None:
    # The server refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    subprocess.run(command, check=True, capture_output=True, user=user, cwd="/", timeout=60)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A server on a Unix socket in a folder of its own; what its address starts with."""
    programs = _programs()
    if programs is None:
        if os.environ.get("TAGBOAT_ALL_TESTS"):
            pytest.fail("PostgreSQL is not installed: apt install postgresql")
        pytest.skip("PostgreSQL is not installed: apt install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="ops-bot-postgresql-"))
    owner = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    try:
        shutil.chown(folder, owner)
        control: list[str | Path] = [programs / "pg_ctl", "--pgdata", folder / "data"]
        _as_postgres(
            [programs / "initdb", "--pgdata", folder / "data", "--username=bot", "--encoding=UTF8", "--no-sync"]
        )
        options = f"-k {folder} -c listen_addresses="
        _as_postgres([*control, "--wait", "--log", folder / "log", "--options", options, "start"])
        try:
            yield f"bot@/%s?host={folder}"
        finally:
            _as_postgres([*control, "--wait", "--mode=immediate", "stop"])
    finally:
        shutil.rmtree(folder)


@pytest.fixture  # type: ignore[no-redef]
def ledger_url(cluster: str) -> Iterator[str]:
    """An empty database for each test."""
    admin = create_engine("postgresql+psycopg://" + cluster % "postgres", isolation_level="AUTOCOMMIT")
    name = "test_ledger"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template0"))
    yield "postgresql://" + cluster % name
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


def test_a_writer_that_never_ends_holds_nobody_up_for_ever(
    open_ledger: Callable[[], Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_ledger()
    monkeypatch.setattr("ops_bot.ledger.database.BUSY_SECONDS", 0.2)
    second = open_ledger()
    with first.write(), pytest.raises(LedgerBusy, match="another process holds"):
        second.record([event()])
    second.record([event()])


def test_a_server_that_is_gone_is_said_to_be(cluster: str) -> None:
    with pytest.raises(LedgerError, match="refused"):
        Ledger.open("postgresql://" + cluster % "no_such_database")


def test_the_bot_runs_on_it(ledger_url: str, tmp_path: Path) -> None:
    team = Team(tmp_path, ledger_url)
    with team.slack, team.datadog:
        bot = team.start()
        try:
            team.tell(State.STARTED, State.PROGRESS, State.FAILED)
            until(team.flush, "recorded")
            until(team.settled, f"told\n{team.logs()}")
            bot.kill()
            bot = team.start()
            team.tell(State.STARTED, number=2)
            until(team.flush, "recorded after it was killed")
            until(team.settled, f"told\n{team.logs()}")
            team.assert_told()
        finally:
            bot.kill()
