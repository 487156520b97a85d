import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from app.config import ConfigError, load

WEB = Path(__file__).parents[3] / "images" / "web"
URL = "postgresql://web:hunter2@db/web"


def python(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=WEB, env=env, capture_output=True, text=True, timeout=20, check=False
    )


def test_defaults() -> None:
    config = load({"DATABASE_URL": URL})
    assert (config.port, config.log_format, config.drain_seconds, config.service) == (8000, "json", 30, "web")
    assert config.host == socket.gethostname()


def test_everything_given(environ: dict[str, str]) -> None:
    config = load(environ | {"PORT": "9000", "LOG_FORMAT": "text", "DRAIN_SECONDS": "5"})
    assert (config.port, config.log_format, config.drain_seconds) == (9000, "text", 5)
    assert (config.tag, config.slot, config.host, config.environment) == ("v7", "b", "web1", "staging")


def test_an_empty_variable_is_an_absent_one() -> None:
    assert load({"DATABASE_URL": URL, "PORT": ""}).port == 8000
    with pytest.raises(ConfigError, match=r"^DATABASE_URL is missing$"):
        load({"DATABASE_URL": ""})


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "http"), ("PORT", "0"), ("LOG_FORMAT", "xml"), ("LOG_LEVEL", "loud"), ("DRAIN_SECONDS", "-1")],
)
def test_a_wrong_value_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: "):
        load({"DATABASE_URL": URL, name: value})


def test_all_problems_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load({"PORT": "http", "LOG_FORMAT": "xml"})
    assert all(name in str(caught.value) for name in ("DATABASE_URL is missing", "PORT", "LOG_FORMAT"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://web:hunter2@db/web",
        "hunter2",
        "postgresql://web:%zzhunter2@db/web",
        "postgresql://web:a@hunter2@db/web",
        "postgresql://web:hunter2/db",
        "postgresql://web:hunter2@db:port/web",
        "postgresql:///web?password=hunter2",
    ],
)
def test_a_wrong_address_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^DATABASE_URL: should be postgresql://user:") as caught:
        load({"DATABASE_URL": url})
    assert "hunter2" not in str(caught.value)


def test_a_configuration_shows_no_secret() -> None:
    assert "hunter2" not in repr(load({"DATABASE_URL": URL}))


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_the_command_line_says_it_in_one_line(command: str) -> None:
    environ = {"PATH": os.environ["PATH"], "PORT": "http", "DATABASE_URL": "mysql://web:hunter2@db/web"}
    result = python("-m", "app", command, env=environ)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert all(name in result.stderr for name in ("DATABASE_URL", "PORT"))
    assert not any(word in result.stderr for word in ("hunter2", "Traceback"))


def test_an_unknown_command_shows_the_usage() -> None:
    result = python("-m", "app", "run")
    assert (result.returncode, result.stderr) == (2, "usage: python -m app serve | migrate\n")


def test_serve_does_not_import_what_only_migrate_needs() -> None:
    code = "import sys, app.server, app.database; print([m for m in ('alembic', 'sqlalchemy') if m in sys.modules])"
    result = python("-c", code)
    assert result.stdout == "[]\n", result.stderr
