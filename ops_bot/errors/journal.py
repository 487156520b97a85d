"""One entry of a systemd journal, from the JSON that `journalctl --output=json --all` prints."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

# What journalctl is asked to print besides an entry's address and times, which it always prints.
FIELDS = (
    "MESSAGE",
    "MESSAGE_ID",
    "PRIORITY",
    "SYSLOG_IDENTIFIER",
    "_COMM",
    "_HOSTNAME",
    "_MACHINE_ID",
    "_SYSTEMD_UNIT",
    "_TRANSPORT",
    # systemd about a unit
    "UNIT",
    "UNIT_RESULT",
    "JOB_RESULT",
    "N_RESTARTS",
    # Docker's log driver `journald`
    "CONTAINER_ID",
    "CONTAINER_NAME",
    "CONTAINER_TAG",
    "CONTAINER_PARTIAL_MESSAGE",
    "TAGBOAT_SERVICE",
    "TAGBOAT_TAG",
)

# A container of a service is named after the service and its slot; `migrate` is the one that runs before a switch.
_CONTAINER = re.compile(r"^(?P<service>.+)-(?P<slot>a|b|migrate)$")
_SLOT_UNIT = re.compile(r"^(?P<service>.+)@(?P<slot>[ab])\.service$")
_DEFAULT_PRIORITY = 6


@dataclass(frozen=True)
class Entry:
    """One entry. Names of fields are journald's, in words; what is not said is empty."""

    cursor: str
    at: datetime
    monotonic: int  # microseconds since the host's boot
    boot: str  # with the machine: which boot `monotonic` counts from
    identity: str  # a hash of the entry's content
    host: str
    message: str = ""
    message_id: str = ""
    priority: int = _DEFAULT_PRIORITY  # as syslog's: 3 is an error, 6 is information
    transport: str = ""
    program: str = ""
    unit: str = ""  # whose process wrote it
    about_unit: str = ""  # which unit systemd writes about
    unit_result: str = ""
    job_result: str = ""
    container: str = ""
    container_id: str = ""
    partial: bool = False  # the rest of the line is in the next entry of this container
    service: str = ""
    slot: str = ""
    tag: str = ""


def parse(line: str | bytes) -> Entry | None:
    """Return the entry of one line of journalctl's output, or None when the line is none."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry_of(fields) if isinstance(fields, dict) else None


def entry_of(fields: Mapping[str, Any]) -> Entry | None:
    """Return the entry of these journal fields, or None when they lack an address or a time."""

    def said(*names: str) -> str:
        return next((found for name in names if (found := text_of(fields.get(name)))), "")

    def name(*names: str) -> str:
        return "".join(character for character in said(*names)[:200] if character.isprintable())

    cursor = said("__CURSOR")
    try:
        at = datetime.fromtimestamp(int(said("__REALTIME_TIMESTAMP")) / 1_000_000, UTC)
        monotonic = int(said("__MONOTONIC_TIMESTAMP") or 0)
    except (ValueError, OverflowError, OSError):
        return None
    if not cursor:
        return None
    priority = said("PRIORITY")
    container = name("CONTAINER_NAME", "CONTAINER_TAG")
    about = name("UNIT")
    unit = name("_SYSTEMD_UNIT")
    place = _CONTAINER.match(container) if container else (_SLOT_UNIT.match(about) or _SLOT_UNIT.match(unit))
    return Entry(
        cursor=cursor,
        at=at,
        monotonic=monotonic,
        # Hosts that are containers of one machine share its boot id.
        boot=f"{said('_MACHINE_ID')}/{said('_BOOT_ID')}",
        identity=cursor.rpartition("x=")[2],
        host=name("_HOSTNAME"),
        message=said("MESSAGE"),
        message_id=said("MESSAGE_ID"),
        priority=int(priority) if priority in "01234567" and priority else _DEFAULT_PRIORITY,
        transport=said("_TRANSPORT"),
        program=name("SYSLOG_IDENTIFIER", "_COMM"),
        unit=unit,
        about_unit=about,
        unit_result=name("UNIT_RESULT"),
        job_result=name("JOB_RESULT"),
        container=container,
        container_id=name("CONTAINER_ID"),
        partial=said("CONTAINER_PARTIAL_MESSAGE") == "true",
        service=name("TAGBOAT_SERVICE") or (place["service"] if place else ""),
        slot=place["slot"] if place else "",
        tag=name("TAGBOAT_TAG"),
    )


def text_of(value: object) -> str:
    """Return a field's text. Bytes that are no text come as a list of numbers, repeated fields as a list of values."""
    match value:
        case str():
            return value.encode(errors="replace").decode()  # JSON can spell halves of characters
        case [int(), *_]:
            numbers = [number for number in value if isinstance(number, int) and 0 <= number < 256]
            return bytes(numbers).decode(errors="replace")
        case [first, *_]:
            return text_of(first)
        case _:
            return ""
