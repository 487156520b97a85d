"""One thread that records what many requests bring: requests that wait together share one transaction, one fsync."""

import logging
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future

from ops_bot.events import Event
from ops_bot.ledger import Ledger, LedgerError, Recorded

log = logging.getLogger(__name__)

# Events of one transaction: enough to make the fsync cheap, few enough that the first does not wait long.
BATCH = 500
# Events that may wait. Their senders wait with them, so more would only be answered later.
CAPACITY = 20_000

_Job = tuple[Sequence[Event], Future[list[Recorded]]]


class Overloaded(Exception):
    """More events wait already than are worth waiting for."""


class Writer:
    """Records events for many callers. `start` it; `stop` records what was accepted, then ends."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiting = 0
        self._lock = threading.Lock()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self.trouble = ""  # why the last transaction failed; empty when it did not

    def start(self) -> None:
        """Begin to record."""
        self._thread.start()

    def stop(self) -> None:
        """Record what was accepted, accept no more, and end."""
        with self._lock:
            stopped, self._stopped = self._stopped, True
        if not stopped:
            self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether it records."""
        return self._thread.is_alive()

    def submit(self, events: Sequence[Event]) -> Future[list[Recorded]]:
        """Have `events` recorded. The future ends when they are on disk, or with the LedgerError why not.

        Raises Overloaded.
        """
        with self._lock:
            if self._stopped or self._waiting + len(events) > CAPACITY:
                raise Overloaded("stopping" if self._stopped else f"{self._waiting} events wait to be recorded")
            self._waiting += len(events)
        future: Future[list[Recorded]] = Future()
        self._jobs.put((events, future))
        return future

    def _run(self) -> None:
        while job := self._jobs.get():
            batch = [job]
            size = len(job[0])
            last = False
            while size < BATCH and not last:
                try:
                    more = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    last = True
                else:
                    batch.append(more)
                    size += len(more[0])
            self._record(batch)
            with self._lock:
                self._waiting -= size
            if last:
                return

    def _record(self, batch: Sequence[_Job]) -> None:
        try:
            recorded = self._ledger.record([event for events, _ in batch for event in events])
        except LedgerError as error:
            if self.trouble != str(error):
                log.error("cannot record: %s", error)
            self.trouble = str(error)
            for _, future in batch:
                future.set_exception(error)
        except Exception as error:
            # One request that nobody can record must not take those with it that happened to come along.
            if len(batch) > 1:
                for job in batch:
                    self._record([job])
                return
            log.exception("cannot record")
            batch[0][1].set_exception(error)
        else:
            self.trouble = ""
            for events, future in batch:
                future.set_result(recorded[: len(events)])
                recorded = recorded[len(events) :]
