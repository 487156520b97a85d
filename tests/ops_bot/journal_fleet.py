"""Hosts that log, and systemd's own collector that writes down what they send: real journals for tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

COLLECTOR = Path("/lib/systemd/systemd-journal-remote")

needs_collector = pytest.mark.skipif(
    not (COLLECTOR.exists() and shutil.which("journalctl")) and "TAGBOAT_ALL_TESTS" not in os.environ,
    reason="needs systemd-journal-remote: apt-get install systemd-journal-remote",
)


class Fleet:
    """Hosts that log, and the collector that writes down what they send."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._numbers = count(1)
        self._sent: list[bytes] = []
        self.began = datetime.now(UTC)

    def entry(self, message: str, host: str = "web1", late_seconds: float = 0, **fields: str) -> bytes:
        """One entry in the export format of journals."""
        number = next(self._numbers)
        at = self.began + timedelta(microseconds=number) - timedelta(seconds=late_seconds)
        machine = f"{sum(host.encode()):032x}"
        all_fields = {
            "__REALTIME_TIMESTAMP": str(int(at.timestamp() * 1_000_000)),
            "__MONOTONIC_TIMESTAMP": str(10**9 + number),
            "_BOOT_ID": "b" * 32,
            "_MACHINE_ID": machine,
            "_HOSTNAME": host,
            "CONTAINER_NAME": "web-a",
            "CONTAINER_ID": machine[-12:],
            "PRIORITY": "3",
            "MESSAGE": message,
            **fields,
        }
        return "".join(f"{name}={value}\n" for name, value in all_fields.items()).encode() + b"\n"

    def send(self, *entries: bytes) -> None:
        """Let the collector write these entries."""
        command = [str(COLLECTOR), "--split-mode=none", f"--output={self.folder}/remote.journal", "-"]
        subprocess.run(command, input=b"".join(entries), check=True, capture_output=True, timeout=60)

    def rotate(self) -> None:
        """Archive the file, as the collector does when it is full: renamed, and another one begun."""
        (self.folder / "remote.journal").rename(self.folder / f"remote@{next(self._numbers):016x}.journal")


def eventually(holds: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)
