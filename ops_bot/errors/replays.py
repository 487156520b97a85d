"""Entries that arrive a second time, and how they are recognised.

An uploader that is killed, or loses its connection, before it knows that what it sent has arrived sends it again, and
the collector writes it again. But a host's entries come in the order of its clock since boot: one that lies before the
newest that was seen of that boot has been seen, and so has one of the same moment with the same content.
"""

from dataclasses import dataclass, field
from typing import Any

from ops_bot.errors.journal import Entry
from ops_bot.errors.memory import Memory

_SAME_MOMENT = 200  # entries of one microsecond that are told apart


@dataclass
class Boot:
    """How far one boot of a host was seen."""

    monotonic: int = -1
    identities: list[str] = field(default_factory=list)  # of the entries of that very moment


class Replays:
    """Feed it all entries; it tells which are new."""

    def __init__(self) -> None:
        self._boots = Memory(Boot)

    def is_new(self, series: str, entry: Entry) -> bool:
        """Tell whether an entry of a series of files was not seen before, and take note that now it was."""
        key = f"{series}/{entry.boot}"
        boot = self._boots.put(key, self._boots.get(key) or Boot())
        if entry.monotonic < boot.monotonic or (
            entry.monotonic == boot.monotonic and entry.identity in boot.identities
        ):
            return False
        if entry.monotonic > boot.monotonic:
            boot.monotonic, boot.identities = entry.monotonic, []
        boot.identities = [*boot.identities, entry.identity][-_SAME_MOMENT:]
        return True

    def dump(self) -> dict[str, Any]:
        """Return everything it remembers, for `load`."""
        return self._boots.dump()

    def load(self, dumped: dict[str, Any]) -> None:
        """Remember what `dump` returned."""
        self._boots.load(dumped)
