"""Journal entries as journalctl prints them, for tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
CONTAINER = "38c31cd92d7d"
TRACEBACK = """\
Traceback (most recent call last):
  File "/srv/app/pages.py", line {line}, in lesson
    return render(lesson)
           ^^^^^^^^^^^^^^
  File "/usr/local/lib/python3.12/site-packages/jinja2/environment.py", line {library}, in render
    self.environment.handle_exception()
  File "/srv/app/pages.py", line {line}, in render
    raise ValueError(word)
ValueError: no such lesson: {word}"""


def traceback(line: int = 41, library: int = 1304, word: str = "tides") -> str:
    return TRACEBACK.format(line=line, library=library, word=word)


@dataclass
class Journal:
    """Makes the entries of a fleet's journal, one after the other."""

    seconds: float = 0.0  # since noon

    def __post_init__(self) -> None:
        self._numbers = count(1)

    @property
    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)

    def entry(self, message: Any, *, host: str = "web1", **fields: Any) -> str:
        number = next(self._numbers)
        realtime = int(self.now.timestamp() * 1_000_000)
        monotonic = 10**13 + int(self.seconds * 1_000_000) + number
        all_fields = {
            "__CURSOR": f"s=1;i={number:x};b=2;m={monotonic:x};t={realtime:x};x={number:x}",
            "__REALTIME_TIMESTAMP": str(realtime),
            "__MONOTONIC_TIMESTAMP": str(monotonic),
            "_BOOT_ID": "2",
            "_MACHINE_ID": f"machine-of-{host}",
            "_HOSTNAME": host,
            "PRIORITY": "6",
            "MESSAGE": message,
            **fields,
        }
        return json.dumps({name: value for name, value in all_fields.items() if value is not None})

    def log(self, message: Any, *, container: str = "web-a", stderr: bool = False, **fields: Any) -> str:
        """A line that a container wrote."""
        own = {
            "CONTAINER_NAME": container,
            "CONTAINER_ID": CONTAINER,
            "PRIORITY": "3" if stderr else "6",
            "_SYSTEMD_UNIT": "docker.service",
            "_COMM": "dockerd",
        }
        return self.entry(message, **{**own, **fields})

    def structured(self, level: str, message: str, tag: str = "v65", **fields: Any) -> str:
        """A line of the web application."""
        host, container = fields.pop("host", "web1"), fields.pop("container", "web-a")
        line = {"level": level, "logger": "app", "message": message, "service": "web", "tag": tag, **fields}
        return self.log(json.dumps(line), host=host, container=container)

    def systemd(self, unit: str, message_id: str, message: str = "", **fields: Any) -> str:
        return self.entry(message, **{"_PID": "1", "UNIT": unit, "MESSAGE_ID": message_id, **fields})

    def exited(self, code: int, unit: str = "web@a.service") -> str:
        """What `docker wait` prints when the container of a slot ended."""
        return self.entry(str(code), _SYSTEMD_UNIT=unit, SYSLOG_IDENTIFIER="docker", _COMM="docker")
