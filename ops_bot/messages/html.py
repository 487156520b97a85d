"""Block Kit as HTML: the picture of a message, and the feed of the page. Only markup of ours; no style attributes."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from markupsafe import Markup, escape

from ops_bot.messages.mrkdwn import Node, parse

_TAGS = {"bold": "b", "italic": "i", "strike": "s", "code": "code"}


Moment = Callable[[datetime], Markup]


def exactly(when: datetime) -> Markup:
    """A time as it is written where no reader's zone is known."""
    return Markup('<time datetime="{}">{}</time>').format(when.isoformat(), f"{when:%Y-%m-%d %H:%M:%S %Z}")


def html(blocks: Sequence[dict[str, Any]], text: str = "", moment: Moment = exactly) -> Markup:
    """`blocks` as HTML; without blocks, the `text` that Slack would show in their place. `moment` writes the times."""
    if not blocks:
        return _paragraph(text, moment)
    return Markup("\n").join(_block(block, moment) for block in blocks)


def _block(block: dict[str, Any], moment: Moment) -> Markup:
    kind = block["type"]
    if kind == "section":
        parts = [_paragraph(block["text"]["text"], moment)] if "text" in block else []
        if "fields" in block:
            fields = Markup("").join(Markup("<li>{}</li>").format(_object(field, moment)) for field in block["fields"])
            parts.append(Markup('<ul class="fields">{}</ul>').format(fields))
        return Markup("\n").join(parts)
    if kind == "context":
        return Markup('<p class="context">{}</p>').format(
            Markup(" · ").join(_object(element, moment) for element in block["elements"])
        )
    if kind == "header":
        return Markup("<p><b>{}</b></p>").format(block["text"]["text"])
    if kind == "divider":
        return Markup("<hr>")
    return Markup("")


def _object(thing: dict[str, Any], moment: Moment) -> Markup:
    return _inline(parse(thing["text"]), moment) if thing["type"] == "mrkdwn" else escape(thing["text"])


def _paragraph(text: str, moment: Moment) -> Markup:
    """Code of several lines stands between paragraphs, for it may not stand in one."""
    parts: list[Markup] = []
    run: list[Node] = []
    for node in (*parse(text), Node("pre", "")):
        if node.kind != "pre":
            run.append(node)
            continue
        if said := _inline(tuple(run), moment).strip():
            parts.append(Markup("<p>{}</p>").format(said))
        if node.text:
            parts.append(Markup('<pre tabindex="0" role="region" aria-label="Log">{}</pre>').format(node.text))
        run = []
    return Markup("\n").join(parts)


def _inline(nodes: tuple[Node, ...], moment: Moment) -> Markup:
    return Markup("").join(_node(node, moment) for node in nodes)


def _node(node: Node, moment: Moment) -> Markup:  # noqa: PLR0911  (one return a kind)
    if node.kind in _TAGS:
        inside = _inline(node.inside, moment) if node.inside else escape(node.text)
        return Markup(f"<{_TAGS[node.kind]}>{{}}</{_TAGS[node.kind]}>").format(inside)  # noqa: S704  (tags of ours)
    if node.kind == "link":
        if urlsplit(node.target).scheme not in ("http", "https"):
            return escape(node.text)
        return Markup('<a href="{}" rel="noreferrer">{}</a>').format(node.target, node.text)
    if node.kind == "date":
        try:
            return moment(datetime.fromtimestamp(int(node.target), UTC))
        except (OverflowError, ValueError, OSError):
            return escape(node.text)  # no year that can be shown in every zone
    if node.kind == "mention":
        return Markup('<span class="mention">@{}</span>').format(node.text)
    if node.kind == "break":
        return Markup("<br>")
    return escape(node.text)
