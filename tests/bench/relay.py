"""A TCP relay on loopback that delays what passes, for a control node that is far from its hosts."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import TracebackType


class Relay:
    """Forward ports of 127.0.0.1, adding half of a round-trip time in each direction, while a `with` block runs.

    Args:
        ports: ports to forward to.
        round_trip_seconds: what a round trip takes longer.
    """

    def __init__(self, ports: list[int], round_trip_seconds: float) -> None:
        self._targets = ports
        self._delay = round_trip_seconds / 2
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.ports: dict[int, int] = {}
        """Forwarded port -> port of the relay."""

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Copy one direction; every piece arrives `delay` after it came, and none waits for the one before."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def send() -> None:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                if not data:
                    writer.close()
                    return
                writer.write(data)

        sender = asyncio.ensure_future(send())
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                queue.put_nowait((self._loop.time() + self._delay, data))
        queue.put_nowait((self._loop.time() + self._delay, b""))
        with contextlib.suppress(OSError):
            await sender

    async def _listen(self, target: int) -> None:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.CancelledError):  # what `cut` does; asyncio would print it as a fault
                await asyncio.sleep(self._delay * 2)  # the handshake is a round trip too
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
                await asyncio.gather(self._forward(reader, far_writer), self._forward(far_reader, writer))

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self.ports[target] = server.sockets[0].getsockname()[1]

    def __enter__(self) -> Relay:
        """Listen."""
        self._thread.start()
        for target in self._targets:
            asyncio.run_coroutine_threadsafe(self._listen(target), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, cutting what is open."""

        async def cut() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(cut(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
