"""Hosts are asked side by side: each answer has its own time, and who waits for the others is asked to hold on."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import plugin_loading
import pytest

action = plugin_loading.load("roles/service/action_plugins/rollout.py")


class Connection:
    """A host's connection: answers what it is asked when it may."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.asked: list[str] = []
        self.held = threading.Semaphore(0)

    def exec_command(self, _command: str, in_data: bytes, sudoable: bool) -> tuple[int, bytes, bytes]:
        assert sudoable
        step = json.loads(in_data)["arguments"]["step"]
        self.asked.append(step)
        if step == "hold":
            self.held.release()
        else:
            assert self.may_answer.wait(30)
        return 0, (action.MARK + json.dumps({"changed": False, "failed": False})).encode(), b""


def at_work(**connections: Connection) -> tuple[Any, list[str]]:
    said: list[str] = []
    return action.Hosts(list(connections), lambda host: (connections[host], "python3"), False, said.append), said


def ask(quick: Connection, slow: Connection) -> tuple[dict[str, dict[str, Any]], list[str]]:
    hosts, said = at_work(quick=quick, slow=slow)
    with hosts:
        answers: dict[str, dict[str, Any]] = hosts.ask(
            {"quick": {"step": "preflight"}, "slow": {"step": "preflight"}},
            False,
            {"quick": {"step": "hold"}, "slow": {"step": "hold"}},
        )
    return answers, said


def test_who_waits_is_asked_to_hold_on_and_who_works_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(action, "HOLD_SECONDS", 0.05)
    quick, slow = Connection(), Connection()
    quick.may_answer.set()

    def let_it_answer() -> None:
        for _ in range(3):
            assert quick.held.acquire(timeout=30)
        slow.may_answer.set()

    threading.Thread(target=let_it_answer, daemon=True).start()
    answers, said = ask(quick, slow)
    assert list(answers) == ["quick", "slow"]
    assert answers["slow"]["answered"] - answers["quick"]["answered"] >= 0.1, "each at its own time"
    assert quick.asked[:4] == ["preflight", "hold", "hold", "hold"]
    assert slow.asked == ["preflight"]
    assert set(said) == {"waiting for slow (preflight)"}


def test_a_quick_step_asks_nobody_to_hold_on() -> None:
    quick, slow = Connection(), Connection()
    quick.may_answer.set()
    slow.may_answer.set()
    _, said = ask(quick, slow)
    assert said == []
    assert (quick.asked, slow.asked) == (["preflight"], ["preflight"])


def test_a_watch_was_announced_and_is_not_called_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(action, "HOLD_SECONDS", 0.02)
    watched, waiting = Connection(), Connection()
    hosts, said = at_work(watched=watched, waiting=waiting)

    def end_the_watch() -> None:
        assert waiting.held.acquire(timeout=30)
        watched.may_answer.set()

    threading.Thread(target=end_the_watch, daemon=True).start()
    with hosts:
        hosts.ask({"watched": {"step": "watch"}}, False, {"waiting": {"step": "hold"}})
    assert said == []


def test_many_quick_steps_one_after_the_other_do_not_forget_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of one host each: no step is long, all of them are."""
    monkeypatch.setattr(action, "HOLD_SECONDS", 0.1)
    busy, waiting = Connection(), Connection()
    busy.may_answer.set()
    hosts, _ = at_work(busy=busy, waiting=waiting)
    with hosts:
        deadline = time.monotonic() + 30
        while not waiting.asked and time.monotonic() < deadline:
            hosts.ask({"busy": {"step": "switch"}}, False, {name: {"step": "hold"} for name in ("busy", "waiting")})
    assert waiting.asked == ["hold"]


def test_a_host_that_does_not_answer_is_asked_to_hold_on_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(action, "HOLD_SECONDS", 0.02)
    slow, stuck = Connection(), Connection()
    rounds: list[object] = []
    hosts, _ = at_work(slow=slow, stuck=stuck)
    with hosts:
        ask_to_hold = hosts._hold

        def count(requests: dict[str, Any]) -> None:
            rounds.append(ask_to_hold(requests))
            if len(rounds) == 3:
                slow.may_answer.set()

        hosts._hold = count
        hosts.ask({"slow": {"step": "migrate"}}, False, {"stuck": {"step": "anything that does not end"}})
        assert len(rounds) >= 3
        assert len(stuck.asked) == 1
        stuck.may_answer.set()
