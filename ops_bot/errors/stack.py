"""Stacks in logs: where a traceback begins and ends, and the frames in it.

Python's are understood whole, chains and groups of exceptions too; of Java, JavaScript and Go what makes a group: type,
message, and the functions of the frames.
"""

import re
from dataclasses import dataclass, field

# Frames of these are the runtime's or a library's, not of the application.
_LIBRARY = re.compile(
    r"(^|/)(site-packages|dist-packages|node_modules)/|(^|/)lib/python3\.\d+/|^<(frozen|string)|^node:|^internal/"
    r"|^/usr/(local/)?(lib|go)/|(^|/)go/pkg/mod/|^(java|javax|jdk|sun|kotlin|scala)\.|^org\.(springframework|apache)\."
)
_PYTHON_START = "Traceback (most recent call last):"
_PYTHON_FRAME = re.compile(r'^\s+File "(?P<file>[^"]+)", line \d+(?:, in (?P<function>.+))?$')
# A level in front of the next line is all capitals, the name of an exception never is.
_PYTHON_END = re.compile(r"^(?P<type>(?=\w*[.a-z])[A-Za-z_][\w.]*)(?::\s?(?P<message>.*))?$")
_CHAIN = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_GROUP_MARGIN = re.compile(r"^\s*(?:[|+]\s?|\+-[-+ ]*$)")
_AT_FRAME = re.compile(
    r"^\s+at (?:async )?(?:(?P<function>[^\s(][^(]*?)\s*\()?(?P<file>[^()]*?)(?::\d+){0,2}\)?(?:\s+~?\[.*\]| in .+)?$"
)
_AT_MORE = re.compile(r"^\s+\.\.\. \d+ (more|common frames omitted|lines matching)")
_CAUSED_BY = re.compile(r"^\s*(?:Caused by|Suppressed): (?P<rest>.+)$")
_AT_HEAD = re.compile(
    r'^(?:Exception in thread "[^"]*" |Uncaught |Unhandled exception\. )?'
    r"(?P<type>[A-Za-z_][\w.$]*(?:Error|Exception|Throwable))"
    r"(?: \[[^\]]+\])?(?::\s(?P<message>.*))?$"
)
_GO_START = re.compile(r"^(?:panic|fatal error): (?P<message>.*)$")
_GO_FRAME = re.compile(r"^(?P<function>[\w./*()-]+(?:\.[\w.*()-]+)+)\(.*\)$")
_GO_FILE = re.compile(r"^\s+(?P<file>/?[^\s:]+\.(?:go|s)):\d+")
_GO_OTHER = re.compile(r"^(goroutine \d+ \[.*\]:|\[signal .*|created by .*|exit status \d+|\s*)$")
_LONGEST_LINE = 2_000


@dataclass(frozen=True)
class Frame:
    """One call: the function and the file it is in, without line numbers, which move with every edit."""

    file: str
    function: str

    @property
    def in_app(self) -> bool:
        """Whether it is of the application, not of a library or the runtime."""
        return not _LIBRARY.search(self.file) and not _LIBRARY.search(self.function)


@dataclass
class Failure:
    """One exception of a chain, and the calls it came through, innermost last."""

    type: str = ""
    message: str = ""
    frames: list[Frame] = field(default_factory=list)


def begins(line: str) -> bool:
    """Whether a stack begins with this line, and lines of it may follow."""
    line = line[:_LONGEST_LINE]
    return _PYTHON_START in line or bool(_GO_START.match(line)) or bool(_AT_HEAD.match(line.strip()))


def continues(lines: list[str], line: str) -> bool:
    """Whether `line` belongs to the stack that `lines` begin."""
    line = line[:_LONGEST_LINE]
    if any(_PYTHON_START in one for one in lines):
        return _python_continues(lines, line)
    if _GO_START.match(lines[0]):
        return bool(_GO_FRAME.match(line) or _GO_FILE.match(line) or _GO_OTHER.match(line))
    return bool(_AT_FRAME.match(line) or _AT_MORE.match(line) or _CAUSED_BY.match(line))


def _without_margin(line: str) -> str:
    """Return a line of an exception group as it would be without the group."""
    return _GROUP_MARGIN.sub("", line, count=1) if line.lstrip()[:1] in ("|", "+") else line


def _python_continues(lines: list[str], line: str) -> bool:
    if line[:1].isspace() or not line or line in _CHAIN:
        return True
    if _PYTHON_START in line:  # of the same chain only when it was announced
        return next((one for one in reversed(lines) if one.strip()), "") in _CHAIN
    # A line at the margin ends the stack, and the one that names the exception is still of it: the first since the
    # frames. Messages of several lines cannot be told from what comes after, so only their first line counts.
    last_start = max(index for index, one in enumerate(lines) if _PYTHON_START in one)
    named = any(one and not one[0].isspace() for one in map(_without_margin, lines[last_start + 1 :]))
    return not named and bool(_PYTHON_END.match(line))


def parse(text: str) -> list[Failure]:
    """Return the exceptions of a stack in the order they are written; none when there is no stack in `text`."""
    lines = [line[:_LONGEST_LINE] for line in text.splitlines()]
    if any(_PYTHON_START in line for line in lines):
        return _python(lines)
    go = next((found for line in lines if (found := _GO_START.match(line))), None)
    if go and any(line.startswith("goroutine ") for line in lines):
        return [_go(lines, go["message"])]
    return _at(lines)


def _python(lines: list[str]) -> list[Failure]:
    failures: list[Failure] = []
    current: Failure | None = None
    for line in map(_without_margin, lines):
        if _PYTHON_START in line:
            current = Failure()
        elif current is None:
            continue
        elif found := _PYTHON_FRAME.match(line):
            frame = Frame(found["file"], found["function"] or "")
            if frame not in current.frames[-1:]:  # a recursion is one frame, however deep it went
                current.frames.append(frame)
        elif line and not line[0].isspace() and (found := _PYTHON_END.match(line)):
            current.type, current.message = found["type"], found["message"] or ""
            failures.append(current)
            current = None
    return failures if current is None or not current.frames else [*failures, current]


def _at(lines: list[str]) -> list[Failure]:
    failures: list[Failure] = []
    for line in lines:
        caused = _CAUSED_BY.match(line)
        if found := _AT_HEAD.match((caused["rest"] if caused else line).strip()):
            failures.append(Failure(found["type"], found["message"] or ""))
        elif failures and (frame := _AT_FRAME.match(line)):
            # Written innermost first.
            failures[-1].frames.insert(0, Frame(frame["file"], frame["function"] or ""))
    return [failure for failure in failures if failure.frames]


def _go(lines: list[str], message: str) -> Failure:
    failure = Failure("panic", message.removesuffix(" [recovered]"))
    function = ""
    for line in lines[1:]:
        if found := _GO_FRAME.match(line):
            function = found["function"]
        elif (found := _GO_FILE.match(line)) and function:
            failure.frames.insert(0, Frame(found["file"], function))
            function = ""
        elif line.startswith("goroutine ") and failure.frames:
            break  # the first is the one that panicked
    return failure
