"""What systemd and the kernel say: units that failed, containers started again, processes killed for their memory."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ops_bot.errors.fingerprint import Occurrence, by_message, short
from ops_bot.errors.journal import Entry
from ops_bot.errors.memory import Memory
from ops_bot.errors.parameterise import parameterise
from ops_bot.scrub import scrub

# Ids of systemd's own messages: its sd-messages.h, or `journalctl --list-catalog`.
UNIT_FAILED = "d9b373ed55a64feb8242e02dbe79a49c"  # … Failed with result '…'.
START_FAILED = "be02cf6855d2428ba40df7e9d022f03d"  # Failed to start …
RESTART_SCHEDULED = "5eb03494b6584870a536b337290809b3"
UNIT_OUT_OF_MEMORY = "fe6faa94e7774663a0da52717891d8ef"

_LAST_WORDS = timedelta(seconds=10)  # before a container ended: what it said about it
_SAME_KILL = timedelta(seconds=10)  # the kernel and systemd both tell of one

_SLOT = re.compile(r"^(?P<service>.+)@(?P<slot>[ab])\.service$")
_SCOPE = re.compile(r"^docker-(?P<id>[0-9a-f]{12})[0-9a-f]*\.scope$")
# What these commands print, beside the slot's name, that says nothing of why a container ended.
_NAMES = re.compile(r"^(?:[0-9a-f]{64}|(?:See|Run) 'docker run --help'.*|.*No such container: .*)?$")
_KILL_CONTEXT = re.compile(r"^oom-kill:.*?task_memcg=\S*?docker[-/](?P<id>[0-9a-f]{12})")
_KILLED = re.compile(r"Killed process \d+ \((?P<program>[^)]*)\)")
# The uploader fails whenever the collecting host is away, and once that can be read here, it works again. A container's
# scope fails when the kernel killed in it, which is told otherwise.
_EXPECTED = re.compile(r"^(systemd-journal-upload\.service|docker-[0-9a-f]+\.scope)$")


@dataclass
class Slot:
    """What was last heard of a service's slot: why it ended."""

    code: str = ""
    result: str = ""
    words: str = ""
    words_at: datetime | None = None


@dataclass
class Container:
    """Whose a container is, for messages that know only its id or its name."""

    service: str
    tag: str


@dataclass
class Kill:
    """The last kill of a host that the kernel told of."""

    container_id: str = ""
    told_at: datetime | None = None


