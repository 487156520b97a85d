"""What every build needs on the build server: a log people can follow, programs run into it, one lock an image."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from ansible.module_utils.image_commands import TAIL_LINES, clean

_SAY_AGAIN_SECONDS = 15


class BuildError(Exception):
    """A build stopped; `step` and `tail` are what a person needs to see."""

    def __init__(self, step: str, message: str, tail: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.step, self.message, self.tail = step, message, list(tail)


class RunLog:
    """One file a run, written by several builds at once. Step lines and output lines differ by a `| `."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def step(self, image: str, text: str) -> None:
        self._write(f"{image}: {text}")

    def output(self, image: str, text: str) -> None:
        self._write(f"{image}:   | {text}")

    def _write(self, text: str) -> None:
        # A disk that is full ends a build where it cannot do its work, not where it cannot tell of it.
        with self._lock, contextlib.suppress(OSError):
            self._file.write(f"[{time.monotonic() - self._started:6.1f}s] {text}\n")


def stream(
    command: Sequence[str],
    on_line: Callable[[str], object],
    *,
    deadline_seconds: float,
    environ: dict[str, str],
    stdin: str = "",
    keep_open: Sequence[int] = (),
) -> int | None:
    """Run a program and hand on each line as it comes. Its exit code; None when the deadline ended it."""
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environ,
        start_new_session=True,
        pass_fds=tuple(keep_open),
    )
    too_late = threading.Event()

    def stop() -> None:
        too_late.set()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(deadline_seconds, stop)
    timer.start()
    try:
        assert process.stdin is not None  # noqa: S101 - for the type checker: it was asked for above
        assert process.stdout is not None  # noqa: S101
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(stdin)
            process.stdin.close()
        for line in process.stdout:
            on_line(line)
        code = process.wait()
    finally:
        timer.cancel()
        if process.poll() is None:  # something went wrong here: nothing may go on unseen
            stop()
            process.wait()
    return None if too_late.is_set() else code


class Programs:
    """Runs docker and git for one image, with their output in the log."""

    def __init__(self, image: str, log: RunLog, environ: dict[str, str]) -> None:
        self.image, self.log, self.environ = image, log, environ

    def run(
        self, step: str, command: Sequence[str], *, seconds: float = 60, stdin: str = "", keep_open: Sequence[int] = ()
    ) -> None:
        """Must succeed; every line of output is logged."""
        tail: deque[str] = deque(maxlen=TAIL_LINES)

        def keep(line: str) -> None:
            text = clean(line)
            if text:
                tail.append(text)
                self.log.output(self.image, text)

        code = stream(command, keep, deadline_seconds=seconds, environ=self.environ, stdin=stdin, keep_open=keep_open)
        if code != 0:
            raise BuildError(step, ended(code, seconds), list(tail))

    def ask(self, command: Sequence[str], *, seconds: float = 60) -> tuple[int, str]:
        """Exit code and output of a short command, not logged."""
        try:
            done = subprocess.run(
                list(command),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                errors="replace",
                env=self.environ,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return 124, ""
        except OSError as error:
            return 127, f"{command[0]}: {error.strerror}"
        return done.returncode, done.stdout


def ended(code: int | None, seconds: float) -> str:
    return f"not done within {seconds:g} s" if code is None else f"exit code {code}"


@contextlib.contextmanager
def image_lock(path: Path, who: str, run: str, say: Callable[[str], None]) -> Iterator[int]:
    """Wait until no other build of this image runs here; yields the descriptor that holds the lock.

    The kernel gives the lock back when the process ends in whatever way, so there is nothing to unlock by hand.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        said = 0.0
        while not _try_lock(file):
            if time.monotonic() - said > _SAY_AGAIN_SECONDS:
                say(f"waits: {_holder(path)}")
                said = time.monotonic()
            time.sleep(0.25)
        file.seek(0)
        file.truncate()
        json.dump({"who": who, "run": run, "since": time.strftime("%H:%M:%S")}, file)
        file.flush()
        yield file.fileno()


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"{holder['who']} is building it since {holder['since']} (run {holder['run']})"
    except (OSError, ValueError, LookupError, TypeError):
        return "another build of it is just starting"
