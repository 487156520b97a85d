"""Tests of rollouts run in no time: the clock is the fake host's, and nothing renews a lease behind their back."""

import pytest
from ansible.module_utils.tagboat import lease


class NoThread:
    """In the place of the thread that renews a lease every 20 seconds. Thousands of starts would take seconds."""

    def __init__(self, **_: object) -> None: ...

    def start(self) -> None: ...

    def join(self) -> None: ...


@pytest.fixture(autouse=True)
def no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease.threading, "Thread", NoThread)
