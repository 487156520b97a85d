import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from app import logs
from app.lessons import Unavailable
from web_support import FakeStore, Get

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    """The application's lines on stdout since the last call."""

    def lines() -> list[dict[str, Any]]:
        written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return [line for line in written if line["logger"].startswith("app")]

    return lines


def test_one_line_per_request(get: Get, lines: Lines) -> None:
    logs.configure("json", "INFO", {"service": "web", "tag": "v7"})
    answer = get("/lessons/ruler", x_request_id="from-the-edge")
    [line] = lines()
    assert answer.headers["x-request-id"] == "from-the-edge"
    duration, ts = line.pop("duration_ms"), line.pop("ts")
    assert isinstance(duration, float)
    assert ts.endswith("Z")
    assert line == {
        "level": "info",
        "logger": "app.access",
        "message": "request",
        "service": "web",
        "tag": "v7",
        "method": "GET",
        "path": "/lessons/ruler",
        "status": 200,
        "request_id": "from-the-edge",
    }


def test_text_for_a_terminal(get: Get, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text", "INFO", {"service": "web"})
    get("/version")
    assert "INFO    app.access: request method=GET path=/version status=200" in capsys.readouterr().out


def test_a_path_cannot_forge_a_line(get: Get, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text", "INFO", {})
    get("/x%0Aforged")
    assert "path=/x%0Aforged status=404" in capsys.readouterr().out


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, 'x"y'])
def test_a_doubtful_request_id_is_replaced(get: Get, given: str) -> None:
    assert get("/version", x_request_id=given).headers["x-request-id"] not in ("", given)


def test_health_is_logged_when_it_changes(get: Get, store: FakeStore, lines: Lines) -> None:
    logs.configure("json", "INFO", {})
    for fault in (None, None, Unavailable("database: gone"), Unavailable("database: gone"), None):
        store.fault = fault
        get("/healthz")
    assert [(line["level"], line["message"], line.get("reason")) for line in lines()] == [
        ("info", "ready", None),
        ("warning", "not ready", "database: gone"),
        ("info", "ready", None),
    ]


def test_why_a_page_was_unavailable(get: Get, store: FakeStore, lines: Lines) -> None:
    logs.configure("json", "INFO", {})
    store.fault = Unavailable("database: gone")
    get("/")
    reason, access = lines()
    assert (reason["message"], reason["reason"]) == ("unavailable", "database: gone")
    assert reason["request_id"] == access["request_id"]
    assert (reason["level"], access["level"]) == ("error", "warning"), "one failure is one error"


def test_an_exception_stays_on_its_line(lines: Lines) -> None:
    logs.configure("json", "INFO", {})
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("app").exception("failed")
    [line] = lines()
    assert "ValueError: no" in str(line["exception"])
