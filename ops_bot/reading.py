"""From the body of a request to events: nothing in it can be so wrong that this raises. Pure."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from ops_bot.events import Event
from ops_bot.text import REMOVED, clip_start, scrub

MAX_EVENTS = 1000  # in one body
MAX_LOG_CHARACTERS = 16_000  # the last of a log tail: ten times what a message shows

# What things are found by. Scrubbing could make two of them one.
_IDENTIFIERS = frozenset({"id", "correlation", "fingerprint", "digest", "revision", "schema_version"})
# Outside of these a clock is wrong, not early or late; and calendars end not much further.
_OLDEST, _NEWEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Refused:
    """What could not be read: its place in the body, why (holds nothing of the body), and itself, scrubbed."""

    index: int
    reason: str
    body: str


@dataclass(frozen=True)
class Read:
    """What a body held."""

    events: list[Event]
    refused: list[Refused]


def read(body: bytes) -> Read:
    """The events in `body`: one JSON object or a list of them. Secrets are taken out of every text."""
    try:
        told = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        return Read([], [Refused(0, f"this is not JSON: {error}", scrub(body.decode(errors="replace")))])
    items = told if isinstance(told, list) else [told]
    if not items:
        return Read([], [Refused(0, "an empty list: there is nothing to record", "[]")])
    if len(items) > MAX_EVENTS:
        reason = f"{len(items)} events at once: send at most {MAX_EVENTS}"
        return Read([], [Refused(0, reason, scrub(body.decode(errors="replace")))])
    events: list[Event] = []
    refused: list[Refused] = []
    for index, item in enumerate(items):
        one = _event(index, item)
        (events if isinstance(one, Event) else refused).append(one)  # type: ignore[arg-type]
    return Read(events, refused)


def _event(index: int, item: object) -> Event | Refused:
    if not isinstance(item, dict):
        return Refused(index, "an event is a JSON object", scrub(to_json(item).decode()))
    clean = without_secrets(item)
    # The same body again must be the same event, even if its sender does not count its events.
    clean.setdefault("id", "body-" + hashlib.sha256(to_json(dict(sorted(item.items())))).hexdigest())
    try:
        event = Event.model_validate(clean)
    except ValidationError as error:
        return Refused(index, scrub(explain(error)), to_json(clean).decode())
    for name in ("at", "started_at", "until", "standby_until"):
        moment: datetime | None = getattr(event, name)
        if moment is not None and not _OLDEST < moment < _NEWEST:
            return Refused(index, f"{name}: the year {moment.year} is not meant", to_json(clean).decode())
    if len(event.log_tail) > MAX_LOG_CHARACTERS:
        event.log_tail = clip_start(event.log_tail, MAX_LOG_CHARACTERS)
    return event


def explain(error: ValidationError) -> str:
    """Why pydantic refused, in one line, without what it refused."""
    return "; ".join(
        f"{'.'.join(map(str, one['loc']))}: {one['msg']}" if one["loc"] else one["msg"]
        for one in error.errors(include_input=False, include_url=False, include_context=False)[:5]
    )


def without_secrets(item: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of an event's JSON with the secrets taken out of every text in it, and of every field named like one."""
    return {
        str(key): value if key in _IDENTIFIERS else _without_secrets(str(key), value) for key, value in item.items()
    }


def _without_secrets(name: str, value: Any) -> Any:
    if isinstance(value, str):
        # What is called "token" is one, whatever it looks like.
        named = scrub(f'"{name}": "{value}"') if name not in Event.model_fields else ""
        return REMOVED if named == f'"{name}": "{REMOVED}"' else scrub(value)
    if isinstance(value, dict):
        return {key: _without_secrets(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_secrets(name, inner) for inner in value]
    return value
