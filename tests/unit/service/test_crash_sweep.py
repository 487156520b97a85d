"""A rollout is killed at every instruction that touches the host. Nobody may notice, and the next one must mend it.

Then the same with every command, file and question failing once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from ansible.module_utils.tagboat.host import CommandError
from ansible.module_utils.tagboat.rollout import RolloutError
from fake_host import NEVER, FakeHost, Image, KilledError
from host_story import (
    HTTP,
    SINGLETON,
    WORKER,
    assert_serves,
    assert_settled,
    assert_survives_reboot,
    deploy,
    prepared,
    release,
    undo,
)

Story = Callable[[FakeHost, dict[str, Any]], object]


def first_ever(host: FakeHost, of: dict[str, Any]) -> None:
    deploy(host, "first", release("v1", of))


def second(host: FakeHost, of: dict[str, Any]) -> None:
    deploy(host, "second", release("v2", of))


def third(host: FakeHost, of: dict[str, Any]) -> None:
    deploy(host, "third", release("v3", of))


def reconfigured(host: FakeHost, of: dict[str, Any]) -> None:
    deploy(host, "reconfigured", release("v1", of, memory_mb=512))


def sick(host: FakeHost, of: dict[str, Any]) -> None:
    host.registry["r1:5000/web@sha256:v2"] = Image(healthy_after=NEVER, exits_after=NEVER if "port" in of else 1)
    with contextlib.suppress(RolloutError):
        deploy(host, "sick", release("v2", of, health={"deadline_seconds": 2, "ready_seconds": 1.5}))
    undo(host, "sick")


def rolled_back(host: FakeHost, of: dict[str, Any]) -> None:
    deploy(host, "back", release("v1", of), left="rolled_back", reason="worse")


def undone(host: FakeHost, of: dict[str, Any]) -> None:
    second(host, of)
    undo(host, "second")


def first_ever_undone(host: FakeHost, of: dict[str, Any]) -> None:
    first_ever(host, of)
    undo(host, "first")


def rollback_undone(host: FakeHost, of: dict[str, Any]) -> None:
    rolled_back(host, of)
    undo(host, "back")


@dataclass
class Case:
    before: list[Story]
    act: Story
    rollout: str
    ends_with: str | None
    """The tag that serves when nothing interrupts it."""


CASES = {
    "first ever": Case([], first_ever, "first", "v1"),
    "second": Case([first_ever], second, "second", "v2"),
    "third": Case([first_ever, second], third, "third", "v3"),
    "same tag, new configuration": Case([first_ever], reconfigured, "reconfigured", "v1"),
    "sick": Case([first_ever], sick, "sick", "v1"),
    "first ever sick": Case([], sick, "sick", None),
    "rollback": Case([first_ever, second], rolled_back, "back", "v1"),
    "undo": Case([first_ever], undone, "second", "v1"),
    "undo with a standby": Case([third, first_ever], undone, "second", "v1"),
    "undo of the first ever": Case([], first_ever_undone, "first", None),
    "undo of a rollback": Case([first_ever, second], rollback_undone, "back", "v2"),
}
each_case = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
# Kind and init system meet in few lines of code: three of the four combinations reach them all.
each_combination = pytest.mark.parametrize(
    ("init", "of"),
    [
        pytest.param("systemd", HTTP, id="systemd-http"),
        pytest.param("systemd", WORKER, id="systemd-worker"),
        pytest.param("upstart", HTTP, id="upstart-http"),
    ],
)
each_init = pytest.mark.parametrize("init", ["systemd", "upstart"])
each_kind = pytest.mark.parametrize(
    "of", [pytest.param(HTTP, id="http"), pytest.param(WORKER, id="worker"), pytest.param(SINGLETON, id="singleton")]
)


def ready(case: Case, init: str, of: dict[str, Any]) -> FakeHost:
    host = prepared(init)
    for story in case.before:
        story(host, of)
    host.effects.clear()
    return host


def interruptions(host: FakeHost, case: Case, of: dict[str, Any]) -> Iterator[tuple[str, FakeHost]]:
    """Run a case; yield the host as it is when the process is killed at any of its effects.

    A process killed by SIGKILL does nothing more, so what it leaves is the host as it was before that effect. Hosts
    that differ only in the time are one: most effects only look.
    """
    found: dict[str, tuple[str, FakeHost]] = {}

    def remember(host: FakeHost) -> None:
        found.setdefault(host.fingerprint(), (f"killed at {len(host.effects) + 1}", host.copy()))

    host.watch = remember
    case.act(host, of)
    assert len(found) > 5, "the sweep did not sweep"
    for where, left in found.values():
        left.locks.clear()  # the kernel drops them
        yield where, left


def mend(host: FakeHost, of: dict[str, Any], tag: str) -> None:
    """The next deploy: somebody else's, after the lease has run out."""
    host.pass_time(61)
    host.registry["r1:5000/web@sha256:v2"] = host.images["r1:5000/web@sha256:v2"] = Image()
    deploy(host, "mend", release(tag, of))


