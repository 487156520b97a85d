"""A story as a Datadog event: title, text, tags. Pure."""

import hashlib
import re
from datetime import datetime
from typing import Any

from ops_bot.events import State, Story
from ops_bot.settings import Severity
from ops_bot.sinks.plan import severity
from ops_bot.text import clean, clip, clip_start, one_line

# EventCreateRequest of Datadog's OpenAPI description of the v1 API.
TITLE_MAX = 500
TEXT_MAX = 4_000
AGGREGATION_KEY_MAX = 100
TAG_MAX = 200

_LOG_MAX = 1_500


def body(
    story: Story, event_id: str, at: datetime, *, title: str, page: str, late: bool, simple: bool
) -> dict[str, Any]:
    """What to create: `story` as of the event `event_id`, which happened at `story.last_at` and is filed under `at`.

    `late` says in text and tags that those differ; `simple` leaves out everything that might be refused. `title` is
    the story in one line, `page` the address where all of it is.
    """
    title = one_line(title, 100 if simple else TITLE_MAX)
    text = f"{title}\n{page}" if simple else _text(story, page)
    if late:
        text = f"occurred_at: {story.last_at.isoformat(timespec='seconds')} (told late)\n{text}"
    return {
        "title": title,
        "text": clip(text, 500) if simple else f"%%% \n{clip(text, TEXT_MAX - 20)}\n %%%",
        "date_happened": int(at.timestamp()),
        "aggregation_key": aggregation_key(story.correlation),
        "alert_type": _alert_type(story),
        "priority": "normal",
        "tags": tags(story, event_id, late=late),
    }


def tags(story: Story, event_id: str, *, late: bool) -> list[str]:
    """Unified tags (env, service, version), and what people search for."""
    values = {
        "env": story.environment,
        "service": story.service or story.image,
        "version": story.tag,
        "event_id": tag_value(event_id),
        "correlation": tag_value(story.correlation),
        "kind": story.kind,
        "state": story.state,
        "trigger": story.cause,
        "git.commit.sha": story.revision,
        "late": "true" if late else "",
    }
    return [f"{name}:{tag_value(str(value))}" for name, value in values.items() if value] + ["source:tagboat"]


def tag_value(text: str) -> str:
    """`text` as Datadog would store it in a tag: lower case, a few characters, short. Different texts stay different.

    Rules: docs.datadoghq.com/getting_started/tagging.
    """
    plain = re.sub(r"[^a-z0-9_./:-]", "_", text.lower())
    if plain == text and len(plain) <= TAG_MAX - 40 and not plain.endswith("_"):
        return plain
    return f"{plain[:60].rstrip('_')}.{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def aggregation_key(correlation: str) -> str:
    """What Datadog groups the events of one story by."""
    if len(correlation) <= AGGREGATION_KEY_MAX and correlation.isascii():
        return correlation
    return f"{correlation[:40]}.{hashlib.sha256(correlation.encode()).hexdigest()[:40]}"


def _alert_type(story: Story) -> str:
    if story.state in (State.FINISHED, State.RESOLVED):
        return "success"
    return {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "info"}[severity(story)]


def _text(story: Story, page: str) -> str:
    facts = {
        "By": story.actor,
        "Cause": story.cause,
        "Reason": story.reason,
        "Release": " → ".join(filter(None, (story.from_tag, story.tag))),
        "Commit": story.revision,
        "Error": story.error,
        "Culprit": story.culprit,
        "Count": str(story.count or ""),
        "First seen in": story.first_tag,
        "Took": f"{story.duration_seconds:.1f} s" if story.duration_seconds is not None else "",
        "Next": story.next_command,
        "More": page,
    }
    lines = [f"{name}: {one_line(value, 500)}  " for name, value in facts.items() if value]
    lines += [f"- {host.name}: {host.state} {host.tag} {host.message}".rstrip() for host in story.hosts[:20]]
    text = "\n".join(lines)
    if story.log_tail:
        # A fence in the log would end ours.
        log = clip_start(clean(story.log_tail).replace("```", "'''"), min(_LOG_MAX, TEXT_MAX - 100 - len(text[:2_000])))
        text = f"{clip(text, TEXT_MAX - 100 - len(log))}\n```\n{log}\n```"
    return text
