"""Read Slack's mrkdwn the way Slack does, as far as our messages use it: for pictures of them, and to prove escapes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "bold", "italic", "strike", "code", "pre", "link", "date", "mention", "break"]

_TOKEN = re.compile(
    r"""
      ```\n?(?P<pre>.*?)\n?```
    | `(?P<code>[^`\n]+)`
    | <!date\^(?P<when>-?\d+)\^(?P<format>[^|>]*?)(?:\^[^|>]*)?\|(?P<fallback>[^>]*)>
    | <(?P<mention>[!@\#][^|>]*)(?:\|(?P<name>[^>]*))?>
    | <(?P<url>[a-z][a-z0-9+.-]*:[^|>\s]+)(?:\|(?P<label>[^>]*))?>
    | (?<![^\W_]) (?P<mark>[*_~]) (?P<marked>(?!\s)[^\n`]+?(?<!\s)) (?P=mark) (?![^\W_])
    | (?P<newline>\n)
    """,
    re.VERBOSE | re.DOTALL,
)
_MARKS: dict[str, Kind] = {"*": "bold", "_": "italic", "~": "strike"}


@dataclass(frozen=True)
class Node:
    """One stretch of text. `text` is what is read; `target` an address, a moment (Unix seconds) or who is mentioned."""

    kind: Kind
    text: str
    target: str = ""
    inside: tuple["Node", ...] = ()


def parse(text: str) -> tuple[Node, ...]:
    """The nodes of `text`, entities decoded. What is no markup is text: there is no wrong mrkdwn."""
    return tuple(_nodes(text))


def _nodes(text: str) -> Iterator[Node]:
    done = 0
    for found in _TOKEN.finditer(text):
        if found.start() > done:
            yield Node("text", _decoded(text[done : found.start()]))
        done = found.end()
        yield _node(found)
    if done < len(text):
        yield Node("text", _decoded(text[done:]))


def _node(found: re.Match[str]) -> Node:  # noqa: PLR0911  (one return a kind)
    group = found.groupdict()
    if group["pre"] is not None:
        return Node("pre", _decoded(group["pre"]))
    if group["code"]:
        return Node("code", _decoded(group["code"]))
    if group["when"]:
        return Node("date", _decoded(group["fallback"]), group["when"])
    if group["mention"]:
        return Node("mention", _decoded(group["name"] or group["mention"].lstrip("!@#")), group["mention"])
    if group["url"]:
        return Node("link", _decoded(group["label"] or group["url"]), _decoded(group["url"]))
    if group["mark"]:
        return Node(_MARKS[group["mark"]], "", "", parse(group["marked"]))
    return Node("break", "\n")


def _decoded(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def words(nodes: tuple[Node, ...]) -> str:
    """What a person reads."""
    return "".join(words(node.inside) if node.inside else node.text for node in nodes)