class Units:
    """Feed it what no service wrote itself; it returns the errors that happened."""

    def __init__(self) -> None:
        self._slots = Memory(Slot)
        self._containers = Memory(Container)
        self._kills = Memory(Kill)

    def container(self, entry: Entry, tag: str) -> Container:
        """Take note of whose the container is that wrote `entry`; returns what is known of it."""
        known = self._containers.get(entry.container_id)
        found = Container(entry.service, tag or (known.tag if known else ""))
        self._containers.put(f"{entry.host}/{entry.container}", found)
        return self._containers.put(entry.container_id, found)

    def words(self, entry: Entry) -> None:
        """Take note of what a container wrote that may be the reason why it ends."""
        slot = self._slot(entry.host, entry.service, entry.slot)
        slot.words, slot.words_at = short(scrub(entry.message)), entry.at

    def feed(self, entry: Entry) -> Occurrence | None:
        """Take in one entry that is not of a container."""
        if entry.transport == "kernel":
            return self._kernel(entry)
        if entry.message_id == UNIT_OUT_OF_MEMORY:
            return self._unit_out_of_memory(entry)
        if entry.message_id and entry.about_unit:
            place = _SLOT.match(entry.about_unit)
            return self._slot_moved(entry, *place.groups()) if place else _unit_failed(entry)
        if place := _SLOT.match(entry.unit):
            self._commanded(entry, *place.groups())
            return None
        # Of what runs beside the services only what calls itself critical: sshd alone has errors all day long.
        return _critical(entry) if entry.priority <= 2 and entry.unit and entry.message else None

    def _slot(self, host: str, service: str, slot: str) -> Slot:
        key = f"{host}/{service}-{slot}"
        return self._slots.put(key, self._slots.get(key) or Slot())

    def _commanded(self, entry: Entry, service: str, name: str) -> None:
        """Take note of what the commands of a slot's unit say: `docker run`, then `docker wait`."""
        slot = self._slot(entry.host, service, name)
        if entry.program == "docker" and entry.message.isdigit():
            slot.code = entry.message  # how the container ended
        elif not _NAMES.match(entry.message) and entry.message != f"{service}-{name}":
            slot.words, slot.words_at = short(scrub(entry.message)), entry.at

    def _slot_moved(self, entry: Entry, service: str, name: str) -> Occurrence | None:
        slot = self._slot(entry.host, service, name)
        if entry.message_id == UNIT_FAILED:
            # Not an error yet: a slot that is started anew over its old container ends like that too.
            slot.result = entry.unit_result
        if entry.message_id != RESTART_SCHEDULED:
            return None
        recent = slot.words_at is not None and entry.at - slot.words_at <= _LAST_WORDS
        words = slot.words if recent else ""
        how = {
            "": "ended and was started again",
            "0": "ended by itself and was started again",
            "137": "was killed (137: out of memory, or by hand) and was started again",
        }.get(slot.code, f"ended with {slot.code} and was started again")
        if slot.result and not slot.code:
            how = f"cannot be started ({slot.result})"
        title = short(f"{service} {how}" + (f": {words}" if words else ""))
        identity = ("restart", slot.code, slot.result, parameterise(words))
        known = self._containers.get(f"{entry.host}/{service}-{name}")
        slot.code = slot.result = slot.words = ""
        tag = known.tag if known else ""
        return Occurrence(entry.at, entry.host, service, identity, title, tag=tag, sample=words or entry.message)

    def _kernel(self, entry: Entry) -> Occurrence | None:
        if found := _KILL_CONTEXT.match(entry.message):
            self._kills.put(entry.host, Kill(found["id"]))
        elif found := _KILLED.search(entry.message):
            kill = self._kills.get(entry.host) or Kill()
            self._kills.put(entry.host, Kill(told_at=entry.at))
            return self._out_of_memory(entry, kill.container_id, found["program"])
        return None

    def _unit_out_of_memory(self, entry: Entry) -> Occurrence | None:
        kill = self._kills.get(entry.host)
        if kill and kill.told_at and abs(entry.at - kill.told_at) <= _SAME_KILL:
            return None
        scope = _SCOPE.match(entry.about_unit)
        return self._out_of_memory(entry, scope["id"] if scope else "", entry.about_unit.removesuffix(".service"))

    def _out_of_memory(self, entry: Entry, container_id: str, program: str) -> Occurrence:
        known = self._containers.get(container_id)
        service, tag = (known.service, known.tag) if known else (entry.service or program, "")
        title = f"{service} ran out of memory and was killed"
        return Occurrence(entry.at, entry.host, service, ("out of memory",), title, tag=tag, sample=entry.message)

    def dump(self) -> dict[str, Any]:
        """Return everything it remembers, for `load`."""
        return {
            "slots": self._slots.dump(),
            "containers": self._containers.dump(),
            "kills": self._kills.dump(),
        }

    def load(self, dumped: dict[str, Any]) -> None:
        """Remember what `dump` returned."""
        self._slots.load(dumped.get("slots", {}))
        self._containers.load(dumped.get("containers", {}))
        self._kills.load(dumped.get("kills", {}))


def _unit_failed(entry: Entry) -> Occurrence | None:
    why = entry.unit_result if entry.message_id == UNIT_FAILED else ""
    if entry.message_id == START_FAILED and entry.job_result == "dependency":
        why = entry.job_result  # it never ran, so there is no result of it
    if not why or _EXPECTED.match(entry.about_unit):
        return None
    name = entry.about_unit.removesuffix(".service")
    identity = ("unit", parameterise(entry.about_unit), why)
    title = f"{entry.about_unit} failed ({why})"
    return Occurrence(entry.at, entry.host, name, identity, short(title), sample=entry.message)


def _critical(entry: Entry) -> Occurrence:
    name = entry.unit.removesuffix(".service")
    said = scrub(entry.message)
    identity, title = by_message(said, entry.program)
    return Occurrence(entry.at, entry.host, name, identity, title, entry.program, sample=said)
