"""Which group an error belongs to, and what the group is called.

By its stack when it has one: the types of its exceptions and the application's own frames. Line numbers and messages
differ between two occurrences of the same mistake, and a library's frames between two versions of it. Without a stack,
by its message with the parameters taken out.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ops_bot.errors.parameterise import parameterise
from ops_bot.errors.stack import Failure, Frame

_LONGEST_TITLE = 200
_FRAMES = 60  # of one exception: the innermost
_FAILURES = 20  # of one chain


@dataclass(frozen=True)
class Occurrence:
    """One error that happened. `identity` is what it has in common with others of its group."""

    at: datetime
    host: str
    service: str
    identity: tuple[str, ...]
    title: str
    culprit: str = ""  # where in the code
    tag: str = ""
    sample: str = ""  # what was logged

    def fingerprint(self, environment: str) -> str:
        """Name its group: 16 hexadecimal digits, the same wherever and whenever it is computed."""
        # Lengths keep ("ab", "c") and ("a", "bc") apart.
        words = (environment, self.service, *self.identity)
        text = "".join(f"{len(word)}:{word}" for word in words)
        return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]


def by_stack(failures: Sequence[Failure]) -> tuple[tuple[str, ...], str, str]:
    """Return (identity, title, culprit) of a chain of exceptions, at least one."""
    identity: list[str] = ["stack"]
    for failure in failures[-_FAILURES:]:
        own = [frame for frame in failure.frames if frame.in_app] or failure.frames
        identity += [failure.type, *(_place(frame) for frame in own[-_FRAMES:])]
        if not own:  # nothing but a type: then what it says tells it from others
            identity.append(parameterise(failure.message))
    # The last one written is the one that nobody caught; Java writes causes after it, and the root cause says more.
    last = failures[-1]
    frames = [frame for frame in last.frames if frame.in_app] or last.frames
    title = f"{last.type or 'Exception'}: {last.message}" if last.message else last.type or "Exception"
    return tuple(identity), short(title), _place(frames[-1]) if frames else ""


# Facts that differ from one occurrence to the next of the same mistake.
_WHERE = ("method", "path")
_STATUS = ("status", "status_code", "code")


def by_message(message: str, logger: str = "", facts: Sequence[tuple[str, str]] = ()) -> tuple[tuple[str, ...], str]:
    """Return (identity, title) of a message without a stack, and the facts logged with it."""
    told = short(message)
    if facts:
        told = short(f"{told} ({', '.join(f'{name} {value}' for name, value in facts)})")
    # 503 is another trouble than 500: a status is a name, not a number.
    kept = [
        f"{name}={value if name in _STATUS else parameterise(value)}" for name, value in facts if name not in _WHERE
    ]
    return ("message", logger, parameterise(message), *kept), told


def _place(frame: Frame) -> str:
    """`app/pages.py in lesson`: where a release is unpacked says nothing."""
    file = "/".join(frame.file.replace("\\", "/").split("/")[-2:])
    return f"{parameterise(file) if any(map(str.isdigit, file)) else file} in {frame.function or '<module>'}"


def short(text: str) -> str:
    """Return the first line of `text` that says something, cut to the length of a title."""
    first = next((line.strip() for line in text.splitlines() if line.strip()), "") or "an error without a message"
    return first if len(first) <= _LONGEST_TITLE else first[: _LONGEST_TITLE - 1] + "…"
