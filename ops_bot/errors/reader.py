"""Journal files on disk, and journalctl to read them.

One file at a time, each with a cursor of its own. journalctl would merge files by the time of their entries, and an
entry that came late, from a host that was cut off, would lie before the cursor of the merged whole and never be seen.
"""

import re
import struct
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from ops_bot.errors.journal import FIELDS

# What is read of a journal file's header, as systemd documents its format: at 0 a signature, at 24 the file's id, at
# 152 how many entries it has, at 184 the times of the first and the last one.
_HEADER = struct.Struct("<8s16x16s112xQ24xQQ")
_SIGNATURE = b"LPKSHHRH"
_NAME = re.compile(r"^(?P<base>[^@]+)(?:@[^.]*)?\.journal~?$")
_LONGEST_LINE = 4 * 1024 * 1024


class JournalError(Exception):
    """Journals cannot be read. The message says why and what to do."""


class BrokenJournal(JournalError):
    """One file cannot be read."""


@dataclass(frozen=True)
class Journal:
    """One journal file. Its `file` id stays when it is archived under another name."""

    path: Path
    base: str  # what the names of the files of one series begin with
    file: str
    archived: bool
    entries: int
    first_at: datetime
    last_at: datetime


def journals(folder: Path) -> list[Journal]:
    """Return the journal files in `folder` in the order they are to be read: archived ones first, the oldest first.

    Raises JournalError when there are none, or they cannot be read.
    """
    try:
        found = [journal for path in folder.iterdir() if (journal := _look(path))]
    except OSError as error:
        raise JournalError(f"the journals in {folder} cannot be read: {error.strerror}") from error
    if not found:
        raise JournalError(f"there are no journals in {folder}: does any host send its own?")
    return sorted(found, key=lambda one: (not one.archived, one.first_at, one.path.name))


def _look(path: Path) -> Journal | None:
    name = _NAME.match(path.name)
    if not name:
        return None
    with suppress(FileNotFoundError), path.open("rb") as file:  # it may be removed this very moment
        header = file.read(_HEADER.size)
        if len(header) == _HEADER.size and header.startswith(_SIGNATURE):
            _, file_id, entries, first, last = _HEADER.unpack(header)
            return Journal(
                path=path,
                base=name["base"],
                file=file_id.hex(),
                archived="@" in path.name,
                entries=entries,
                first_at=_time(first),
                last_at=_time(last),
            )
    return None


def _time(microseconds: int) -> datetime:
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(microseconds / 1_000_000, UTC)
    return datetime.fromtimestamp(0, UTC)


def read(path: Path, after: str, at_once: int) -> Iterator[list[bytes]]:
    """Yield the lines of a file's entries after the cursor `after` (empty: all), `at_once` together.

    Raises BrokenJournal when journalctl cannot read it, JournalError when there is no journalctl.
    """
    command = ["journalctl", f"--file={path}", "--quiet", "--no-pager", "--all", "--output=json"]
    command += [f"--output-fields={','.join(FIELDS)}", *([f"--after-cursor={after}"] if after else [])]
    # What it complains of goes to a file: a pipe that nobody reads would stop it.
    with TemporaryFile() as complaints, _started(command, complaints) as process:
        try:
            lines: list[bytes] = []
            for line in _lines(process.stdout or BytesIO()):
                lines.append(line)
                if len(lines) >= at_once:
                    yield lines
                    lines = []
            if lines:
                yield lines
            if process.wait() and path.exists():  # else it was removed meanwhile, as old ones are
                complaints.seek(0)
                said = complaints.read(2_000).decode(errors="replace").strip()
                raise BrokenJournal(f"journalctl cannot read {path.name}: {said or process.returncode}")
        finally:
            process.kill()  # whoever reads may stop in the middle


def _started(command: list[str], complaints: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints)
    except FileNotFoundError:
        raise JournalError("there is no journalctl to read journals with: install systemd") from None


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield whole lines; of one that is longer than anything a service logs, nothing."""
    cut = False
    while line := stream.readline(_LONGEST_LINE):
        whole = line.endswith(b"\n")
        if whole and not cut:
            yield line
        cut = not whole
