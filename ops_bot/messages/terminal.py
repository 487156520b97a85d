"""Block Kit as a person at a terminal reads it: wrapped, framed, in bold and colour where the terminal has them."""

import re
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any

from ops_bot.messages.mrkdwn import Node, parse

_STYLES = {"bold": "1", "italic": "3", "strike": "9", "code": "36", "link": "4", "mention": "1;33", "date": "2"}
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def terminal(blocks: Sequence[dict[str, Any]], text: str, *, width: int = 100, colour: bool = True) -> str:
    """`blocks` in a frame `width` columns wide; without blocks, the `text` that Slack would show in their place."""
    parts = [_block(block, width - 4, colour) for block in blocks] or [_flow(text, width - 4, colour)]
    rows = [row for part in parts if part for row in [*part, ""]][:-1]
    body = [f"│ {row}{' ' * max(0, width - 4 - columns(row))} │" for row in rows]
    return "\n".join([f"╭{'─' * (width - 2)}╮", *body, f"╰{'─' * (width - 2)}╯"])


def columns(text: str) -> int:
    """How many columns `text` takes: emoji and East Asian letters two, joiners and accents none."""
    taken = 0
    for character in _ESCAPE.sub("", text):
        if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Mn", "Me"):
            continue
        taken += 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return taken


def _block(block: dict[str, Any], width: int, colour: bool) -> list[str]:
    if block["type"] == "context":
        said = " · ".join(_styled(parse(element["text"]), colour) for element in block["elements"])
        return [_dim(row, colour) for row in _wrapped(said, width)]
    rows = _flow(block["text"]["text"], width, colour) if "text" in block else []
    for field in block.get("fields", []):
        rows += _flow(field["text"], width, colour)
    return rows


def _flow(text: str, width: int, colour: bool) -> list[str]:
    rows: list[str] = []
    run: list[Node] = []
    for node in (*parse(text), Node("break", "\n")):
        if node.kind not in ("pre", "break"):
            run.append(node)
            continue
        rows += _wrapped(_styled(tuple(run), colour), width) if run else []
        run = []
        if node.kind == "pre":
            for line in node.text.expandtabs(4).split("\n"):
                rows += [_dim(f"  {row}", colour) for row in _cut(line, width - 2)]
    return rows


def _styled(nodes: tuple[Node, ...], colour: bool) -> str:
    parts = []
    for node in nodes:
        text = _styled(node.inside, False) if node.inside else node.text
        text = f"@{text}" if node.kind == "mention" else text
        style = _STYLES.get(node.kind) if colour else None
        # Each word its own style: a line may break between two of them.
        parts.append(
            " ".join(f"\x1b[{style}m{word}\x1b[0m" if word else "" for word in text.split(" ")) if style else text
        )
    return "".join(parts)


def _wrapped(text: str, width: int) -> list[str]:
    rows, row = [], ""
    for word in text.split(" "):
        if row and columns(row) + 1 + columns(word) > width:
            rows.append(row)
            row = "  " + word
        else:
            row = f"{row} {word}" if row else word
    rows.append(row)
    return [piece for row in rows for piece in (_cut(row, width) if columns(row) > width else [row])]


def _cut(line: str, width: int) -> list[str]:
    """`line` in pieces that fit; styles are given up for words longer than a line."""
    plain = _ESCAPE.sub("", line)
    if columns(plain) <= width:
        return [plain]
    return textwrap.wrap(plain, max(1, width // 2 if columns(plain) > len(plain) else width)) or [""]


def _dim(row: str, colour: bool) -> str:
    return f"\x1b[2m{row}\x1b[0m" if colour else row
