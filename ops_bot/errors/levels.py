"""Is a line of a service's log an error, and what does it say?

A line is an error when it says so itself: a level in a structured line, or a level word where a text line has it. That
it was written to standard error says nothing, most programs write everything there.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_LEVEL_KEYS = ("level", "severity", "levelname", "log.level", "loglevel", "lvl", "severity_text", "severitytext")
_MESSAGE_KEYS = (
    "message",
    "msg",
    "event",
    "text",
    "renderedmessage",
    "body",
    "error",
    "err",
    "messagetemplate",
    "mt",
    "m",
)
_STACK_KEYS = ("exception", "exc_info", "stack_trace", "stacktrace", "stack", "traceback", "error", "err")
_SERILOG = {"@l": "level", "@m": "message", "@mt": "messagetemplate", "@x": "exception"}
_FACTS = ("method", "path", "status", "status_code", "code", "reason", "error", "err")
_NESTED = ("error", "err", "exception", "exc_info", "log")

_ERRORS = {
    "fail",
    "error",
    "err",
    "critical",
    "crit",
    "fatal",
    "ftl",
    "panic",
    "alert",
    "emerg",
    "emergency",
    "severe",
    "dpanic",
}
_OTHERS = {"warning", "warn", "wrn", "notice", "info", "inf", "information", "debug", "dbg", "trace", "verbose", "log"}
_LETTERS = {"e": True, "f": True, "c": True, "w": False, "i": False, "d": False}

_WORD = "|".join(sorted(_ERRORS | _OTHERS, key=len, reverse=True))
_LEVEL = re.compile(rf"(?<![\w./-])(?P<level>{_WORD})(?![\w!=]|\.\w)", re.IGNORECASE)
# What stands before a level: times, processes, threads, loggers and hosts, but no prose.
_HEADER = re.compile(
    r"(?:\s*(?:\S*\d\S*|[\[(<|]\S*|\S*[\]),:;|>-]|\w+(?:[./@]|::)\S*|[AP]M|UTC|GMT"
    r"|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*)(?=\s|$))*\s*"
)
_TIME = re.compile(r"\d\d:\d\d")
_ENDS_LEVEL = re.compile(r"\s*[\]:|>)]|\s+-+\s|/\w|$")
_AFTER_LEVEL = re.compile(r"(?:/[\w-]+)?[\s:|>)\]-]*")
_LOOKED_AT = 160  # characters that may hold a level
_LOGFMT_LEVEL = re.compile(rf"(?:^|\s)(?:level|lvl|severity)=\"?(?P<level>{_WORD})\"?(?=\s|$)", re.IGNORECASE)
_LOGFMT_MESSAGE = re.compile(r"(?:^|\s)(?:msg|message|err|error)=(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<bare>\S+))")
_GLOG_LEVEL = re.compile(r"^(?P<level>[EWIF])\d{4} \d\d:\d\d:\d\d\.\d+\s+\d+ (?P<place>[\w./-]+):\d+\] ")
_SYSLOG_LEVEL = re.compile(r"^<(?P<level>[0-7])>")
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# Without a level, and yet no doubt.
_LAST_WORDS = re.compile(
    r"^(?:PHP (?:Fatal|Parse) error: |Fatal Python error: |Unhandled exception|Uncaught \w*(?:Error|Exception)"
    r"|thread '[^']*' (?:\(\d+\) )?panicked at |npm ERR! |Segmentation fault|core dumped)"
)
_LONGEST_JSON = 256 * 1024


@dataclass(frozen=True)
class Line:
    """What a line of a log says. `is_error` is None when the line does not say."""

    is_error: bool | None
    message: str
    logger: str = ""
    stack: str = ""  # a traceback that the line carries
    tag: str = ""
    facts: tuple[tuple[str, str], ...] = ()  # fields that say what "request failed" does not: a path, a status
    whole: bool = False  # structured: no further line belongs to it


def read(text: str) -> Line:
    """Read one line, in whatever of the common formats it is."""
    stripped = text.strip()
    if stripped.startswith("{") and len(stripped) <= _LONGEST_JSON:
        try:
            fields = json.loads(stripped)
        except (ValueError, RecursionError):
            fields = None
        if isinstance(fields, dict):
            return _structured(fields)
    return _plain(text.rstrip())


def _structured(fields: dict[str, Any]) -> Line:
    flat = {_SERILOG.get(name, name.lower().lstrip("@")): value for name, value in fields.items()}
    if isinstance(record := flat.get("record"), dict):  # loguru's
        flat |= {str(name).lower(): value for name, value in record.items()}
    for name in _NESTED:
        inner = flat.get(name)
        if isinstance(inner, dict):
            flat |= {f"{name}.{key.lower()}": value for key, value in inner.items() if isinstance(key, str)}
    stack = next((text for name in _STACK_KEYS if (text := _stack(flat, name))), "")
    message = next((value for name in _MESSAGE_KEYS if isinstance(value := flat.get(name), str) and value), "")
    nested = next((value for name in _NESTED if isinstance(value := flat.get(f"{name}.message"), str)), "")
    return Line(
        is_error=_level_of(flat),
        message=message or nested or json.dumps(fields, ensure_ascii=False, default=str),
        logger=str(flat.get("logger") or flat.get("name") or ""),
        stack=stack,
        tag=_name(flat.get("tag")),
        facts=tuple(_facts(flat, message or nested)),
        whole=True,
    )


def _facts(flat: dict[str, Any], message: str) -> Iterator[tuple[str, str]]:
    for name in _FACTS:
        value = flat.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool):
            text = " ".join(str(value).split())[:80]
            if text and text not in message:
                yield name, text


def _level_of(flat: dict[str, Any]) -> bool | None:
    said = (_is_error(flat[name]) for name in _LEVEL_KEYS if flat.get(name) is not None)
    if (found := next((level for level in said if level is not None), None)) is not None:
        return found
    number = flat.get("severity_number", flat.get("severitynumber"))  # OpenTelemetry's: 17 to 24
    return number >= 17 if isinstance(number, int) and not isinstance(number, bool) else None


def _stack(flat: dict[str, Any], name: str) -> str:
    value = flat.get(name)
    if isinstance(value, dict):
        keys = ("stack", "stack_trace", "stacktrace", "traceback")
        value = next((text for key in keys if (text := value.get(key))), "")
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        value = "\n".join(value)
    return value if isinstance(value, str) and "\n" in value else ""


def _name(value: object) -> str:
    return value if isinstance(value, str) and value.isprintable() and len(value) <= 200 else ""


# pino and bunyan count from 10 (trace) to 60 (fatal), Python's logging to 50, syslog from 0 (worst) to 7.
def _number_is_error(level: float) -> bool | None:
    if 0 <= level < 8:
        return level <= 3
    return level >= 40 if 10 <= level <= 60 else None


def _is_error(level: object) -> bool | None:
    if isinstance(level, dict):
        level = level.get("name")
    if isinstance(level, bool) or level is None:
        return None
    if isinstance(level, int | float):
        return _number_is_error(level)
    word = str(level).strip().lower()
    if word.isdigit():
        return _is_error(int(word))
    return True if word in _ERRORS else False if word in _OTHERS else _LETTERS.get(word)


def _plain(text: str) -> Line:
    text = _COLOURS.sub("", text)
    if found := _SYSLOG_LEVEL.match(text):
        return Line(int(found["level"]) <= 3, text[found.end() :])
    if found := _GLOG_LEVEL.match(text):
        return Line(_LETTERS[found["level"].lower()], text[found.end() :], logger=found["place"])
    if found := _LOGFMT_LEVEL.search(text[:500]):
        said = _LOGFMT_MESSAGE.search(text)
        message = (said["quoted"] or said["bare"] or "").replace('\\"', '"') if said else text
        return Line(_is_error(found["level"]), message or text)
    if _LAST_WORDS.match(text):
        return Line(is_error=True, message=text)
    for found in _LEVEL.finditer(text, 0, _LOOKED_AT):
        before, after = text[: found.start()], text[found.end() :]
        if not _HEADER.fullmatch(before):
            break
        if _is_level(found["level"], before, after):
            rest = _AFTER_LEVEL.match(after)
            return Line(_is_error(found["level"]), (after[rest.end() :] if rest else after) or text)
    return Line(None, text)


def _is_level(word: str, before: str, after: str) -> bool:
    """Tell a level from a sentence that begins with the word: "error handler registered" is no error."""
    return word.isupper() or bool(_ENDS_LEVEL.match(after)) or bool(_TIME.search(before))
