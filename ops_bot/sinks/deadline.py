"""A bound on how long one call may take, whatever the other side does.

Socket timeouts bound each read, not all of them: a server that sends one byte every nine seconds holds a client for as
long as it likes.
"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class DeadlineExceeded(Exception):
    """The call has not come back in time. It may still, and then nobody listens."""


class _Call(threading.Thread, Generic[Answer]):
    def __init__(self, call: Callable[[], Answer]) -> None:
        super().__init__(daemon=True, name="call")
        self._call = call
        self.answer: list[Answer] = []
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.answer.append(self._call())
        except Exception as error:  # handed to whoever waits
            self.error = error


def within(seconds: float, call: Callable[[], Answer]) -> Answer:
    """What `call` returns or raises. Raises DeadlineExceeded when it takes longer than `seconds`."""
    thread = _Call(call)
    thread.start()
    thread.join(seconds)
    if thread.error is not None:
        raise thread.error
    if not thread.answer:
        raise DeadlineExceeded(f"no end after {seconds:g} s")
    return thread.answer[0]
