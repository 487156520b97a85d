"""How a sink (or one channel of it) is: trying less often while it fails, and knowing since when it does."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta

from ops_bot.ledger import Ledger, SinkState
from ops_bot.sinks.base import RETRY_AFTER_MAX_SECONDS

RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS = 1.0, 60.0
# What waits for a person is looked at less often.
PAUSE_FIRST_SECONDS, PAUSE_MAX_SECONDS = 15.0, 120.0

Jitter = Callable[[], float]


def some_jitter() -> float:
    """A factor around 1, so that bots which fail together do not come back together."""
    return random.uniform(0.8, 1.2)  # noqa: S311  # no secret


def backoff_seconds(failures: int, first: float, most: float) -> float:
    """How long to wait after the `failures`th failure in a row: twice as long each time, up to `most`."""
    return min(most, first * 2.0 ** min(max(failures, 1) - 1, 30))


class Circuit:
    """Its state is in the ledger, so that it outlives the process and people can see it."""

    def __init__(self, ledger: Ledger, name: str, jitter: Jitter = some_jitter) -> None:
        self.name = name
        self._ledger = ledger
        self._jitter = jitter
        self._failures = 0
        self.state = SinkState()

    def load(self) -> None:
        """Take over what the process before left. What a person had to mend may be mended: it is tried at once."""
        state = self._ledger.sink_state(self.name)
        self.state = SinkState(state.state, state.reason, state.since) if state.state == "paused" else state

    def wait_seconds(self, now: datetime) -> float:
        """How long until the next attempt."""
        if self.state.until is None:
            return 0.0
        wait = (self.state.until - now).total_seconds()
        # Longer than any wait there is: the clock was wrong when it was set.
        return 0.0 if wait > RETRY_AFTER_MAX_SECONDS else max(0.0, wait)

    def failed(self, error: str, now: datetime, after_seconds: float | None = None) -> None:
        """It failed, for reasons of its own; `after_seconds` is what it asked for."""
        self._failures += 1
        wait = after_seconds or backoff_seconds(self._failures, RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS) * self._jitter()
        self._ledger.set_sink_state(self.name, "slow", error, now + timedelta(seconds=wait))
        self.state = self._ledger.sink_state(self.name)

    def refused(self, error: str, now: datetime) -> None:
        """It refused us, and a person must mend it."""
        self._failures += 1
        wait = backoff_seconds(self._failures, PAUSE_FIRST_SECONDS, PAUSE_MAX_SECONDS)
        self._ledger.set_sink_state(self.name, "paused", error, now + timedelta(seconds=wait))
        self.state = self._ledger.sink_state(self.name)

    def worked(self) -> None:
        """It works."""
        self._failures = 0
        if self.state.state != "ok":
            self._ledger.set_sink_state(self.name, "ok")
        self.state = SinkState()

    def hurry(self) -> None:
        """Try again now: the clock its wait was of has been set back."""
        self.state = SinkState(self.state.state, self.state.reason, self.state.since)
