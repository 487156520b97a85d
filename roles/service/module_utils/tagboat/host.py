"""Every effect a rollout has on a host, in one class, so that tests can put another in its place."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import select
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from http import HTTPStatus
from typing import Any

ENGINE_SOCKET = "/run/docker.sock"
ENGINE_SECONDS = 120  # an engine that starts many containers at once takes its time
HAPROXY_SOCKET = "/run/haproxy/admin.sock"


class CommandError(Exception):
    """A command on the host failed. The message holds its last lines, never its environment."""


class CommandTimeoutError(CommandError):
    """A command on the host took too long: the host is at fault, not what the command was to do."""


class Host:
    """The host this process runs on."""

    def run(self, argv: list[str], timeout_seconds: float = 120, check: bool = True) -> str:
        """Run a command and return what it printed (stdout, then stderr).

        Raises:
            CommandError: it failed (unless `check` is false).
            CommandTimeoutError: it took longer than `timeout_seconds`.
        """
        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CommandTimeoutError(f"{' '.join(argv[:3])} took longer than {timeout_seconds:.0f} s") from None
        except FileNotFoundError:
            raise CommandError(f"{argv[0]} is not installed") from None
        output = (done.stdout + done.stderr).decode(errors="replace").strip()
        if check and done.returncode != 0:
            raise CommandError(f"{' '.join(argv[:3])} failed with {done.returncode}: {output[-2000:]}")
        return output

    def read(self, path: str) -> str | None:
        """Return a file's text, or None when there is no such file."""
        try:
            with open(path, encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def write(self, path: str, text: str, mode: int = 0o644) -> bool:
        """Replace a file's text atomically and durably; return whether it changed."""
        if self.read(path) == text and (os.stat(path).st_mode & 0o777) == mode:
            return False
        folder = os.path.dirname(path)
        os.makedirs(folder, mode=0o755, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".tagboat-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException as error:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            if isinstance(error, OSError):
                error.filename = path  # a disk that is full does not say for what
            raise
        return True

    def link(self, path: str, target: str) -> None:
        """Make `path` a symbolic link to `target`, replacing what was there at once."""
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temporary = f"{path}.tagboat-new"
        self.remove(temporary)
        os.symlink(target, temporary)
        os.replace(temporary, path)

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def exists(self, path: str) -> bool:
        """Tell whether there is something at this path."""
        return os.path.lexists(path)

    def folders(self, path: str) -> list[str]:
        """Name the folders in a folder; none when it is not there."""
        try:
            with os.scandir(path) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except FileNotFoundError:
            return []

    def remove_folder(self, path: str) -> None:
        """Remove a folder and what is in it, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path)

    def get(self, port: int, path: str, timeout_seconds: float) -> tuple[int, str]:
        """Ask 127.0.0.1:`port` for `path`; return status and the beginning of the body.

        Raises:
            OSError: nobody answered in time.
        """
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)
        try:
            connection.request("GET", path, headers={"User-Agent": "tagboat", "Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read(500).decode(errors="replace").strip()
        except http.client.HTTPException as error:
            raise OSError(f"not HTTP: {type(error).__name__}") from None
        finally:
            connection.close()

    def engine(self, method: str, path: str, timeout_seconds: float = ENGINE_SECONDS) -> dict[str, Any] | None:
        """Ask the Docker engine's API for a JSON object; return None when it knows no such thing.

        A rollout asks often, and the command line takes some 50 ms of a core each time it starts.
        Contract: https://docs.docker.com/reference/api/engine/

        Raises:
            OSError: it does not answer in time.
            CommandError: it refuses.
        """
        connection = _Engine("localhost", timeout=timeout_seconds)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise OSError(f"no Docker engine answers ({error})") from None
        finally:
            connection.close()
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        found: dict[str, Any] = json.loads(text) if text.startswith("{") else {}
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise CommandError(f"the Docker engine refused {method} {path}: {found.get('message', answer.status)}")
        return found

    def haproxy(self, command: str) -> str:
        """Send one command to the edge's admin socket and return its answer.

        Raises:
            OSError: the edge does not run.
        """
        answer = b""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(5)
                connection.connect(HAPROXY_SOCKET)
                connection.sendall(command.encode() + b"\n")
                while chunk := connection.recv(65536):
                    answer += chunk
        except OSError as error:
            raise OSError(f"the edge (haproxy) does not answer: {error}") from None
        return answer.decode().strip()

    def free_bytes(self, path: str) -> int:
        """Return the bytes free on the file system that holds `path`."""
        return shutil.disk_usage(path).free

    def lock(self, path: str) -> contextlib.AbstractContextManager[None]:
        """Hold an exclusive lock, waiting for it; the kernel drops it when this process ends, however it ends."""
        return _flock(path)

    @contextlib.contextmanager
    def meanwhile(self, action: Callable[[], bool], every_seconds: float) -> Iterator[None]:
        """Repeat an action in the background until it returns False, or until the work under this ends."""
        stop = threading.Event()

        def repeat() -> None:
            while not stop.wait(every_seconds) and action():
                pass

        thread = threading.Thread(target=repeat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def is_waited_for(self) -> bool:
        """Tell whether somebody still waits for what this process prints; when its connection ends, nobody does."""
        poll = select.poll()
        poll.register(1, 0)  # no event is asked for: that the reader is gone is told all the same
        return not any(event & select.POLLERR for _, event in poll.poll(0))

    def clock(self) -> float:
        """Seconds since this host booted: unlike the time of day, nobody sets it."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def now(self) -> str:
        """The time of day as UTC, in ISO 8601, to the second."""
        return datetime.now(tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    def sleep(self, seconds: float) -> None:
        """Wait between two looks at a condition."""
        time.sleep(seconds)


class _Engine(http.client.HTTPConnection):
    """HTTP over the engine's socket."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(ENGINE_SOCKET)


@contextlib.contextmanager
def _flock(path: str) -> Iterator[None]:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
