"""A constant load of requests on a page, as a process of its own: `python visitors.py <url> <per second>`.

Stops at SIGTERM, or by itself after two minutes, and prints what came of it as JSON: how many requests, the answers
that were not 200 and how often, and the milliseconds that every request took, from the moment it was due.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter
from urllib.parse import urlsplit

CONNECTIONS = 8  # kept alive, as browsers do; requests take turns on them
LIMIT_SECONDS = 120


class Load:
    """Counts the answers of a page that is asked for at a constant rate, whether answers come or not."""

    def __init__(self, url: str, per_second: float) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 80)
        self._request = f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
        self._pause = CONNECTIONS / per_second
        self.answers: Counter[str] = Counter()
        self.seconds: list[float] = []

    async def run(self, end: asyncio.Event) -> None:
        """Visit until `end` is set."""
        await asyncio.gather(*(self._visit(end, number) for number in range(CONNECTIONS)))

    async def _visit(self, end: asyncio.Event, number: int) -> None:
        loop = asyncio.get_running_loop()
        stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        due = loop.time() + self._pause * number / CONNECTIONS
        limit = loop.time() + LIMIT_SECONDS
        while not end.is_set() and due < limit:
            await asyncio.sleep(max(0.0, due - loop.time()))
            # From when it was due, not from when there was time for it: a stall must show in all requests it delays.
            begin, due = due, due + self._pause
            try:
                stream = stream or await asyncio.open_connection(*self._address)
                status, keep = await asyncio.wait_for(self._ask(*stream), 10)
            except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
                status, keep = type(error).__name__, False
            self.answers[status] += 1
            self.seconds.append(loop.time() - begin)
            if not keep and stream:
                stream[1].close()
                stream = None

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, bool]:
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = next(int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:"))
        await reader.readexactly(length)
        return head.split(" ", 2)[1], "connection: close" not in head


async def main() -> None:
    """Visit until told to stop, and tell what came of it."""
    load = Load(sys.argv[1], float(sys.argv[2]))
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    print("begun", flush=True)
    await load.run(end)
    took = sorted(load.seconds)
    print(
        json.dumps(
            {
                "requests": len(took),
                "failed": {answer: count for answer, count in load.answers.items() if answer != "200"},
                "milliseconds": [round(second * 1000, 2) for second in took],
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main())
