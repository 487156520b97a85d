"""A lease: a host's promise to one rollout that no other will touch this service. It expires by itself.

Kept under /run, so a reboot ends it, and timed by the host's own uptime, so that no clock set wrong prolongs it.
"""

from __future__ import annotations

import contextlib
import json
from types import TracebackType
from typing import Any

from .host import Host

SECONDS = 60
PATIENCE_SECONDS = 10  # two rollouts that begin together: how long the one that won the first host waits for the rest


class LeaseHeldError(Exception):
    """Another rollout holds the lease. The message says which, whose, and since when."""


class Lease:
    """The lease of one service on this host, as one rollout sees it."""

    def __init__(self, host: Host, service: str, rollout: dict[str, Any]) -> None:
        self._host = host
        self._service = service
        self._path = f"/run/tagboat/{service}.lease"
        self._rollout = rollout
        self._work = contextlib.ExitStack()

    def holder(self) -> dict[str, Any] | None:
        """Return who holds a lease that has not expired, or None."""
        try:
            held: dict[str, Any] = json.loads(self._host.read(self._path) or "{}")
            return held if held["until"] > self._host.clock() else None
        except (ValueError, TypeError, KeyError):
            return None  # none, or not written by a rollout, which writes it whole: it must not lock anybody out

    def take(self, first: bool) -> None:
        """Take the lease.

        Two rollouts begun in the same second race for the first host of the service; the one that loses it gives up
        at once, the one that wins it waits on the other hosts until the loser has let go. Both wait for a holder that
        is `brief`, such as a prune.

        Raises:
            LeaseHeldError: another rollout holds it.
        """
        deadline = self._host.clock() + PATIENCE_SECONDS
        while held := self._claim(confirmed=False):
            if (first and not held.get("brief")) or held["confirmed"] or self._host.clock() > deadline:
                seconds = self._host.clock() - held["since"]
                raise LeaseHeldError(
                    f"{held['by']} holds the lease for {self._service} since {seconds:.0f} s: {held['what']}"
                )
            self._host.sleep(0.2)

    def confirm(self) -> None:
        """Hold on to the lease for a change that begins now.

        Raises:
            LeaseHeldError: it expired meanwhile and another rollout took it.
        """
        if held := self._claim(confirmed=True):
            raise LeaseHeldError(f"{held['by']} took the lease for {self._service} over: {held['what']}")

    def prolong(self) -> bool:
        """Hold on to the lease while something else is waited for; return False when it is lost, and stays lost."""
        with self._host.lock(f"{self._path}.lock"):
            held = self.holder()
            if held is None or held["id"] != self._rollout["id"]:
                return False
            self._write(held, confirmed=False)
            return True

    def prolonged(self) -> contextlib.AbstractContextManager[None]:
        """Prolong it while something is under way here that changes nothing, and its rollout waits for that."""
        return self._host.meanwhile(lambda: self._host.is_waited_for() and self.prolong(), SECONDS / 3)

    def is_mine(self) -> bool:
        """Tell whether this rollout holds the lease."""
        held = self.holder()
        return held is not None and held["id"] == self._rollout["id"]

    def release(self) -> None:
        """Let another rollout begin."""
        if self.is_mine():
            with self._host.lock(f"{self._path}.lock"):  # or who prolongs it in this moment would bring it back
                if self.is_mine():
                    self._host.remove(self._path)

    def _claim(self, confirmed: bool) -> dict[str, Any] | None:
        """Take or prolong the lease, unless another rollout holds it: then return that."""
        with self._host.lock(f"{self._path}.lock"):
            held = self.holder()
            if held and held["id"] != self._rollout["id"]:
                return held
            self._write(held, confirmed)
            return None

    def _write(self, held: dict[str, Any] | None, confirmed: bool) -> None:
        now = self._host.clock()
        mine = held or {"since": now, "confirmed": False}
        times = {"since": mine["since"], "until": now + SECONDS, "confirmed": confirmed or mine["confirmed"]}
        self._host.write(self._path, json.dumps({**self._rollout, **times}))

    def __enter__(self) -> Lease:
        """Renew the lease for as long as this process works under it, and its rollout waits for that."""
        self._work.enter_context(self._host.meanwhile(self._renew, SECONDS / 3))
        return self

    def _renew(self) -> bool:
        # A pull may take a quarter of an hour: when its control node is gone, nobody should have to wait for it.
        return self._host.is_waited_for() and self._claim(confirmed=False) is None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop renewing; the lease itself stays until it is released or expires."""
        self._work.close()
