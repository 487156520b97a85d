"""Foreign text, made safe to show: control characters out, Slack's markup escaped, a length that is kept.

Everything that comes from outside (commit subjects, log lines, host names, reasons) passes through here on its way
into a message. `clean` is for every face of the bot, `escape` and `escape_code` for Slack's mrkdwn, and `scrub` takes
out what is secret before anything is stored.
"""

import re
from collections.abc import Callable

from ops_bot.scrub import REMOVED, scrub

__all__ = [
    "REMOVED",
    "clean",
    "clip",
    "clip_start",
    "escape",
    "escape_code",
    "escape_cost",
    "one_line",
    "scrub",
    "size",
]

# Terminal colours and titles go whole; leaving "[31m" behind would be worse than the escape character itself.
_TERMINAL = re.compile(
    r"\x1b(?:\[[0-?]{0,40}[ -/]{0,10}[@-~]|\][^\x07\x1b\n]{0,300}(?:\x07|\x1b\\)|[@-Z\\-_])|\x9b[0-?]{0,40}[@-~]"
)
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # C0 and C1, except tab and newline
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # turn the direction of what follows: "v65" reads as "56v"
    "\u200b\u2060-\u2064\ufeff\ufff9-\ufffb]"  # nothing to see, yet it splits words that one searches for
)
_LINE_ENDS = re.compile(r"\r\n?|[\x85\u2028\u2029]")
_SURROGATES = re.compile("[\ud800-\udfff]")  # halves of characters: valid in JSON, fatal when encoded
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefe\U00010800-\U00010fff\U0001e800-\U0001efff]")
_ISOLATE, _END_ISOLATE = "\u2068", "\u2069"

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# Slack has no way to escape its formatting marks. Lookalikes read the same and do nothing.
_LOOKALIKES = {"*": "\u2217", "~": "\u223c", "_": "\u02cd"}
_BACKTICK_LOOKALIKE = "\u02cb"
# Between two letters they are no marks: eval_worker stays as it is typed.
_MARK = re.compile(r"(?<![^\W_])[*~_]|[*~_](?![^\W_])")
_JOINERS = "\u200d\ufe0f\ufe0e"


def clean(text: str) -> str:
    """`text` without control characters, terminal sequences and direction overrides; newlines and tabs stay."""
    if text.isascii() and text.isprintable():
        return text  # nearly all there is
    text = _LINE_ENDS.sub("\n", _TERMINAL.sub("", text))
    return _SURROGATES.sub("\ufffd", _CONTROL.sub("", text))


def one_line(text: str, limit: int = 300) -> str:
    """`text`, cleaned, on one line, at most `limit` UTF-16 units long."""
    # Looking at more than could ever be shown would make a 40 MB subject line expensive.
    return clip(" ".join(clean(text[: limit * 8]).split()), limit)


def size(text: str) -> int:
    """The length of `text` as Slack's limits see it at worst: in UTF-16 units, an emoji being two."""
    return len(text) + sum(character > "\uffff" for character in text)


def clip(text: str, limit: int, cost: Callable[[str], int] = size) -> str:
    """The beginning of `text` whose `cost` is at most `limit`, an ellipsis at its end when something was cut."""
    return _cut(text, limit, cost, from_end=False)


def clip_start(text: str, limit: int, cost: Callable[[str], int] = size) -> str:
    """The end of `text` whose `cost` is at most `limit`: of a log, the last lines tell. Whole lines where possible."""
    kept = _cut(text, limit, cost, from_end=True)
    if kept is text or "\n" not in kept:
        return kept
    return "…\n" + kept.split("\n", 1)[1] if "\n" in kept.strip("…\n") else kept


def _cut(text: str, limit: int, cost: Callable[[str], int], *, from_end: bool) -> str:
    # No character costs less than 1: what is longer than the limit need not be looked at.
    candidate = text[-limit - 1 :] if from_end else text[: limit + 1]
    if len(candidate) == len(text) and cost(text) <= limit:
        return text
    room = limit - 1
    kept = 0
    for character in reversed(candidate) if from_end else candidate:
        room -= cost(character)
        if room < 0:
            break
        kept += 1
    if from_end:
        return "…" + candidate[len(candidate) - kept :].lstrip(_JOINERS)
    # Half of a joined emoji would show as another one.
    return candidate[:kept].rstrip(_JOINERS + " ") + "…"


def escape_cost(text: str) -> int:
    """What `text` costs once it is escaped."""
    return size(text) + sum(len(_ENTITIES[character]) - 1 for character in text if character in _ENTITIES)


def escape(text: str) -> str:
    """`text` as words of a mrkdwn sentence: no mention, link, date or formatting of its own can begin in it.

    Right-to-left writing is isolated, so that it cannot turn round the words of ours beside it.
    """
    text = _MARK.sub(lambda found: _LOOKALIKES[found[0]], _escape_entities(clean(text)))
    text = text.replace("`", _BACKTICK_LOOKALIKE)
    return f"{_ISOLATE}{text}{_END_ISOLATE}" if _RIGHT_TO_LEFT.search(text) else text


def escape_code(text: str) -> str:
    """`text` to stand between backticks, one or three: it cannot end them."""
    return _escape_entities(clean(text)).replace("`", _BACKTICK_LOOKALIKE)


def _escape_entities(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
