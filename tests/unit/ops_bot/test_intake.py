"""The intake: 200 means on disk, and whatever is sent is the sender's fault, never an error of ours."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.testclient import TestClient

from ops_bot.events import Event, Kind, State
from ops_bot.intake import MAX_BODY_BYTES, Pace, application
from ops_bot.ledger import Ledger, LedgerFull, Recorded, Wanted
from ops_bot.settings import Settings
from ops_bot.writer import Overloaded, Writer

TOKEN = "a-token-of-the-tests"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
TOLD: dict[str, Any] = {
    "correlation": "deploy:1",
    "kind": "deploy",
    "state": "started",
    "at": "2026-11-21T03:00:00Z",
    "id": "12345678",
}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    yield ledger
    ledger.close()


@pytest.fixture
def client(ledger: Ledger) -> Iterator[TestClient]:
    settings = Settings(token=SecretStr(TOKEN), rate_limit=100_000)
    with TestClient(application(ledger, settings), raise_server_exceptions=True) as client:
        yield client


def post(client: TestClient, told: object, **kwargs: Any) -> Any:
    return client.post("/events", json=told, headers=AUTHORIZED, **kwargs)


def test_what_is_answered_is_recorded(client: TestClient, ledger: Ledger) -> None:
    answer = post(client, TOLD)
    assert (answer.status_code, answer.json()) == (200, {"recorded": 1, "duplicates": 0, "refused": []})
    story = ledger.story("deploy:1")
    assert story is not None
    assert story.state == State.STARTED


def test_the_same_again_is_fine_and_changes_nothing(client: TestClient, ledger: Ledger) -> None:
    post(client, TOLD)
    answer = post(client, [TOLD, TOLD | {"id": "87654321"}])
    assert (answer.status_code, answer.json()) == (200, {"recorded": 1, "duplicates": 1, "refused": []})
    assert ledger.counts()["events"] == 2


def test_what_nobody_can_read_is_kept_and_said(client: TestClient, ledger: Ledger) -> None:
    answer = post(client, [TOLD, TOLD | {"kind": "party", "reason": "password=hunter2"}])
    assert answer.status_code == 422
    assert answer.json()["recorded"] == 1
    assert answer.json()["refused"][0]["index"] == 1
    [kept] = ledger.quarantined()
    assert kept.reason.startswith("kind: Input should be")
    assert "party" in kept.body
    assert "hunter2" not in kept.body


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer \xfc",
    ],
)
def test_without_the_token_nothing_is_taken(client: TestClient, ledger: Ledger, header: str) -> None:
    answer = client.post("/events", json=TOLD, headers={"Authorization": header.encode("latin-1")})
    assert answer.status_code == 401
    assert "OPS_BOT_TOKEN" in answer.json()["reason"]
    assert ledger.counts() == {"events": 0, "stories": 0, "waiting": 0, "parked": 0, "quarantined": 0}


def test_a_bot_without_a_token_takes_nothing(ledger: Ledger) -> None:
    with TestClient(application(ledger, Settings())) as client:
        answer = client.post("/events", json=TOLD, headers={"Authorization": "Bearer "})
        assert (answer.status_code, answer.json()) == (401, {"reason": "this bot takes no events: set OPS_BOT_TOKEN"})


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"Content-Type": "text/plain"}, b"{}", 415),
        ({"Content-Encoding": "gzip"}, b"{}", 415),
        ({}, b"x" * (MAX_BODY_BYTES + 1), 413),
        ({"Content-Length": "9" * 30}, b"{}", 413),
        ({"Content-Length": "-1"}, b"{}", 422),
        ({"Content-Type": "application/json; charset=utf-8"}, b"{}", 422),
        ({"Content-Type": "application/json"}, b"\xff", 422),
    ],
)
def test_what_is_sent_wrongly_is_the_senders_fault(
    client: TestClient, headers: dict[str, str], content: bytes, status: int
) -> None:
    answer = client.post(
        "/events", content=content, headers=AUTHORIZED | {"Content-Type": "application/json"} | headers
    )
    assert answer.status_code == status
    assert "reason" in answer.json() or answer.json()["refused"]


def test_a_body_without_a_length_is_limited_too(client: TestClient, ledger: Ledger) -> None:
    def endless() -> Iterator[bytes]:
        yield b'{"reason": "'
        for _ in range(2 * MAX_BODY_BYTES // 65536):
            yield b"x" * 65536

    headers = AUTHORIZED | {"Content-Type": "application/json"}
    assert client.post("/events", content=endless(), headers=headers).status_code == 413
    assert ledger.counts()["quarantined"] == 0


def test_other_ways_and_verbs(client: TestClient) -> None:
    assert client.get("/events").status_code == 405
    assert client.get("/nothing").status_code == 404


@given(st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_body_is_our_error(client: TestClient, content: bytes) -> None:
    headers = AUTHORIZED | {"Content-Type": "application/json"}
    assert client.post("/events", content=content, headers=headers).status_code in (200, 422)


def test_a_sender_that_is_too_fast_is_told_to_wait(ledger: Ledger) -> None:
    with TestClient(application(ledger, Settings(token=SecretStr(TOKEN), rate_limit=3))) as client:
        told = [TOLD | {"id": f"event-no-{number}"} for number in range(3)]
        assert post(client, told).status_code == 200
        answer = post(client, TOLD)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    assert ledger.counts()["events"] == 3


def test_a_pace_is_each_senders_own_and_comes_back() -> None:
    now = [0.0]
    pace = Pace(10, lambda: now[0])
    assert pace.take("ann", 10) == 0
    assert pace.take("ann", 5) == pytest.approx(0.5)
    assert pace.take("bob", 5) == 0
    now[0] = 0.5
    assert pace.take("ann", 5) == 0
    now[0] = 10.0
    assert pace.take("ann", 1000) == 0, "more than any second holds: let it come, alone"
    assert pace.take("ann", 1) > 90


def test_a_full_disk_is_said_and_nothing_is_claimed(
    client: TestClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_events: Sequence[Event]) -> list[Recorded]:
        raise LedgerFull("the ledger's disk is full: free some space")

    with monkeypatch.context() as broken:
        broken.setattr(ledger, "record", full)
        answer = post(client, TOLD)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert answer.json() == {"reason": "the ledger's disk is full: free some space"}
        health = client.get("/healthz")
        assert (health.status_code, health.json()["reason"]) == (503, "the ledger's disk is full: free some space")
    assert post(client, TOLD).status_code == 200
    assert client.get("/healthz").json() == {"status": "ok"}


def test_what_a_bug_of_ours_cannot_record_is_kept_and_holds_up_nothing(tmp_path: Path) -> None:
    def plan(one: Event) -> Sequence[Wanted]:
        if one.tag == "v13":
            raise ZeroDivisionError
        return []

    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", plan=plan)
    with TestClient(application(ledger, Settings(token=SecretStr(TOKEN)))) as client:
        answer = post(client, [TOLD | {"id": f"of-tag-{tag}", "tag": f"v{tag}"} for tag in (12, 13, 14)])
    assert answer.status_code == 422
    reason = "this bot cannot record it (ZeroDivisionError); its log says why"
    assert answer.json() == {"recorded": 2, "duplicates": 0, "refused": [{"index": None, "reason": reason}]}
    [kept] = ledger.quarantined()
    assert '"of-tag-13"' in kept.body
    assert {event.tag for event in ledger.events("deploy:1")} == {"v12", "v14"}
    ledger.close()


def event(number: int) -> Event:
    told = {"id": f"event-no-{number}", "correlation": "build:1", "kind": Kind.BUILD, "state": State.PROGRESS}
    return Event.model_validate(told | {"at": "2026-11-21T03:00:00Z"})


class Slow:
    """A ledger whose transactions a test lets through."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self.poison = ""

    def record(self, events: Sequence[Event]) -> list[Recorded]:
        self.gate.wait(10)
        ids = [event.id for event in events]
        self.batches.append(ids)
        if self.poison in ids:
            raise RuntimeError("a bug of ours")
        return [Recorded(one, False, 1) for one in ids]


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def writer(slow: Slow) -> Iterator[Writer]:
    writer = Writer(slow)  # type: ignore[arg-type]
    writer.start()
    yield writer
    slow.gate.set()
    writer.stop()


