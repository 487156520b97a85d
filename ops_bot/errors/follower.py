"""Follow the journals of all hosts: every line counts once, whatever is killed when.

Each batch of lines is one transaction: the cursor, what the assembler remembers, the groups, and the events. Killed
before it is committed, the same lines are read again; after it, the next ones. Lines that an uploader sends twice,
because it was killed before it knew that they had arrived, are recognised by their place in their host's own order.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event as Stop
from uuid import uuid4

from ops_bot.errors import store
from ops_bot.errors.assemble import Assembler
from ops_bot.errors.fingerprint import Occurrence
from ops_bot.errors.groups import Group
from ops_bot.errors.journal import Entry, parse
from ops_bot.errors.learn import Lesson
from ops_bot.errors.reader import BrokenJournal, Journal, JournalError, journals, read
from ops_bot.errors.replays import Replays
from ops_bot.errors.trouble import Trouble
from ops_bot.ledger import Ledger, LedgerError
from ops_bot.ledger.ledger import utc_now
from ops_bot.settings import Settings

LOOK_BACK = timedelta(hours=1)  # what happened before the bot began to follow, by more than this, is no news
AT_ONCE = 2_000  # lines in one transaction
_PAUSE_SECONDS = 1.0
_REST_EVERY = timedelta(seconds=60)
LEASE_SECONDS = 15.0  # after a crash, how long until the next process goes on
RETRY_SECONDS = 5.0
_MEMORY = "journals"

_log = logging.getLogger(__name__)


class Overtaken(Exception):
    """Another process has learnt from these journals meanwhile; nothing was counted."""


class Follower:
    """Follows the journals in a folder for one environment. One thread at a time."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        clock: Callable[[], datetime] = utc_now,
        count: Callable[[Group, int], None] = lambda *_: None,
    ) -> None:
        """`count` is told how often a group was seen, once that is on disk."""
        self._ledger = ledger
        self._count = count
        self._environment = settings.environment_name
        self._folder = Path(settings.journal_dir)
        self._kept_for = timedelta(days=settings.retention_days)
        self._clock = clock
        self._owner = f"errors-{uuid4().hex}"
        self._entries: dict[str, int] = {}  # how many a file had when all of it had been read
        self._rested_at: datetime | None = None
        self._stop: Stop | None = None
        self._trouble = Trouble(ledger, self._environment)
        with ledger.write() as connection:
            store.create(connection)
        self._load()

    def _load(self) -> None:
        """Remember what was committed last, and nothing after it."""
        with self._ledger.read() as connection:
            self._version, kept = store.recall(connection, _MEMORY)
            self._cursors = store.cursors(connection)
        self._since = datetime.fromisoformat(kept["since"]) if kept else self._clock()
        self._assembler = Assembler.loaded(kept.get("assembler", {}))
        self._replays = Replays()
        self._replays.load(kept.get("replays", {}))

    # One step at a time.

    def feed(self, file: str, lines: Iterable[bytes | str], series: str = "") -> int:
        """Learn from lines of the journal file with id `file`, in one transaction; returns how many errors there were.

        `series` names the series of files it is of. Raises LedgerError, Overtaken: then nothing was learnt, and the
        same lines may be fed again.
        """
        now = self._clock()
        occurrences: list[Occurrence] = []
        cursor = ""
        for line in lines:
            entry = parse(line)
            if entry is None:
                _log.warning("a line of journal %s cannot be read: %.200r", file, line)
                continue
            cursor = entry.cursor
            if self._counts(series or file, entry):
                occurrences += self._assembler.feed(entry, now)
        occurrences += self._assembler.settle(now)
        self._commit(occurrences, now, {file: cursor} if cursor else {})
        return len(occurrences)

    def _counts(self, series: str, entry: Entry) -> bool:
        return self._replays.is_new(series, entry) and entry.at >= self._since - LOOK_BACK

    def rest(self) -> None:
        """Learn from silence: what has ended, what is resolved. Raises LedgerError, Overtaken."""
        now = self._clock()
        self._rested_at = now
        self._commit(self._assembler.settle(now), now, {}, at_rest=True)

    def _commit(
        self,
        occurrences: list[Occurrence],
        now: datetime,
        read_to: dict[str, str],
        *,
        at_rest: bool = False,
    ) -> None:
        kept = {
            "since": self._since.isoformat(),
            "assembler": self._assembler.dump(),
            "replays": self._replays.dump(),
        }
        try:
            with self._ledger.recording() as (connection, record):
                if store.recall(connection, _MEMORY)[0] != self._version:
                    raise Overtaken
                lesson = Lesson(connection, self._environment, now)
                lesson.learn(occurrences)
                if at_rest:
                    lesson.rest()
                    store.forget(connection, self._environment, now - self._kept_for)
                record(lesson.events)
                for file, cursor in read_to.items():
                    store.keep_cursor(connection, file, cursor)
                store.remember(connection, _MEMORY, self._version + 1, kept)
        except BaseException:
            self._load()
            raise
        self._version += 1
        self._cursors |= read_to
        for group, seen in lesson.counted:
            self._count(group, seen)

    def poll(self) -> int:
        """Read what is new in all files; returns how many lines. Raises JournalError, LedgerError, Overtaken."""
        found = journals(self._folder)
        lines = sum(self._read(journal) for journal in found if journal.entries)
        if gone := set(self._cursors) - {journal.file for journal in found}:
            with self._ledger.write() as connection:
                store.forget_cursors(connection, gone)
            for file in gone:
                self._cursors.pop(file)
                self._entries.pop(file, None)
        if ended := self._assembler.settle(now := self._clock()):
            self._commit(ended, now, {})
        return lines

    def _read(self, journal: Journal) -> int:
        # How many entries there are was asked before they are read: what comes meanwhile is for the next time.
        if self._entries.get(journal.file) == journal.entries:
            return 0
        cursor = self._cursors.get(journal.file, "")
        count = 0
        if cursor or journal.last_at >= self._since - LOOK_BACK or not journal.archived:
            try:
                for lines in read(journal.path, cursor, AT_ONCE):
                    self.feed(journal.file, lines, journal.base)
                    count += len(lines)
                    if not self._may_go_on():
                        return count
            except BrokenJournal as error:
                if not journal.archived:
                    raise
                # It will not mend, and must not stand in the way of the others.
                _log.error("%s", error)
        self._entries[journal.file] = journal.entries
        return count

    def _may_go_on(self) -> bool:
        """After a long absence there is much to read: end when told to, and leave it to nobody else meanwhile."""
        stop = self._stop
        return stop is None or (not stop.is_set() and self._leads())

    def _leads(self) -> bool:
        return self._ledger.lead("errors", self._owner, self._clock(), LEASE_SECONDS)

    def run(self, stop: Stop) -> None:
        """Follow until `stop` is set. Of several processes on one ledger, one does."""
        self._stop = stop
        while not stop.is_set():
            stop.wait(self._step())
        self._ledger.release(self._owner)

    def _step(self) -> float:
        """Read once; returns the seconds until it is worth doing again."""
        now = self._clock()
        try:
            if not self._leads():
                return RETRY_SECONDS
            read_lines = self.poll()
            if self._rested_at is None or now - self._rested_at >= _REST_EVERY:
                self.rest()
            self._trouble.over(now)
        except JournalError as error:
            self._trouble.met(str(error), now)
            return RETRY_SECONDS
        except LedgerError as error:
            _log.error("errors are not followed: %s", error)
            return RETRY_SECONDS
        except Overtaken:
            return RETRY_SECONDS
        return 0.0 if read_lines >= AT_ONCE else _PAUSE_SECONDS
