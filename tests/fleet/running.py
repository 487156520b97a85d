"""One run of a playbook, under way and done: what it says, how to interrupt it, how it ended."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
Printer = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """A finished playbook run: its exit code, everything it printed, and how long it took in seconds."""

    command: str
    code: int
    output: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether it ended with exit code 0."""
        return self.code == 0

    @property
    def tail(self) -> str:
        """The end of what it printed, for a failing assertion; the report has it all."""
        return "\n".join(["", self.command, *self.output.splitlines()[-60:]])

    @property
    def changed(self) -> dict[str, int]:
        """Host -> number of changed tasks, from the recap."""
        recap = self.output.rpartition("PLAY RECAP")[2]
        return {host: int(count) for host, count in re.findall(r"^(\S+)\s*:.*?changed=(\d+)", recap, re.MULTILINE)}


class Digest:
    """Picks the lines of a playbook's output that tell a person how it goes."""

    def __init__(self, show: Printer, begin: float) -> None:
        self._show = show
        self._begin = begin
        self._error = False

    def line(self, line: str) -> None:
        """Look at one line of output."""
        if play := re.match(r"PLAY \[(.*)\] \*", line):
            self._show(f"{time.monotonic() - self._begin:6.1f} s  {play[1]}")
        elif line.startswith("[ERROR]: "):
            self._error = True
            self._show(line.removeprefix("[ERROR]: Task failed: ").removeprefix("Action failed: "))
        elif self._error and (line.startswith("Origin:") or not line):
            self._error = False
        elif self._error or (line and not NOISE.match(line)):
            self._show(line)


# What Ansible prints about each host and task: the log has it, the digest leaves it out.
NOISE = re.compile(
    r"TASK|RUNNING HANDLER|PLAY RECAP|ok:|changed:|skipping:|included:|fatal:|failed:|Task failed|Origin:"
    r"|\.\.\.|<<<|\s|\d+ |[\w.-]+\s+: ok="
)


class Going:
    """A playbook run under way, in a process group of its own, as a terminal starts it.

    Args:
        command: what runs.
        environment: its environment.
        log: file for everything it prints.
        watcher: told every line.
    """

    def __init__(self, command: list[str], environment: dict[str, str], log: Path, watcher: Digest) -> None:
        self._command = command
        self._watcher = watcher
        self._lines: list[str] = []
        self._said = threading.Condition()
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=[log], daemon=True)
        self._reader.start()

    def _read(self, path: Path) -> None:
        assert self.process.stdout is not None
        with path.open("w") as log:
            log.write(f"$ {' '.join(self._command)}\n")
            for line in self.process.stdout:
                log.write(line)
                log.flush()
                self._watcher.line(line.rstrip("\n"))
                with self._said:
                    self._lines.append(line)
                    self._said.notify_all()

    def until_it_says(self, words: str, seconds: float = 60) -> None:
        """Wait until it has printed these words.

        Raises:
            AssertionError: it did not, in time.
        """
        with self._said:
            found = self._said.wait_for(lambda: any(words in line for line in self._lines), seconds)
            assert found, f"it did not say {words!r} in time:\n{''.join(self._lines)}"

    def interrupt(self, number: signal.Signals) -> None:
        """Send a signal: SIGINT to the whole group, as Ctrl-C does, others to the playbook's own process."""
        with contextlib.suppress(ProcessLookupError):  # it was quicker
            if number == signal.SIGINT:
                os.killpg(self.process.pid, number)
            else:
                os.kill(self.process.pid, number)

    def crash(self) -> None:
        """End it and everything it has started at once, as when the control node loses its power."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGSTOP)  # so that it starts nothing meanwhile
        listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
        parents = {int(pid): int(parent) for pid, parent in (line.split() for line in listed.splitlines())}
        doomed = [self.process.pid]
        for one in doomed:
            doomed += [pid for pid, parent in parents.items() if parent == one]
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def wait(self, seconds: float = 900) -> Run:
        """Wait for its end; what it started and left behind does not count. Whoever ends the waiting ends the run."""
        try:
            code = self.process.wait(seconds)
        except BaseException:
            os.killpg(self.process.pid, signal.SIGTERM)
            raise
        took = time.monotonic() - self.began
        self._reader.join(timeout=10)  # orphans may hold on to its output
        command = " ".join(["ansible-playbook", *self._command[3:]])
        with self._said:
            return Run(command, code, "".join(self._lines), took)
