"""A DogStatsD agent that listens on UDP and keeps what it was sent."""

import socket
import time
from typing import Self


class FakeStatsd:
    """Use as a context: `with FakeStatsd() as agent: …; agent.lines(2)`."""

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.05)
        self.port: int = self._socket.getsockname()[1]
        self._lines: list[str] = []
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def lines(self, at_least: int, deadline_seconds: float = 2) -> list[str]:
        """Every line sent so far, waiting until there are `at_least` that many. Raises TimeoutError."""
        end = time.monotonic() + deadline_seconds
        while len(self._lines) < at_least:
            try:
                self._lines += self._socket.recv(65_536).decode().splitlines()
            except TimeoutError:
                if time.monotonic() > end:
                    raise TimeoutError(f"{len(self._lines)} of {at_least} lines came: {self._lines}") from None
        return list(self._lines)
