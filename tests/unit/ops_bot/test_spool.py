"""Events that wait on disk for the bot: whole or not at all, and gone only when the bot has them on its own disk."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from ops_bot.events import Event, Kind, State
from ops_bot.spool import NotSent, Spool, send

TOKEN = "a-token-of-the-tests"
Answer = tuple[int, bytes]


class Bot:
    """Answers as a test says, and keeps what it was sent."""

    def __init__(self) -> None:
        self.answer: Callable[[list[Any]], Answer] = lambda events: (200, recorded(len(events)))
        self.requests: list[list[Any]] = []
        self.tokens: set[str] = set()
        bot = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                events = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                bot.tokens.add(self.headers["Authorization"])
                status, body = bot.answer(events)
                if status == 200:
                    bot.requests.append(events)
                self.send_response(status)
                self.send_header("Location", "http://127.0.0.1:1/")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """The test says what it needs to say by itself."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def ids(self) -> list[str]:
        return [event["id"] for request in self.requests for event in request]


def recorded(count: int, *refused: str) -> bytes:
    told = [{"index": 0, "reason": reason} for reason in refused]
    return json.dumps({"recorded": count, "duplicates": 0, "refused": told}).encode()


@pytest.fixture
def bot(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bot]:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # which nobody may ask
    bot = Bot()
    yield bot
    bot.server.shutdown()
    bot.server.server_close()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def event(number: int, **fields: object) -> Event:
    told = {"id": f"event-no-{number}", "correlation": "deploy:1", "kind": Kind.DEPLOY, "state": State.PROGRESS}
    return Event.model_validate(told | {"at": datetime(2026, 11, 21, tzinfo=UTC)} | fields)


def test_what_was_put_there_is_sent_in_order_and_gone(spool: Spool, bot: Bot) -> None:
    for number in range(250):
        spool.add(event(number, colour="of a newer sender"))
    flushed = spool.flush(bot.url, TOKEN)
    assert (flushed.sent, flushed.refused, flushed.left, flushed.why_left) == (250, [], 0, "")
    assert bot.ids == [f"event-no-{number}" for number in range(250)]
    assert [len(request) for request in bot.requests] == [100, 100, 50]
    assert bot.requests[0][0]["colour"] == "of a newer sender"
    assert bot.tokens == {f"Bearer {TOKEN}"}
    assert list(spool.directory.iterdir()) == []


def test_nobody_else_can_read_it(spool: Spool) -> None:
    path = spool.add(event(1))
    assert (path.stat().st_mode & 0o777, spool.directory.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_disk_that_fills_leaves_no_half_event(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    spool.add(event(1))
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            spool.add(event(2))
    assert len(list(spool.directory.iterdir())) == 1


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (503, b'{"reason": "the disk is full"}', "answered 503: the disk is full"),
        (401, b'{"reason": "wrong token"}', "answered 401: wrong token"),
        (429, b"", "answered 429: no reason given"),
        (302, b"", "answered 302"),
        (200, b"<html>Sign in to the guest network</html>", "is no ops bot"),
        (200, b"[]", "is no ops bot"),
        (422, b"<html>", "is no ops bot"),
    ],
)
def test_what_is_not_taken_stays(spool: Spool, bot: Bot, status: int, body: bytes, said: str) -> None:
    spool.add(event(1))
    bot.answer = lambda _events: (status, body)
    flushed = spool.flush(bot.url, TOKEN)
    assert (flushed.sent, flushed.left) == (0, 1)
    assert said in flushed.why_left
    assert TOKEN not in flushed.why_left


def test_nobody_listens(spool: Spool) -> None:
    spool.add(event(1))
    flushed = spool.flush("http://127.0.0.1:9/", TOKEN)
    assert (flushed.left, flushed.why_left) == (
        1,
        "http://127.0.0.1:9/ cannot be reached: [Errno 111] Connection refused",
    )
    with pytest.raises(NotSent, match="cannot be reached"):
        send("no address at all", TOKEN, ["{}"], 1)


def test_what_the_bot_could_not_read_is_in_its_quarantine_and_leaves_the_spool(spool: Spool, bot: Bot) -> None:
    spool.add(event(1))
    bot.answer = lambda _events: (422, recorded(0, "kind: unknown"))
    flushed = spool.flush(bot.url, TOKEN)
    assert (flushed.sent, flushed.refused, flushed.left) == (0, ["kind: unknown"], 0)


def test_a_file_that_is_no_event_holds_up_nobody(spool: Spool, bot: Bot) -> None:
    spool.add(event(1))
    (spool.directory / "00000-broken.json").write_bytes(b'{"id": \xff')
    spool.add(event(2))
    flushed = spool.flush(bot.url, TOKEN)
    assert (flushed.sent, flushed.left, bot.ids) == (2, 0, ["event-no-1", "event-no-2"])
    assert "00000-broken.json" in flushed.refused[0]
    assert [path.name for path in spool.directory.iterdir()] == ["00000-broken.refused"]


def test_what_is_too_much_at_once_is_sent_in_parts(spool: Spool, bot: Bot) -> None:
    def small(events: list[Any]) -> Answer:
        if len(events) > 3 or "event-no-5" in str(events):
            return 413, b'{"reason": "too large"}'
        return 200, recorded(len(events))

    for number in range(10):
        spool.add(event(number))
    bot.answer = small
    flushed = spool.flush(bot.url, TOKEN)
    assert (flushed.sent, flushed.left) == (9, 0)
    assert sorted(bot.ids) == [f"event-no-{number}" for number in range(10) if number != 5]
    assert "larger than the bot takes" in flushed.refused[0]


def test_two_that_flush_at_once_lose_nothing(spool: Spool, bot: Bot) -> None:
    for number in range(120):
        spool.add(event(number))
    threads = [threading.Thread(target=spool.flush, args=(bot.url, TOKEN)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert set(bot.ids) == {f"event-no-{number}" for number in range(120)}
    assert spool.waiting() == []


def test_a_spool_that_nothing_was_put_in(spool: Spool, bot: Bot) -> None:
    assert spool.flush(bot.url, TOKEN).left == 0
    assert bot.requests == []
