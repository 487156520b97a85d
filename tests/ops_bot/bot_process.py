"""The real bot as a process of its own that a test may have die at an exact moment. What it runs is `serve`.

The moments are counted from outside of the product: its durable steps (each transaction of the ledger) and its steps on
the network (each answer it waits for) are wrapped here, in the child, before it starts. The death is SIGKILL: nothing
is cleaned up. Processes are forked from one that has imported everything, which makes a sweep of a hundred cheap.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["ops_bot.service", "slack_sdk", "datadog"])

# A dead sender's lease, doubts about what it did, and manners towards Slack take real seconds. The fakes are quick.
LEASE_SECONDS, DEADLINE_SECONDS, DOUBT_SECONDS, POSTS_PER_SECOND = 1.0, 0.9, 0.2, 10.0


@dataclass(frozen=True)
class Moment:
    """The `number`th time (from 1) that the process comes by `place`: before-commit, after-commit, before-answer,
    after-answer."""

    place: str
    number: int

    def __str__(self) -> str:
        return f"{self.place}-{self.number}"


@dataclass
class BotProcess:
    """One process. `environment` is all it knows."""

    environment: dict[str, str]
    log: Path
    dies_at: Moment | None = None
    lease_seconds: float = LEASE_SECONDS

    def start(self) -> BotProcess:
        """Start it."""
        self._process = _FORKS.Process(target=_run, args=(self,), daemon=True)
        self._process.start()
        return self

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.is_alive()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.join(20)

    def terminate(self, seconds: float = 20) -> int:
        """SIGTERM; its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds: float = 20) -> int:
        """Wait for its end; its exit code, negative the signal that killed it."""
        self._process.join(seconds)
        assert self._process.exitcode is not None, f"it still runs:\n{self.log.read_text()[-4000:]}"
        return self._process.exitcode


def _run(bot: BotProcess) -> None:
    descriptor = os.open(bot.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    for name in list(os.environ):
        if name.startswith("OPS_BOT_"):
            del os.environ[name]
    os.environ.update(bot.environment)

    import ops_bot.delivery  # noqa: PLC0415  (after the fork, not in the test)
    import ops_bot.sinks.slack  # noqa: PLC0415
    from ops_bot.cli import main  # noqa: PLC0415
    from ops_bot.ledger import database  # noqa: PLC0415
    from ops_bot.sinks.datadog import Datadog  # noqa: PLC0415
    from ops_bot.sinks.slack import Slack  # noqa: PLC0415

    ops_bot.delivery.LEASE_SECONDS = bot.lease_seconds
    defaults: Any = ops_bot.delivery.Sender.__init__.__kwdefaults__
    defaults["deadline_seconds"] = DEADLINE_SECONDS
    for sink in (Slack, Datadog):
        sink.doubt_seconds = DOUBT_SECONDS
    ops_bot.sinks.slack.POSTS_PER_SECOND = POSTS_PER_SECOND
    counter = _Counter(Path(f"{bot.log}.steps"), bot.dies_at)
    original = database.Database.write

    @contextlib.contextmanager
    def write(self: database.Database) -> Iterator[Any]:
        with original(self) as connection:
            yield connection
            counter.passes("before-commit")
        counter.passes("after-commit")

    getresponse = http.client.HTTPConnection.getresponse

    def answer(self: http.client.HTTPConnection) -> http.client.HTTPResponse:
        counter.passes("before-answer")
        response = getresponse(self)
        counter.passes("after-answer")
        return response

    database.Database.write = write  # type: ignore[method-assign]
    http.client.HTTPConnection.getresponse = answer  # type: ignore[method-assign]
    os._exit(main(["serve"]))


class _Counter:
    def __init__(self, steps: Path, dies_at: Moment | None) -> None:
        self._steps, self._dies_at = steps, dies_at
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def passes(self, place: str) -> None:
        with self._lock:
            self._counts[place] = self._counts.get(place, 0) + 1
            if self._dies_at == Moment(place, self._counts[place]):
                self._steps.write_text(json.dumps(self._counts))
                os.kill(os.getpid(), signal.SIGKILL)
                threading.Event().wait()  # the signal takes a moment; nothing more may happen in this thread


def until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait for `condition`; an AssertionError that says `what` did not happen."""
    waiting = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        waiting.wait(0.02)
    raise AssertionError(f"{what}: not within {seconds:g} s")
