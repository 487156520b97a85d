"""What every sink is: something that can be told one thing, and says exactly what became of it.

The difference that matters after a failure is whether the other side may have done what was asked. `Retry` says that it
did not; `Ambiguous` says that nobody knows, and that the next attempt has to look first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

from ops_bot.events import Story
from ops_bot.ledger import Delivery

# No service asks for more, and a wrong header must not silence a sink for a year.
RETRY_AFTER_MAX_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Sent:
    """It is shown. `ref` finds it there again."""

    ref: dict[str, Any]


@dataclass(frozen=True)
class Found:
    """An earlier attempt had succeeded: something is shown, as `ref`, maybe in an older state."""

    ref: dict[str, Any]


@dataclass(frozen=True)
class Absent:
    """No earlier attempt had succeeded."""


@dataclass(frozen=True)
class Retry:
    """It was not done; later it may be. `alone`: the trouble is with this one, others may go on meanwhile."""

    error: str
    after_seconds: float | None = None  # what the other side asked for
    alone: bool = False


@dataclass(frozen=True)
class Ambiguous:
    """Nobody knows whether it was done. `alone`: the trouble is with this one."""

    error: str
    after_seconds: float | None = None  # what the other side asked for
    alone: bool = False


@dataclass(frozen=True)
class Pause:
    """It was refused, and so will be the next, until a person mends something. `lane`: only those to this channel."""

    error: str
    lane: bool = False


@dataclass(frozen=True)
class Refused:
    """It was refused for what it is, in its simplest form too."""

    error: str


Failure = Retry | Ambiguous | Pause | Refused
Outcome = Sent | Failure


@dataclass(frozen=True)
class Job:
    """One thing to tell: the delivery, and the story as it must be shown."""

    delivery: Delivery
    story: Story
    parent: Delivery | None = None  # the message it belongs under
    missed: Sequence[Story] = ()  # for the summary after an outage: what happened meanwhile


class Sink(Protocol):
    """One place where things are told. Calls may take seconds, never raise for what the other side does."""

    @property
    def name(self) -> str:
        """What the ledger calls it."""
        ...

    @property
    def doubt_seconds(self) -> float:
        """How long after an attempt nobody knows the end of `reconcile` can tell."""
        ...

    def wait_seconds(self, delivery: Delivery, now: datetime) -> float:
        """How long `delivery` has to wait so that the sink's pace is kept."""
        ...

    def reconcile(self, job: Job, now: datetime) -> Sent | Found | Absent | Failure:
        """After an attempt nobody knows the end of: look. `Sent` when nothing is left to do."""
        ...

    def deliver(self, job: Job, now: datetime) -> Outcome:
        """Tell it: change what is shown as `job.delivery.ref`, or show it anew."""
        ...


class Bucket:
    """A pace: `burst` at once, then `per_second`."""

    def __init__(self, per_second: float, burst: float = 1) -> None:
        self._per_second, self._burst = per_second, burst
        self._left = burst
        self._at: datetime | None = None

    def _fill(self, now: datetime) -> None:
        # A clock that was set back must not stop the sink for the time it jumped.
        passed = max(0.0, (now - self._at).total_seconds()) if self._at else 0.0
        self._left, self._at = min(self._burst, self._left + passed * self._per_second), now

    def wait_seconds(self, now: datetime) -> float:
        """How long until the next one may go."""
        self._fill(now)
        # A rest of 1e-9 is rounding, and would make the caller come back for nothing.
        return max(0.0, (1 - 1e-9 - self._left) / self._per_second)

    def take(self, now: datetime) -> None:
        """One goes now."""
        self._fill(now)
        self._left -= 1


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """What a Retry-After header asks for: seconds or an HTTP date (RFC 9110, 10.2.3). None when it says nothing."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - now).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
    if not seconds >= 0:  # a date that has passed; or NaN, which is not even that
        return None
    return min(max(seconds, 1.0), RETRY_AFTER_MAX_SECONDS)
