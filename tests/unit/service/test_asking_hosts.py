"""Hosts are asked side by side: each answer has its own time, and who waits for the others is asked to hold on."""

from __future__ import annotations

import json
import threading
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


def ask(quick: Connection, slow: Connection, until_one_fails: bool = False) -> dict[str, dict[str, Any]]:
    hosts = action.Hosts({"quick": (quick, "python3"), "slow": (slow, "python3")}, check=False)
    with hosts:
        answers: dict[str, dict[str, Any]] = hosts.ask(
            {"quick": {"step": "preflight"}, "slow": {"step": "preflight"}},
            until_one_fails,
            {"quick": {"step": "hold"}, "slow": {"step": "hold"}},
        )
    return answers


def test_who_waits_is_asked_to_hold_on_and_who_works_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(action, "HOLD_SECONDS", 0.05)
    quick, slow = Connection(), Connection()
    quick.may_answer.set()

    def let_it_answer() -> None:
        for _ in range(3):
            assert quick.held.acquire(timeout=30)
        slow.may_answer.set()

    threading.Thread(target=let_it_answer, daemon=True).start()
    answers = ask(quick, slow)
    assert list(answers) == ["quick", "slow"]
    assert answers["slow"]["answered"] - answers["quick"]["answered"] >= 0.1, "each at its own time"
    assert quick.asked[:4] == ["preflight", "hold", "hold", "hold"]
    assert slow.asked == ["preflight"]


def test_a_quick_step_asks_nobody_to_hold_on() -> None:
    quick, slow = Connection(), Connection()
    quick.may_answer.set()
    slow.may_answer.set()
    ask(quick, slow)
    assert (quick.asked, slow.asked) == (["preflight"], ["preflight"])
