"""Journals that cannot be read: silence must not look like the absence of errors, so people are told."""

import logging
from datetime import datetime, timedelta

from ops_bot.events import Event, Kind, State
from ops_bot.ledger import Ledger, LedgerError

TOLD_AFTER = timedelta(minutes=5)  # a folder that comes a little later than the bot is nobody's business
_PREFIX = "alert:journals:"

_log = logging.getLogger(__name__)


class Trouble:
    """One alert for one stretch of time in which no journal could be read."""

    def __init__(self, ledger: Ledger, environment: str) -> None:
        self._ledger = ledger
        self._environment = environment
        self._mend = "make site" + (f" ENV={environment}" if environment not in ("", "local") else "")
        self._since: datetime | None = None
        # A bot that was started anew ends what the one before it told of.
        told = ledger.stories(environment=environment, kind=Kind.ALERT, unfinished=True)
        self._open = next((one.correlation for one in told if one.correlation.startswith(_PREFIX)), "")

    def met(self, error: str, now: datetime) -> None:
        """Nothing can be read, because of `error`."""
        if self._since is None:
            self._since = now
            _log.error("errors are not followed: %s", error)
        if not self._open and now - self._since >= TOLD_AFTER:
            self._open = f"{_PREFIX}{self._since:%Y%m%dT%H%M%S}"
            self._record(State.STARTED, now, "errors of services are not seen: no journal can be read", error)

    def over(self, now: datetime) -> None:
        """All could be read."""
        self._since = None
        if self._open:
            self._record(State.FINISHED, now, "errors of services are seen again", "")
            self._open = ""

    def _record(self, state: State, now: datetime, title: str, error: str) -> None:
        event = Event(
            id=f"{self._open}:{state}",
            correlation=self._open,
            sequence=int(state == State.FINISHED),
            kind=Kind.ALERT,
            state=state,
            at=now,
            environment=self._environment,
            service="ops_bot",
            title=title,
            error=error[:500],
            next_command="" if state == State.FINISHED else self._mend,
        )
        try:
            self._ledger.record([event])
        except LedgerError as failure:
            _log.error("%s: %s", title, failure)
