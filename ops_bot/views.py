"""What `ops-bot` prints: for people in columns, for programs as JSON. Pure but for `sinks`, which asks the ledger."""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from ops_bot.events import Event, Story
from ops_bot.ledger import Delivery, Ledger, Quarantined
from ops_bot.messages import headline, render
from ops_bot.messages.terminal import columns, terminal
from ops_bot.messages.words import duration
from ops_bot.settings import Settings
from ops_bot.text import one_line


def as_json(value: object) -> str:
    """`value`, made of models, dataclasses, times and plain data, as JSON."""
    return json.dumps(value, default=_plain, indent=2, ensure_ascii=False)


def _plain(value: object) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    raise TypeError(f"no JSON for {type(value).__name__}")


def counted(number: int, thing: str) -> str:
    """`1 event`, `2 events`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns, as wide as they must be; the last one is not filled up."""
    cells = [list(head), *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(columns(row[place]) for row in cells) for place in range(len(head))]
    lines = (
        "  ".join(cell + " " * (width - columns(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )
    return "\n".join(lines)


def when(moment: datetime, settings: Settings) -> str:
    """`moment` in the settings' zone, to the second."""
    return moment.astimezone(ZoneInfo(settings.time_zone)).strftime("%Y-%m-%d %H:%M:%S")


def history(stories: Sequence[Story], settings: Settings, now: datetime) -> str:
    """One line a story: when, what in a sentence, and the name to ask for more with."""
    if not stories:
        return "Nothing was recorded that is like this."
    rows = [
        (when(story.last_at, settings), story.correlation, headline(story, now=now, settings=settings))
        for story in stories
    ]
    return table((f"WHEN ({settings.time_zone})", "ID", "WHAT"), rows)


def story(
    story: Story,
    events: Sequence[Event],
    deliveries: Sequence[Delivery],
    settings: Settings,
    now: datetime,
    *,
    colour: bool = False,
) -> str:
    """A story as Slack shows it, the events it was told by, and what each sink was told."""
    message = render(story, now=now, settings=settings)
    lines = [terminal(message.blocks, message.text, colour=colour), ""]
    lines.append(
        table((f"WHEN ({settings.time_zone})", "STATE", "SAID", "EVENT"), [_told(e, settings) for e in events])
    )
    if deliveries:
        rows = [(one.sink, one.key, _stands(one, now), one.error) for one in deliveries]
        lines += ["", table(("SINK", "MESSAGE", "IS", "ERROR"), rows)]
    return "\n".join(lines)


def _told(event: Event, settings: Settings) -> tuple[str, str, str, str]:
    said = [event.step, event.error, event.reason, event.title]
    said += [f"{host.name}: {host.state or host.tag}" for host in event.hosts[:4]]
    return when(event.at, settings), event.state, " · ".join(filter(None, said)), event.id


def _stands(delivery: Delivery, now: datetime) -> str:
    if delivery.parked:
        return "refused"
    if not delivery.pending:
        return "shown"
    waits = f"waits {duration((now - delivery.waiting_since).total_seconds())}"
    return f"{waits}, after {counted(delivery.attempts, 'attempt')}" if delivery.attempts else waits


def outbox(deliveries: Sequence[Delivery], now: datetime) -> str:
    """What waits and what was refused."""
    if not deliveries:
        return "Nothing waits."
    rows = [
        (
            one.sink,
            _stands(one, now),
            "" if one.parked or one.next_at <= now else f"in {duration((one.next_at - now).total_seconds())}",
            "yes" if one.attempt_started else "",
            one.key,
            one.error,
        )
        for one in deliveries
    ]
    return table(("SINK", "IS", "NEXT TRY", "IN DOUBT", "MESSAGE", "ERROR"), rows)


def sinks(ledger: Ledger, settings: Settings) -> list[dict[str, Any]]:
    """How each sink is: those that are configured, and others that something still waits for."""
    told = []
    for name in settings.sinks + ["metrics"] * bool(settings.statsd_host):
        state, backlog = ledger.health(name), ledger.backlog(name)
        told.append(
            {
                "sink": name,
                "state": state.state,
                "reason": state.reason,
                "since": state.since,
                "until": state.until,
                "waiting": backlog.count,
                "oldest_seconds": None if backlog.oldest is None else backlog.oldest.total_seconds(),
                "refused": backlog.parked,
                "sender": ledger.leader(name),
            }
        )
    return told


def status(counts: Mapping[str, int], sinks: Sequence[Mapping[str, Any]], settings: Settings) -> str:
    """How the ledger and each sink are."""
    rows = [
        (
            one["sink"],
            one["state"] + (f" since {when(one['since'], settings)}" if one["since"] and one["state"] != "ok" else ""),
            f"{one['waiting']:,}",
            "" if one["oldest_seconds"] is None else duration(one["oldest_seconds"]),
            f"{one['refused']:,}",
            "yes" if one["sender"] else "no",
            one["reason"] if one["state"] != "ok" else "",
        )
        for one in sinks
    ]
    lines = [
        f"{counted(counts['events'], 'event')} of {counted(counts['stories'], 'thing')} that happened",
        "",
        table(("SINK", "STATE", "WAITING", "OLDEST", "REFUSED", "SERVED", "REASON"), rows),
    ]
    if counts["quarantined"]:
        lines += ["", f"{counted(counts['quarantined'], 'body')} nobody could read: ops-bot quarantine"]
    return "\n".join(lines).replace("bodys", "bodies")


def quarantine(kept: Sequence[Quarantined], settings: Settings) -> str:
    """What nobody could read."""
    if not kept:
        return "Everything could be read."
    rows = [(when(one.received_at, settings), one.source, one.reason, one.body) for one in kept]
    return table((f"WHEN ({settings.time_zone})", "FROM", "WHY", "BODY"), rows)
