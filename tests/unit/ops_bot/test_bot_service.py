"""The parts of the running bot that can be seen without running it; tests/ops_bot runs it."""

from __future__ import annotations

import socket
import threading

import pytest
from pydantic import SecretStr

from ops_bot.service import Workers, listen, sinks
from ops_bot.settings import Settings


def test_answers_are_not_held_back() -> None:
    """Head and body leave in two writes: with Nagle's algorithm the second waits 40 ms for the first one's receipt."""
    with listen(Settings(port=0)) as listener, socket.create_connection(listener.getsockname()):
        taken, _ = listener.accept()
        with taken:
            assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_address_that_is_taken_is_named() -> None:
    with listen(Settings(port=0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(OSError, match=f"Address already in use: '127.0.0.1:{port}'"):
            listen(Settings(port=port))


def test_sinks_are_those_that_are_set_up() -> None:
    assert sinks(Settings()) == []
    everything = Settings(slack_token=SecretStr("a"), datadog_api_key=SecretStr("b"), statsd_host="127.0.0.1")
    assert [sink.name for sink in sinks(everything)] == ["slack", "datadog", "metrics"]


def test_a_worker_that_breaks_begins_again_and_is_told_of() -> None:
    begun = threading.Semaphore(0)
    runs = 0

    def breaks_once(stop: threading.Event) -> None:
        nonlocal runs
        runs += 1
        begun.release()
        if runs == 1:
            raise ZeroDivisionError("a bug of ours")
        stop.wait()

    workers = Workers({"sender": breaks_once})
    workers.RESTART_SECONDS = 0.0
    workers.start()
    assert begun.acquire(timeout=10)
    assert begun.acquire(timeout=10)
    workers.stop(10)
    assert workers.broken == {"sender": "ZeroDivisionError: a bug of ours"}