def test_requests_that_wait_together_share_a_transaction(writer: Writer, slow: Slow) -> None:
    futures = [writer.submit([event(number)]) for number in range(20)]
    slow.gate.set()
    assert [future.result(10)[0].id for future in futures] == [f"event-no-{number}" for number in range(20)]
    assert len(slow.batches) <= 2, "the first alone, at most; the rest together"


def test_one_that_cannot_be_recorded_takes_nobody_with_it(writer: Writer, slow: Slow) -> None:
    slow.poison = "event-no-3"
    futures = [writer.submit([event(number)]) for number in range(6)]
    slow.gate.set()
    with pytest.raises(RuntimeError, match="a bug of ours"):
        futures[3].result(10)
    assert [future.result(10)[0].id for future in futures if future is not futures[3]] == [
        f"event-no-{number}" for number in (0, 1, 2, 4, 5)
    ]


def test_what_was_accepted_is_recorded_before_the_writer_ends(writer: Writer, slow: Slow) -> None:
    futures = [writer.submit([event(number)]) for number in range(5)]
    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(writer.stop)
        slow.gate.set()
        stopping.result(10)
    assert all(future.done() for future in futures)
    with pytest.raises(Overloaded):
        writer.submit([event(9)])


def test_more_than_is_worth_waiting_for_is_refused(writer: Writer, slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops_bot.writer.CAPACITY", 3)
    future = writer.submit([event(number) for number in range(3)])
    with pytest.raises(Overloaded, match="3 events wait"):
        writer.submit([event(3)])
    slow.gate.set()
    future.result(10)
