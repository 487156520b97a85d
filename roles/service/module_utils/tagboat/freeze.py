"""A freeze: a person's refusal of deploys on an environment, with a reason, an owner and an end.

Kept on every host that runs services, because the control node keeps no state, and timed by that host's own clock from
beginning to end. A rollout asks every host of its service, and one that says frozen refuses it all: so a clock that is
wrong, on one host, opens nothing.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from .host import Host

PATH = "/etc/tagboat/freeze.json"
TIME = "%Y-%m-%dT%H:%M:%SZ"


class Freeze:
    """The freeze of the environment this host belongs to."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def now(self) -> dict[str, Any] | None:
        """Return `reason`, `by`, `since` and `until` of a freeze that holds now, or None."""
        found = self._read()
        return found if found and found["until"] > self._host.now() else None

    def begin(self, reason: str, by: str, hours: float) -> None:
        """Refuse deploys from now on. A freeze that holds already is replaced."""
        now = self._host.now()
        until = (datetime.strptime(now, TIME) + timedelta(hours=hours)).strftime(TIME)  # noqa: DTZ007  both are UTC
        self._host.write(PATH, json.dumps({"reason": reason, "by": by, "since": now, "until": until}) + "\n")

    def copy(self, freeze: dict[str, Any]) -> None:
        """Take over the freeze of another host: this one is new."""
        self._host.write(PATH, json.dumps(freeze) + "\n")

    def end(self) -> bool:
        """Allow deploys again; return whether they were refused."""
        was_frozen = self.now() is not None
        self._host.remove(PATH)
        return was_frozen

    def forget_expired(self) -> None:
        """Remove a freeze that has ended by itself."""
        if self._read() and not self.now():
            self._host.remove(PATH)

    def _read(self) -> dict[str, Any] | None:
        text = self._host.read(PATH)
        found: dict[str, Any] | None = json.loads(text) if text else None
        return found
