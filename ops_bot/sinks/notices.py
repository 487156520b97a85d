"""What the bot says about itself: a sink is stuck, works again, or will never take a message. Pure.

Ids are made of what they are about: saying it twice, also after a crash in between, records it once.
"""

from datetime import datetime

from ops_bot.events import Event, Kind, State
from ops_bot.ledger import Backlog, Delivery
from ops_bot.messages.words import about, counted


def correlation_of(sink: str, lane: str, since: datetime) -> str:
    """What ties together the two events of one outage."""
    return ":".join(filter(None, ("alert", sink, lane.lstrip("#")[:80], f"{since:%Y%m%dT%H%M%S}")))


def stuck_id(sink: str, lane: str, since: datetime) -> str:
    """The id of the event that said that the outage begun at `since` is one."""
    return f"{correlation_of(sink, lane, since)}:stuck"


def stuck(
    sink: str, lane: str, since: datetime, now: datetime, *, reason: str, backlog: Backlog, environment: str
) -> Event:
    """`sink` (in `lane` only, if given) takes nothing since `since`."""
    waited = (now - since).total_seconds()
    for_so_long = f" for {about(waited)}" if waited >= 60 else ""
    return _alert(
        sink,
        lane,
        since,
        environment,
        id=stuck_id(sink, lane, since),
        state=State.STARTED,
        at=now,
        title=f"{_name(sink, lane)} takes nothing{for_so_long}: {counted(backlog.count, 'message')} waiting",
        error=reason[:400],
        count=backlog.count,
        sequence=0,
    )


def recovered(sink: str, lane: str, since: datetime, now: datetime, *, backlog: Backlog, environment: str) -> Event:
    """`sink` (in `lane`) takes messages again."""
    outage = (now - since).total_seconds()
    return _alert(
        sink,
        lane,
        since,
        environment,
        id=f"{correlation_of(sink, lane, since)}:over",
        state=State.FINISHED,
        at=now,
        title=f"{_name(sink, lane)} is back after {about(outage)}: {counted(backlog.count, 'message')} to follow",
        count=backlog.count,
        duration_seconds=outage,
        sequence=1,
    )


def refused(delivery: Delivery, error: str, now: datetime, environment: str, *, for_good: bool) -> Event:
    """`delivery.sink` does not take this message, now or `for_good`. Said once an hour for each error."""
    verb = "refused a message for good" if for_good else "keeps refusing a message"
    correlation = f"alert:{delivery.sink}:refused:{now:%Y%m%dT%H}:{error[:60]}"
    return Event.model_validate(
        {
            "id": f"{correlation}:first",
            "correlation": correlation,
            "kind": Kind.ALERT,
            "state": State.STARTED,
            "at": now,
            "environment": environment,
            "service": "ops_bot",
            "title": f"{delivery.sink.capitalize()} {verb}",
            "error": f"{delivery.correlation}: {error}"[:400],
            "next_command": f"ops-bot show {delivery.correlation}"[:500],
            "sink": delivery.sink,
        }
    )


def _alert(sink: str, lane: str, since: datetime, environment: str, **fields: object) -> Event:
    return Event.model_validate(
        {
            "correlation": correlation_of(sink, lane, since),
            "kind": Kind.ALERT,
            "environment": environment,
            "service": "ops_bot",
            "started_at": since,
            "next_command": "ops-bot outbox",
            "sink": sink,
            "lane": lane,
        }
        | fields
    )


def _name(sink: str, lane: str) -> str:
    return " ".join(filter(None, (sink.capitalize(), lane)))
