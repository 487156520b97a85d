"""A bound on how long one attempt may take, all its requests together, whatever the other side does.

Socket timeouts bound each read, not all of them: a server that sends one byte every few seconds holds a client for as
long as it likes. A thread cannot be stopped; it is left behind, and must not begin another request: `still_wanted`.
"""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class DeadlineExceeded(Exception):
    """The call has not come back in time. It may still, and then nobody listens."""


class _Call(threading.Thread, Generic[Answer]):
    def __init__(self, call: Callable[[], Answer], ends: float) -> None:
        super().__init__(daemon=True, name="attempt")
        self.ends = ends
        self.answer: list[Answer] = []
        self.error: Exception | None = None
        self._call = call

    def run(self) -> None:
        try:
            self.answer.append(self._call())
        except Exception as error:  # handed to whoever waits
            self.error = error


def within(seconds: float, call: Callable[[], Answer]) -> Answer:
    """What `call` returns or raises. Raises DeadlineExceeded when it takes longer than `seconds`."""
    thread = _Call(call, time.monotonic() + seconds)
    thread.start()
    thread.join(seconds)
    if thread.error is not None:
        raise thread.error
    if not thread.answer:
        raise DeadlineExceeded(f"no end after {seconds:g} s")
    return thread.answer[0]


def still_wanted() -> bool:
    """Whether anybody waits for what this thread does. To be asked before each request: False says, let it be."""
    thread = threading.current_thread()
    return not isinstance(thread, _Call) or time.monotonic() < thread.ends
