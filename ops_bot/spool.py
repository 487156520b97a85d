"""Events on their way to the bot, kept on disk while it cannot be reached: one file an event, written atomically.

Used where events are made (the Ansible callback) and by `ops-bot flush`. Nothing here but the standard library and
pydantic: it runs on the control node.
"""

import contextlib
import functools
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path

from ops_bot.events import Event

# Events sent in one request: the bot's disk is asked to be sure once for all of them.
_AT_ONCE = 100


class NotSent(Exception):
    """The bot did not take it. Kept on disk, it may be sent later. The message says why, without the token."""

    def __init__(self, why: str, status: int = 0) -> None:
        super().__init__(why)
        self.status = status  # of HTTP; 0 when there was no answer


@dataclass(frozen=True)
class Answer:
    """What the bot said. Everything is on its disk: what it could not read, in its quarantine, with a reason."""

    recorded: int
    duplicates: int
    refused: list[str] = field(default_factory=list)


@dataclass
class Flushed:
    """What became of the files of a spool."""

    sent: int = 0
    refused: list[str] = field(default_factory=list)
    left: int = 0
    why_left: str = ""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token to another host."""

    def redirect_request(self, *_args: object, **_kwargs: object) -> None:
        return None


@functools.cache
def _opener(ca_file: str) -> urllib.request.OpenerDirector:
    trusted = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file or None))
    # The bot is on our own network: a proxy on the way out to the internet must not see its token.
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect, trusted)


def send(url: str, token: str, bodies: Sequence[str], timeout_seconds: float, *, ca_file: str = "") -> Answer:
    """Post events (each JSON) to the bot at `url`. Raises NotSent.

    `timeout_seconds` bounds each wait on the network, not their sum. `ca_file` holds who signed the bot's certificate;
    without it, that is an authority which this machine trusts anyway.
    """
    try:
        request = urllib.request.Request(  # noqa: S310 (settings, not visitors, say what it is)
            url.rstrip("/") + "/events",
            data=("[" + ",".join(bodies) + "]").encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        with _opener(ca_file).open(request, timeout=timeout_seconds) as response:
            said = response.read(1 << 20)
    except urllib.error.HTTPError as error:
        said = error.read(1 << 20)
        if error.code != 422:
            raise NotSent(f"{url} answered {error.code}: {_reason(said)}", error.code) from error
    except (OSError, HTTPException, ValueError) as error:
        raise NotSent(f"{url} cannot be reached: {getattr(error, 'reason', error)}") from error
    try:
        told = json.loads(said)
        refused = [str(one["reason"]) for one in told["refused"]]
        return Answer(int(told["recorded"]), int(told["duplicates"]), refused)
    except (ValueError, TypeError, KeyError) as error:
        # A page of somebody else's, with status 200: nothing is recorded anywhere.
        raise NotSent(f"what answers at {url} is no ops bot") from error


def _reason(said: bytes) -> str:
    try:
        return str(json.loads(said)["reason"])[:300]
    except (ValueError, TypeError, KeyError):
        return "no reason given"


class Spool:
    """A directory of events that wait. Many processes may add to it and flush it at once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def add(self, event: Event) -> Path:
        """Put `event` on disk, whole or not at all. The path of its file. Raises OSError."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Names sort by time, so that they are sent in the order in which they happened here.
        name = f"{time.time_ns():020}-{os.getpid()}-{os.urandom(4).hex()}"
        partial = self.directory / f".{name}.partial"
        body = event.model_copy(update={"id": event.id}).model_dump_json(exclude_unset=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(body)
                    file.flush()
                    os.fsync(file.fileno())
                path = partial.rename(self.directory / f"{name}.json")
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        finally:
            self._sync()
        return path

    def _sync(self) -> None:
        descriptor = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def waiting(self) -> list[Path]:
        """The files that wait, oldest first."""
        return sorted(self.directory.glob("[!.]*.json"))

    def flush(
        self, url: str, token: str, timeout_seconds: float = 10, *, ca_file: str = "", deadline_seconds: float = 600
    ) -> Flushed:
        """Send what waits, oldest first; a file goes when the bot has it on its disk. Arguments as of `send`.

        Ends with the first request that is not taken, and begins none after `deadline_seconds`. Raises nothing that
        the network or the bot does.
        """
        flushed = Flushed()
        files = self.waiting()
        at_once = _AT_ONCE
        begun = time.monotonic()
        while files:
            bodies = {file: body for file in files[:at_once] if (body := self._read(file, flushed)) is not None}
            try:
                if time.monotonic() - begun > deadline_seconds:
                    raise NotSent(f"it takes longer than {deadline_seconds:g} s")
                sent = send(url, token, list(bodies.values()), timeout_seconds, ca_file=ca_file) if bodies else None
                answer = sent or Answer(0, 0)
            except NotSent as error:
                if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                    if len(bodies) == 1:
                        self._set_aside(next(iter(bodies)), "it is larger than the bot takes", flushed)
                    at_once = max(1, at_once // 2)
                    files = self.waiting()
                    continue
                flushed.why_left = str(error)
                break
            for file in bodies:
                file.unlink(missing_ok=True)
            files = files[at_once:]
            flushed.sent += answer.recorded + answer.duplicates
            flushed.refused += answer.refused
        flushed.left = len(self.waiting())
        return flushed

    def _read(self, file: Path, flushed: Flushed) -> str | None:
        """The event in `file`; None when another process has sent it, or when it holds none."""
        try:
            body = file.read_text(encoding="utf-8")
            json.loads(body)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self._set_aside(file, f"it is no event ({type(error).__name__})", flushed)
            return None
        return body

    def _set_aside(self, file: Path, why: str, flushed: Flushed) -> None:
        """Rename a file that can never be sent: it would hold up those behind it for ever."""
        with contextlib.suppress(FileNotFoundError):
            file.rename(file.with_suffix(".refused"))
            flushed.refused.append(f"{file.name} was not sent and is now *.refused: {why}")
