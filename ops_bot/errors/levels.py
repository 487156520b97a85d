"""Is a line of a service's log an error, and what does it say?

A line is an error when it says so itself: a level in a structured line, or a level word where a text line has it. That
it was written to standard error says nothing, most programs write everything there.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

_LEVEL_KEYS = ("level", "severity", "levelname", "log.level", "loglevel", "lvl", "severity_text", "log_level")
_MESSAGE_KEYS = ("message", "msg", "event", "text", "error", "err", "error.message")
_STACK_KEYS = ("exception", "exc_info", "stack_trace", "stacktrace", "stack", "traceback", "error", "err")
_NESTED = ("error", "err", "exception", "exc_info", "log")

_ERRORS = {"error", "err", "critical", "crit", "fatal", "panic", "alert", "emerg", "emergency", "severe", "dpanic"}
_OTHERS = {"warning", "warn", "notice", "info", "information", "debug", "trace", "verbose", "log", "statement", "fine"}
_LETTERS = {"e": True, "f": True, "c": True, "w": False, "i": False, "d": False}


# pino and bunyan count 10 (trace) to 60 (fatal), Python's logging to 50, and 8 would be syslog's: 0 to 7.
def _number_is_error(level: float) -> bool | None:
    if 0 <= level < 8:
        return level <= 3
    return level >= 40 if 10 <= level <= 60 else None


_WORD = "|".join(sorted(_ERRORS | _OTHERS, key=len, reverse=True))
# At the start, or after what comes before a level in common formats: a time, a process, a logger's name.
_TEXT_LEVEL = re.compile(
    rf"^(?P<before>[\d\s:.,TZ+/\[\]()|-]{{0,60}}(?:(?:UTC|GMT)\s*)?(?:\[\d+\]\s*)?(?:[\w.-]{{1,60}}\s+[-:|]\s+)?)"
    rf"(?P<open>[<\[(]?)(?P<level>{_WORD})(?P<after>[>\])]|\s*[:|]|\s+-(?=\s)|(?=\s)|$)[\s:|-]*",
    re.IGNORECASE,
)
_NGINX_LEVEL = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[(?P<level>[a-z]+)\] (?:\d+#\d+: )?(?:\*\d+ )?")
_LOGFMT_LEVEL = re.compile(rf"(?:^|\s)(?:level|lvl|severity)=\"?(?P<level>{_WORD})\"?(?=\s|$)", re.IGNORECASE)
_LOGFMT_MESSAGE = re.compile(r"(?:^|\s)(?:msg|message|err|error)=(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<bare>\S+))")
_GLOG_LEVEL = re.compile(r"^(?P<level>[EWIF])\d{4} \d\d:\d\d:\d\d\.\d+\s+\d+ (?P<place>[\w./-]+):\d+\] ")
_LONGEST_JSON = 256 * 1024


@dataclass(frozen=True)
class Line:
    """What a line of a log says. `is_error` is None when the line does not say."""

    is_error: bool | None
    message: str
    logger: str = ""
    stack: str = ""  # a traceback that the line carries
    tag: str = ""
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
    flat = {name.lower(): value for name, value in fields.items()}
    for name in _NESTED:
        inner = flat.get(name)
        if isinstance(inner, dict):
            flat |= {f"{name}.{key.lower()}": value for key, value in inner.items() if isinstance(key, str)}
    stack = next((text for name in _STACK_KEYS if (text := _stack(flat, name))), "")
    message = next((value for name in _MESSAGE_KEYS if isinstance(value := flat.get(name), str) and value), "")
    nested = next((value for name in _NESTED if isinstance(value := flat.get(f"{name}.message"), str)), "")
    return Line(
        is_error=_is_error(next((flat[name] for name in _LEVEL_KEYS if flat.get(name) is not None), None)),
        message=message or nested or json.dumps(fields, ensure_ascii=False, default=str),
        logger=str(flat.get("logger") or flat.get("name") or ""),
        stack=stack,
        tag=_name(flat.get("tag")),
        whole=True,
    )


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


def _is_error(level: object) -> bool | None:
    if isinstance(level, bool) or level is None:
        return None
    if isinstance(level, int | float):
        return _number_is_error(level)
    word = str(level).strip().lower()
    if word.isdigit():
        return _is_error(int(word))
    return True if word in _ERRORS else False if word in _OTHERS else _LETTERS.get(word)


def _plain(text: str) -> Line:
    if found := _GLOG_LEVEL.match(text):
        return Line(_LETTERS[found["level"].lower()], text[found.end() :], logger=found["place"])
    if found := _LOGFMT_LEVEL.search(text[:500]):
        said = _LOGFMT_MESSAGE.search(text)
        message = (said["quoted"] or said["bare"] or "").replace('\\"', '"') if said else text
        return Line(_is_error(found["level"]), message or text)
    if found := _NGINX_LEVEL.match(text):
        return Line(_is_error(found["level"]), text[found.end() :] or text)
    if (found := _TEXT_LEVEL.match(text)) and _is_level(found):
        return Line(_is_error(found["level"]), text[found.end() :] or text)
    return Line(None, text)


def _is_level(found: re.Match[str]) -> bool:
    """Tell a level from a sentence that begins with the word: "error handler registered" is no error."""
    return bool(found["open"] or found["after"].strip() or found["level"].isupper() or found["before"].strip())
