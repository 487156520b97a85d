"""From a template to a message that Slack takes: escaped, within every limit, complete without its blocks.

A template has one Jinja block a part of the message. What a template prints is escaped by itself (`finalize`); only
our own filters make markup. The same templates speak three dialects: blocks of a message, its one-line text, and plain
words for whoever is not Slack.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined

from ops_bot.messages import words
from ops_bot.text import clean, clip, clip_start, escape, escape_code, escape_cost, one_line, size

Dialect = Literal["blocks", "text", "plain"]
Block = dict[str, Any]

TEXT_LIMIT = 3_000  # Slack may split a longer one into several messages
TOTAL_LIMIT = 8_000  # over all blocks, as JSON; Slack refuses somewhere above 9,600, undocumented
LOG_LIMIT = 1_500
_SECTION_LIMIT = 3_000
_YEAR_2100 = 4_102_444_800
_FIELDS = 10
_ELEMENTS = 10
_VALUE = 60  # what is printed without a filter, when it is foreign
# The order of the parts, and which of them go first when a message would be too long: the last of these.
PARTS = ("headline", "late", "detail", "hosts", "errors", "log", "facts", "commits", "footer")
_EXPENDABLE = ("commits", "facts", "hosts", "log", "errors", "detail", "footer")


@dataclass(frozen=True)
class Message:
    """What a sink posts. `text` alone tells everything that must be known; `blocks` is Slack's Block Kit."""

    text: str
    blocks: list[Block]
    metadata: dict[str, Any]


class Markup(str):
    """Text that is escaped already."""

    __slots__ = ()


def part(template: str, name: str, dialect: Dialect, facts: dict[str, Any], zone: str) -> str:
    """One part of a message as one string, without blank lines; empty when it has nothing to say."""
    loaded = _environment(dialect, zone).get_template(f"{template}.j2")
    if name not in loaded.blocks:
        return ""
    printed = "".join(loaded.blocks[name](loaded.new_context(facts)))
    return "\n".join(line.strip() for line in printed.splitlines() if line.strip())


def log_block(log: str, limit: int = LOG_LIMIT) -> Block | None:
    """The end of `log` as code. None when there is none."""
    shown = clip_start(clean(log).strip("\n "), limit, escape_cost)
    return section(f"```\n{escape_code(shown)}\n```") if shown.strip() else None


def blocks_of(template: str, facts: dict[str, Any], zone: str, late: str, log: str) -> list[Block]:
    """The blocks of a message, within Slack's limits and ours."""
    found: dict[str, Block] = {}
    for name in PARTS:
        if name == "late":
            made = context([late]) if late else None
        elif name == "log":
            made = log_block(log) if part(template, "log", "plain", facts | {"log": "1"}, zone) else None
        else:
            made = _block(name, part(template, name, "blocks", facts, zone))
        if made:
            found[name] = made
    for name in _EXPENDABLE:
        if json_size(list(found.values())) <= TOTAL_LIMIT:
            break
        if name == "log" and "log" in found and (shorter := log_block(log, LOG_LIMIT // 3)):
            found["log"] = shorter
        else:
            found.pop(name, None)
    return list(found.values())


def _block(name: str, printed: str) -> Block | None:
    if not printed:
        return None
    lines = printed.splitlines()
    if name == "facts":
        return {"type": "section", "fields": [_mrkdwn(line) for line in lines[:_FIELDS]]}
    if name == "footer":
        return context(lines)
    return section(_whole_lines(lines, _SECTION_LIMIT))


def section(text: str) -> Block:
    """A section of mrkdwn."""
    return {"type": "section", "text": _mrkdwn(text)}


def context(lines: Iterable[str]) -> Block:
    """A line of small print."""
    return {"type": "context", "elements": [_mrkdwn(line) for line in list(lines)[:_ELEMENTS]]}


def _mrkdwn(text: str) -> Block:
    # verbatim: Slack shall make no links, channels or mentions out of words of its own accord.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _whole_lines(lines: list[str], limit: int) -> str:
    kept: list[str] = []
    for line in lines:
        limit -= size(line) + 1
        if limit < 2 and kept:
            return "\n".join([*kept, "…"])
        kept.append(line)
    return "\n".join(kept)


def json_size(blocks: list[Block]) -> int:
    """The size of `blocks` as they are sent: what Slack counts is not documented, and this is no less."""
    return size(json.dumps(blocks, ensure_ascii=False))


def slack_date(when: datetime) -> str:
    """`when` as Slack shows it in the zone of each reader."""
    fallback = f"{words.in_zone(when, UTC):%Y-%m-%d %H:%M:%S} UTC"
    if not 0 <= when.timestamp() < _YEAR_2100:
        return fallback  # a clock that is wrong; whether Slack takes such a date is not documented
    return f"<!date^{int(when.timestamp())}^{{date_short_pretty}} {{time_secs}}|{fallback}>"


@cache
def _environment(dialect: Dialect, zone: str) -> Environment:
    environment = Environment(  # noqa: S701  (the output is mrkdwn, escaped by `finalize`)
        loader=PackageLoader("ops_bot.messages"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalizer(dialect),
    )
    foreign = _foreign(dialect)
    marked = dialect != "plain"

    def code(value: str) -> str:
        shown = one_line(str(value), 600)
        return Markup(f"`{escape_code(clip(shown, 600, escape_cost))}`") if marked and shown else shown

    def bold(value: str) -> str:
        shown = foreign(value, 120)
        return Markup(f"*{shown}*") if dialect == "blocks" and shown else shown

    def link(url: str, label: str) -> str:
        if dialect == "blocks" and is_url(url):
            return Markup(f"<{_escape_url(url)}|{escape(label)}>")
        return label

    def date(when: datetime) -> str:
        if marked:
            return Markup(slack_date(when))
        return f"{words.in_zone(when, ZoneInfo(zone)):%Y-%m-%d %H:%M:%S %Z}"

    environment.filters |= {
        "about": words.about,
        "bold": bold,
        "code": code,
        "counted": words.counted,
        "date": date,
        "duration": words.duration,
        "link": link,
        "short_digest": lambda digest: digest.removeprefix("sha256:")[:12],
        "thousands": lambda number: f"{number:,}",
        "upto": foreign,
    }
    environment.tests["is_url"] = is_url
    environment.filters["is_url"] = is_url
    return environment


def _foreign(dialect: Dialect) -> Callable[[str, int], str]:
    def foreign(value: str, limit: int) -> str:
        if isinstance(value, Markup):
            return value
        if dialect == "plain":
            return Markup(one_line(str(value), limit))
        return Markup(escape(one_line(clip(clean(str(value)[: limit * 2]), limit, escape_cost), limit)))

    return foreign


def _finalizer(dialect: Dialect) -> Callable[[object], object]:
    foreign = _foreign(dialect)

    def finalize(value: object) -> object:
        return foreign(str(value), _VALUE) if not isinstance(value, Markup) else value

    return finalize


def is_url(url: str) -> bool:
    """Whether `url` may be linked: an absolute http or https address with nothing odd in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    odd = any(character.isspace() or character in '<>|"`' or ord(character) < 33 for character in url)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not odd and "@" not in parts.netloc


def _escape_url(url: str) -> str:
    return clean(url).replace("&", "&amp;")
