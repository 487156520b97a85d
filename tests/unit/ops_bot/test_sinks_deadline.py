"""The bound on an attempt: it comes back in time, and what is left behind begins nothing new."""

import threading

import pytest

from ops_bot.sinks.deadline import DeadlineExceeded, still_wanted, within


def test_what_is_quick_answers() -> None:
    assert within(5, lambda: 42) == 42


def test_what_raises_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0)


def test_what_is_slow_is_left_behind_and_knows_it() -> None:
    release, wanted = threading.Event(), list[bool]()
    done = threading.Event()

    def slow() -> None:
        wanted.append(still_wanted())
        release.wait(5)
        wanted.append(still_wanted())
        done.set()

    with pytest.raises(DeadlineExceeded, match=r"0\.3 s"):
        within(0.3, slow)
    release.set()
    assert done.wait(5)
    assert wanted == [True, False]


def test_outside_of_an_attempt_there_is_no_deadline() -> None:
    assert still_wanted()
