"""Visitors: a bounded, steady load of requests on loopback, that remembers every answer which was not 200."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from types import TracebackType
from urllib.parse import urlsplit


class Visitors:
    """Ask for a page again and again while a `with` block runs.

    Args:
        url: address of the page.
        visitors: connections at the same time, kept alive as browsers do.
        per_second: requests per second of all together.
        limit: requests after which they stop by themselves.
    """

    def __init__(self, url: str, visitors: int = 4, per_second: float = 60, limit: int = 20_000) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._path = parts.hostname or "", parts.port or 80, parts.path or "/"
        self._pause = visitors / per_second
        self._limit = limit // visitors
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._visit, daemon=True) for _ in range(visitors)]
        self.answers: Counter[str] = Counter()
        self.seconds: list[float] = []
        self.failed_at: list[float] = []  # on the clock of time.monotonic

    @property
    def failed(self) -> dict[str, int]:
        """What went wrong, and how often."""
        return {answer: count for answer, count in self.answers.items() if answer != "200"}

    def _visit(self) -> None:
        connection: http.client.HTTPConnection | None = None
        for _ in range(self._limit):
            if self._end.is_set():
                break
            begin = time.monotonic()
            try:
                connection = connection or http.client.HTTPConnection(self._host, self._port, timeout=30)
                connection.request("GET", self._path)
                answer = connection.getresponse()
                answer.read()
                said = str(answer.status)
                if answer.will_close:
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                said = type(error).__name__
                connection = None
            took = time.monotonic() - begin
            with self._lock:
                self.answers[said] += 1
                self.seconds.append(took)
                if said != "200":
                    self.failed_at.append(begin + took)
            self._end.wait(max(0.0, self._pause - took))

    def __enter__(self) -> Visitors:
        """Start."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, after the requests under way."""
        self._end.set()
        for thread in self._threads:
            thread.join(timeout=40)
