"""The page over a ledger in PostgreSQL says what it says over one in SQLite."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from starlette.applications import Starlette
from starlette.testclient import TestClient
from test_ledger_postgresql import cluster, ledger_url  # noqa: F401

from ops_bot.ledger import Ledger
from ops_bot.page import routes
from ops_bot.settings import Settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit/ops_bot"))
from page_history import a_day, hostile, under_way

NOW = datetime(2026, 11, 21, 18, 36, 55, tzinfo=UTC)


def pages(url: str) -> dict[str, str]:
    ledger = Ledger.open(url, clock=lambda: NOW)
    ledger.record([event for events in a_day(NOW) for event in events])
    ledger.record([*under_way(NOW), *hostile(NOW)])
    client = TestClient(
        Starlette(routes=routes(ledger, Settings.model_validate({}), clock=lambda: NOW)), base_url="http://localhost"
    )
    found = {}
    for path in ("/", "/?environment=staging&span=7d", "/history?environment=production&service=web", "/feed"):
        answer = client.get(path)
        assert answer.status_code == 200
        found[path] = answer.text
    ledger.close()
    return found


def test_the_page_is_the_same(ledger_url: str, tmp_path: Path) -> None:  # noqa: F811
    assert pages(ledger_url) == pages(f"sqlite:///{tmp_path}/ledger.db")