@each_case
@each_init
@each_kind
def test_a_case_ends_as_it_should_when_nothing_interrupts_it(case: Case, init: str, of: dict[str, Any]) -> None:
    host = ready(case, init, of)
    if of is not SINGLETON:
        host.watch = assert_serves
    case.act(host, of)
    host.watch = None
    host.pass_time(1)
    assert_settled(host, case.ends_with)


@each_case
@each_combination
def test_killed_anywhere_nobody_notices_and_the_next_deploy_mends_it(case: Case, init: str, of: dict[str, Any]) -> None:
    for where, left in interruptions(ready(case, init, of), case, of):
        assert_serves(left)
        assert_survives_reboot(left)
        for then in ("v1", "v2", "v3") if of is HTTP else ("v1", "v2"):
            host = left.copy()
            try:
                host.watch = assert_serves
                mend(host, of, then)
                host.watch = None
                assert_settled(host, then)
            except (AssertionError, RolloutError, CommandError, OSError) as error:
                raise AssertionError(f"{where}, then {then}: {error!r}\n" + "\n".join(host.effects)) from error


@each_case
@each_init
def test_a_singleton_killed_anywhere_is_mended_and_never_doubled(case: Case, init: str) -> None:
    def alone(host: FakeHost) -> None:
        assert not (host.running("web-a") and host.running("web-b")), "two singletons at once"

    for where, left in interruptions(ready(case, init, SINGLETON), case, SINGLETON):
        for then in ("v1", "v3"):
            host = left.copy()
            try:
                host.watch = alone
                alone(host)
                mend(host, SINGLETON, then)
                host.watch = None
                assert_settled(host, then)
            except (AssertionError, RolloutError, CommandError, OSError) as error:
                raise AssertionError(f"{where}, then {then}: {error!r}\n" + "\n".join(host.effects)) from error


def test_nothing_is_done_on_the_way_out_when_killed() -> None:
    """The sweeps above take it for granted: no handler, no `finally` touches the host."""
    case = CASES["sick"]
    for number in range(1, 1000):
        host = ready(case, "systemd", HTTP)
        host.kill_at = number
        try:
            case.act(host, HTTP)
        except KilledError:
            assert len(host.effects) == number
        else:
            assert number > 50
            return
    raise AssertionError("the rollout never ends")


@each_case
@each_combination
def test_whatever_fails_once_nobody_notices_and_the_next_deploy_mends_it(
    case: Case, init: str, of: dict[str, Any]
) -> None:
    begin = ready(case, init, of)
    whole = begin.copy()
    case.act(whole, of)
    seen: set[str] = set()
    for number, effect in enumerate(whole.effects, 1):
        if effect in seen or effect in ("clock", "now", "sleep"):  # cannot fail, or failed before
            continue
        seen.add(effect)
        host = begin.copy()
        host.break_at = number
        host.watch = assert_serves
        failed = False
        try:
            case.act(host, of)
        except (RolloutError, CommandError, OSError):
            failed = True
        host.break_at = None
        try:
            if failed:  # as a rollout does when a host refused, whatever the reason
                undo(host, case.rollout)
            mend(host, of, "v3")
            host.watch = None
            assert_settled(host, "v3")
        except (AssertionError, RolloutError, CommandError, OSError) as error:
            raise AssertionError(f"broken at {number}, {effect}: {error!r}\n" + "\n".join(host.effects)) from error
