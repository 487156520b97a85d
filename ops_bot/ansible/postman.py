"""Carries events from a playbook run to the bot, so that the run never waits and nothing is lost when it ends.

An event is on disk, in a spool, when `Postman.report` returns. A process of its own, forked off at the first event,
sends what is in the spool. It outlives the run, and when the run ends without having said so (Ctrl-C, SIGKILL, a lost
terminal), it is the one that tells.
"""

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from ops_bot.events import Event
from ops_bot.spool import Flushed, Spool

REQUEST_SECONDS = 5.0
AWAY_SECONDS = 2.0  # between two attempts while the bot is away: the rollout needs the processor more
GIVE_UP_SECONDS = 20.0  # after the run: what is left then, the next run or `ops-bot flush` sends
MAIL, END = b".", b"E"


class Postman:
    """Takes events of one playbook run.

    Args:
        directory: the spool.
        url: where the bot is.
        token: what it wants to see.
        ca_file: who signed its certificate; empty: an authority that this machine trusts anyway.
    """

    def __init__(self, directory: Path, url: str, token: str, ca_file: str = "") -> None:
        self._spool = Spool(directory)
        self._url, self._token, self._ca_file = url, token, ca_file
        self._pipe: int | None = None

    def waiting(self) -> int:
        """How many events wait in the spool."""
        return len(self._spool.waiting())

    def report(self, event: Event) -> None:
        """Keep an event, and have it sent. Raises OSError when it cannot be kept."""
        self._spool.add(event)
        self._knock(MAIL)

    def start(self, unfinished: Callable[[], Event]) -> None:
        """Fork the process that sends. Once a run, before Ansible forks its workers: they knock at the same pipe.

        Args:
            unfinished: makes the event that is sent when the run ends without `end`.
        """
        reading, self._pipe = os.pipe()
        child = os.fork()
        if child:
            os.close(reading)
            os.waitpid(child, 0)
            return
        try:
            os.close(self._pipe)
            os.setsid()  # Ctrl-C at the terminal is not for this process
            if os.fork() == 0:  # nobody's child: nobody waits for it
                self._carry(reading, unfinished)
        finally:
            os._exit(0)

    def end(self) -> None:
        """Say that the run has told everything."""
        self._knock(END)

    def send_now(self) -> None:
        """Send what waits, from this process, without raising for the network."""
        self._flush()

    def _knock(self, what: bytes) -> None:
        if self._pipe is not None:
            with contextlib.suppress(OSError):  # the process is gone: the events stay in the spool
                os.write(self._pipe, what)

    def _carry(self, reading: int, unfinished: Callable[[], Event]) -> NoReturn:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        _let_go_of_everything_but(reading)
        ended = False
        again_at: float | None = 0.0  # what earlier runs could not send goes first
        while True:
            seconds = None if again_at is None else max(0.0, again_at - time.monotonic())
            if select.select([reading], [], [], seconds)[0]:
                heard = os.read(reading, 4096)
                if not heard:
                    break
                ended = ended or END in heard
                again_at = again_at or 0.0
            if again_at is not None and time.monotonic() >= again_at:
                again_at = time.monotonic() + AWAY_SECONDS if self._flush().why_left else None
        if not ended:
            with contextlib.suppress(OSError):
                self._spool.add(unfinished())
        deadline = time.monotonic() + GIVE_UP_SECONDS
        pause = 0.5
        while self._flush().left and time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(pause * 2, 5.0)
        os._exit(0)

    def _flush(self) -> Flushed:
        """Send what waits."""
        try:
            return self._spool.flush(
                self._url, self._token, REQUEST_SECONDS, ca_file=self._ca_file, deadline_seconds=GIVE_UP_SECONDS
            )
        except OSError:
            return Flushed()  # no spool to read: nothing can be done here


def _let_go_of_everything_but(kept: int) -> None:
    """Close what was inherited: whoever reads the playbook's output waits for its end."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 (for good)
