"""What the tests of all scenarios are given."""

from __future__ import annotations

import functools
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from scenario import Answer, Run, address_of, connect, start_program


@pytest.fixture(scope="session")
def hosts() -> Callable[[str], Any]:
    """A host of the scenario, by name."""
    return connect


@pytest.fixture(scope="session")
def address() -> Callable[[str], str]:
    """The address of a host, which the control node reaches over the fleet's bridge."""
    return address_of


@pytest.fixture(scope="session")
def program() -> Callable[[Any, int, str], None]:
    """Start an application on a host: see molecule/program.py. `systemctl stop program<port>` ends it."""
    return start_program


@pytest.fixture(scope="session")
def get() -> type[Answer]:
    """Ask a web server: get("http://…")."""
    return Answer


@pytest.fixture(scope="session")
def begin() -> Callable[[str], Any]:
    """Ask a web server, and go on with the head of the answer: with begin("http://…") as answer: answer.read()."""
    return functools.partial(urllib.request.urlopen, timeout=10)


@pytest.fixture(scope="session")
def play() -> type[Run]:
    """Run a playbook of the scenario again: play("create")."""
    return Run


@pytest.fixture(scope="session")
def converge() -> Callable[..., Run]:
    """Apply the role once more: converge("-e", "name=value")."""
    return functools.partial(Run, "converge")


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """Wait until something holds; fail when it does not within the seconds given."""

    def wait(holds: Callable[[], object], seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"not within {seconds} s"
            time.sleep(0.1)

    return wait
