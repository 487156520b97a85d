"""What nobody reports: a rollout or build that began and was never heard of again, and history that grows old."""

import hashlib
import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from ops_bot.events import Event, Kind, State, Story
from ops_bot.ledger import Ledger, LedgerError
from ops_bot.settings import Settings

log = logging.getLogger(__name__)

# What has an end of its own. A freeze ends by the clock, an error group when it is resolved.
WATCHED = (Kind.BUILD, Kind.DEPLOY, Kind.ROLLBACK, Kind.SCALE)

# Past its own deadline a sender is given so long, counted from what was last heard of it: clocks differ.
GRACE = timedelta(minutes=1)


def lost(story: Story, heard_at: datetime, up_since: datetime, now: datetime, after: timedelta) -> Event | None:
    """The event that says that `story` is lost; None while there is hope.

    `heard_at` is when something was last recorded of it. While the bot was down nothing could be heard: the time
    counts from `up_since` at the earliest.
    """
    silent_since = max(heard_at, up_since)
    deadline = max(story.until, silent_since + GRACE) if story.until else silent_since + after
    if now <= deadline:
        return None
    # The same loss has the same id, whichever process finds it, however often.
    name = hashlib.sha256(f"{story.correlation} {story.id}".encode()).hexdigest()[:32]
    return Event(
        id=f"lost-{name}",
        correlation=story.correlation,
        sequence=story.sequence,
        kind=story.kind,
        state=State.LOST,
        at=now,
        error=f"nothing was heard of it since {heard_at:%Y-%m-%d %H:%M:%S} UTC",
    )


class Watchdog:
    """Looks every `EVERY_SECONDS`; once a day forgets what is older than the settings keep."""

    EVERY_SECONDS = 15.0

    def __init__(self, ledger: Ledger, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._ledger, self._settings, self._clock = ledger, settings, clock
        self._up_since = clock()
        self._pruned_at: datetime | None = None

    def step(self) -> None:
        """Look once. Raises LedgerError."""
        now = self._clock()
        after = timedelta(seconds=self._settings.lost_after_seconds)
        found = [
            event
            for story, heard_at in self._ledger.silent(WATCHED, now - GRACE)
            if (event := lost(story, heard_at, self._up_since, now, after))
        ]
        if found:
            self._ledger.record(found)
        if self._pruned_at is None or now - self._pruned_at >= timedelta(days=1):
            forgotten = self._ledger.prune(now - timedelta(days=self._settings.retention_days))
            self._pruned_at = now
            if forgotten:
                log.info("forgot %d stories older than %d days", forgotten, self._settings.retention_days)

    def run(self, stop: threading.Event) -> None:
        """Look until `stop` is set."""
        while True:
            try:
                self.step()
            except LedgerError as error:
                log.error("the watchdog cannot look: %s", error)
            if stop.wait(self.EVERY_SECONDS):
                return
