"""From journal entries to occurrences of errors.

Several entries make one occurrence: a line that Docker cut, the lines of a traceback, the words and the exit code of a
container before systemd starts it again. What an assembler waits for is part of its state, which is kept together with
the cursor: a bot that is killed between two lines of a traceback goes on with the third. Nothing is kept there or in an
occurrence before secrets are taken out.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Self

from ops_bot.errors import levels, stack
from ops_bot.errors.fingerprint import Occurrence, by_message, by_stack
from ops_bot.errors.journal import Entry
from ops_bot.errors.levels import Line
from ops_bot.errors.memory import Memory
from ops_bot.errors.units import Units
from ops_bot.scrub import scrub

SETTLE = timedelta(seconds=2)  # without a further line, a traceback has ended
_LINES, _CHARACTERS = 400, 64_000  # of one occurrence
_WAITING = 500  # containers at a time


@dataclass
class Pending:
    """What a container wrote that may go on."""

    at: datetime
    read_at: datetime
    host: str
    service: str
    tag: str = ""
    lines: list[str] = field(default_factory=list)
    partial: str = ""  # the beginning of a line that Docker cut


class Assembler:
    """Feed it entries, of each host in their order; it returns the errors that happened."""

    def __init__(self) -> None:
        self._pending = Memory(Pending, 2 * _WAITING)
        self._units = Units()

    def feed(self, entry: Entry, now: datetime) -> list[Occurrence]:
        """Take in one entry, read at `now`."""
        if entry.container:
            # Of no service of ours: a build's, or somebody's own.
            return self._logged(entry, now) if entry.service else []
        found = self._units.feed(entry)
        return [found] if found else []

    def settle(self, now: datetime) -> list[Occurrence]:
        """Return what has ended, as nothing came for it for a while."""
        return [done for key, one in self._pending.items() if now - one.read_at >= SETTLE for done in self._end(key)]

    @property
    def waits(self) -> bool:
        """Whether something will settle."""
        return len(self._pending) > 0

    def _logged(self, entry: Entry, now: datetime) -> list[Occurrence]:
        key = f"{entry.host}/{entry.container}/{entry.container_id}"
        pending = self._pending.get(key) or Pending(entry.at, now, entry.host, entry.service)
        pending.read_at = now
        text = pending.partial + entry.message
        pending.partial = ""
        if entry.partial and len(text) < _CHARACTERS:
            pending.partial = _safe(text)
            self._pending.put(key, pending)
            return []
        text = text[:_CHARACTERS]
        if pending.lines and _goes_on(pending.lines, text):
            pending.lines.append(_safe(text))
            return []
        done = self._end(key)
        line = levels.read(text)
        tag = self._units.container(entry, entry.tag or line.tag).tag
        if line.is_error and line.whole:
            line = replace(line, message=_safe(line.message), stack=_safe(line.stack))
            return [*done, _occurrence(entry, tag, line, f"{line.message}\n{line.stack}".strip())]
        if line.is_error or (line.is_error is None and stack.begins(text)):
            self._pending.put(key, Pending(entry.at, now, entry.host, entry.service, tag, [_safe(text)]))
            if len(self._pending) > _WAITING:
                done += self._end(self._pending.items()[0][0])
        elif line.is_error is None and entry.priority <= 3 and text.strip() and entry.slot:
            self._units.words(entry)
        return done

    def _end(self, key: str) -> list[Occurrence]:
        pending = self._pending.pop(key)
        if pending is None:
            return []
        lines = pending.lines or [pending.partial]
        text = "\n".join(lines)
        first = levels.read(lines[0])
        if not first.is_error and not stack.parse(text):
            return []  # what looked like the beginning of a stack was none
        whole = Line(is_error=True, message=first.message, logger=first.logger, stack=text if len(lines) > 1 else "")
        return [_occurrence(pending, pending.tag, whole, text)]

    def dump(self) -> dict[str, Any]:
        """Return everything it remembers, for `loaded`."""
        return {"pending": self._pending.dump(), **self._units.dump()}

    @classmethod
    def loaded(cls, dumped: dict[str, Any]) -> Self:
        """Return an assembler that goes on where the one that was dumped had been."""
        self = cls()
        self._pending.load(dumped.get("pending", {}))
        self._units.load(dumped)
        return self


def _goes_on(lines: list[str], text: str) -> bool:
    if len(lines) >= _LINES or sum(map(len, lines)) + len(text) > _CHARACTERS:
        return False
    if any(stack.begins(line) for line in lines):
        return stack.continues(lines, text)
    # A line with a level, and below it the traceback: as Python's logging writes them.
    return stack.begins(text) and levels.read(text).is_error is None


def _safe(text: str) -> str:
    """Return `text` without secrets, and without what no database keeps: NUL, and halves of characters."""
    return scrub(text.encode(errors="replace").decode().replace("\0", "�"))


def _occurrence(where: Entry | Pending, tag: str, line: Line, sample: str) -> Occurrence:
    # Read from JSON, it may hold what the text of it did not.
    line = replace(line, message=_safe(line.message), logger=_safe(line.logger))
    culprit = line.logger
    if failures := stack.parse(line.stack or line.message):
        identity, title, culprit = by_stack(failures)
    else:
        facts = [(name, _safe(value)) for name, value in line.facts]
        identity, title = by_message(line.message, line.logger, facts)
    return Occurrence(where.at, where.host, where.service, identity, title, culprit, tag, sample)
