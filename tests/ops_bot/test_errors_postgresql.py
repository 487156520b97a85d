"""The suite of the follower of errors, word for word, against a PostgreSQL of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from test_ledger_postgresql import cluster, ledger_url  # noqa: F401 - fixtures

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit/ops_bot"))
pytest.register_assert_rewrite("test_errors_follower")

import test_errors_follower  # noqa: E402

# All but its own `ledger_url`.
globals().update(
    {
        name: value
        for name, value in vars(test_errors_follower).items()
        if name.startswith("test_") or name in ("clock", "ledger", "journal", "follower")
    }
)
