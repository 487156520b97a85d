"""Datadog dashboards and monitors as data: what differs between `dashboards/` and Datadog, and to push that.

Ours are known by a mark that holds their name and a hash of their data: in the description of a dashboard (tags of
dashboards may only name teams), in the tags of a monitor. What has no mark of ours is never touched.
"""

import difflib
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ops_bot.sinks.datadog_boards import Boards, Sort

MANAGED = "managed-by:tagboat"

_NAME = re.compile(r"^[a-z][a-z0-9_]*$")
_DESCRIPTION_MARK = re.compile(r"\(tagboat:(?P<name>[a-z0-9_]+):(?P<hash>[0-9a-f]{12})\)\s*$")
_PLACEHOLDER = re.compile(r"\{(?P<name>[a-z0-9_]+)\}")

Data = dict[str, Any]


class DashboardsError(Exception):
    """It cannot be done. The message says why, and what to do."""


@dataclass(frozen=True)
class Board:
    """One dashboard or monitor: ours as a file has it (`id` empty), or one of ours that Datadog has."""

    sort: Sort
    name: str
    hash: str
    data: Data
    id: str = ""

    @property
    def needs(self) -> list[str]:
        """The monitors that this one is composed of, by name."""
        return _PLACEHOLDER.findall(self.data["query"]) if self.data.get("type") == "composite" else []


@dataclass(frozen=True)
class Change:
    """What must be done so that Datadog has what the files say. `extra`: Datadog has it, no file does."""

    action: Literal["create", "update", "extra"]
    wanted: Board | None
    found: Board | None

    @property
    def board(self) -> Board:
        """The one it is about."""
        board = self.wanted or self.found
        if board is None:
            raise ValueError("a change is about something")
        return board


def load(folder: Path) -> list[Board]:
    """Read dashboards from `folder/*.json` and monitors from `folder/monitors/*.json`. Raises DashboardsError."""
    boards = []
    for sort, paths in ((Sort.DASHBOARD, folder.glob("*.json")), (Sort.MONITOR, folder.glob("monitors/*.json"))):
        for path in sorted(paths):
            boards.append(_read(sort, path))
    if not boards:
        raise DashboardsError(f"there are no dashboards in {folder}: set OPS_BOT_DASHBOARDS_DIR")
    monitors = {board.name for board in boards if board.sort is Sort.MONITOR}
    for board in boards:
        if missing := sorted(set(board.needs) - monitors):
            raise DashboardsError(f"monitor {board.name} is composed of {', '.join(missing)}, which is no file here")
    return boards


def _read(sort: Sort, path: Path) -> Board:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DashboardsError(f"{path} cannot be read: {error}") from None
    if not _NAME.match(path.stem):
        raise DashboardsError(f"{path}: a file's name is letters, digits and underscores, and begins with a letter")
    missing = [key for key in sort.required if not isinstance(data, dict) or key not in data]
    if missing:
        raise DashboardsError(f"{path} lacks {', '.join(missing)}")
    text = json.dumps(data, sort_keys=True, ensure_ascii=False)
    return Board(sort, path.stem, hashlib.sha256(text.encode()).hexdigest()[:12], data)


def marked(board: Board, ids: Mapping[str, str]) -> Data:
    """Return the data of one of ours as it is pushed: marked, and a composed monitor with the `ids` of its parts."""
    data = dict(board.data)
    if board.sort is Sort.DASHBOARD:
        mark = f"Managed by Tagboat: changes made here are overwritten. (tagboat:{board.name}:{board.hash})"
        data["description"] = f"{data.get('description', '')}\n\n{mark}".strip()
    else:
        own = [MANAGED, f"tagboat-name:{board.name}", f"tagboat-content:{board.hash}"]
        data["tags"] = sorted({*data.get("tags", []), *own})
    if board.needs:
        data["query"] = _PLACEHOLDER.sub(lambda part: ids.get(part["name"], part[0]), data["query"])
    return data


def found(boards: Boards) -> list[Board]:
    """Return what Datadog has of ours. Raises what `boards` raises."""
    ours = []
    for summary in boards.all(Sort.DASHBOARD):
        if mark := _DESCRIPTION_MARK.search(summary.get("description") or ""):
            data = boards.get(Sort.DASHBOARD, str(summary["id"]))
            ours.append(Board(Sort.DASHBOARD, mark["name"], mark["hash"], data, str(summary["id"])))
    for data in boards.all(Sort.MONITOR, monitor_tags=MANAGED):
        tags = dict(tag.split(":", 1) for tag in data.get("tags", []) if ":" in tag)
        if MANAGED in data.get("tags", []) and "tagboat-name" in tags:
            name, digest = tags["tagboat-name"], tags.get("tagboat-content", "")
            ours.append(Board(Sort.MONITOR, name, digest, data, str(data["id"])))
    return ours


def changes(wanted: Iterable[Board], there: Iterable[Board]) -> list[Change]:
    """Return what differs, in the order in which it can be done: parts before what is composed of them."""
    known: dict[tuple[Sort, str], Board] = {}
    extra = []
    for board in sorted(there, key=lambda board: (len(board.id), board.id)):
        if (key := (board.sort, board.name)) in known:
            extra.append(board)  # a push that was cut off made it twice; the older one stays
        else:
            known[key] = board
    ids = _ids(known.values())
    todo = []
    for board in sorted(wanted, key=lambda board: bool(board.needs)):
        match = known.pop((board.sort, board.name), None)
        if match is None:
            todo.append(Change("create", board, None))
        elif match.hash != board.hash or _common(match.data, (ours := marked(board, ids))) != _plain(ours):
            todo.append(Change("update", board, match))
    gone = sorted([*known.values(), *extra], key=lambda board: board.data.get("type") != "composite")
    return todo + [Change("extra", None, board) for board in gone]


def _ids(there: Iterable[Board]) -> dict[str, str]:
    return {board.name: board.id for board in there if board.sort is Sort.MONITOR}


def describe(change: Change, there: Iterable[Board]) -> str:
    """Return what a change is, for people: one line, and for an update what differs."""
    board = change.board
    line = f"{change.action:<7} {board.sort.value:<9} {board.name}"
    if change.action == "extra" or not change.wanted or not change.found:
        return line + (f" ({change.found.id}): no file here is it" if change.found and not change.wanted else "")
    ours = marked(change.wanted, _ids(there))
    before, after = (
        json.dumps(side, indent=2, sort_keys=True, ensure_ascii=False).splitlines()
        for side in (_common(change.found.data, ours), _plain(ours))
    )
    return "\n".join([line, *difflib.unified_diff(before, after, "in Datadog", "here", n=2, lineterm="")])


def push(wanted: Iterable[Board], boards: Boards, *, prune: bool, tell: Callable[[str], None]) -> list[Change]:
    """Make Datadog have what the files say, telling each change before it is made; returns those.

    Deletes only what is marked as ours and is no file any more, and only when told to `prune`.
    """
    there = found(boards)
    done = []
    ids = _ids(there)
    for change in changes(wanted, there):
        tell(describe(change, there))
        if change.wanted:
            data = marked(change.wanted, ids)
            if change.found:
                boards.update(change.wanted.sort, change.found.id, data)
            else:
                made = boards.create(change.wanted.sort, data)
                there = [*there, replace(change.wanted, id=made, data=data)]
                ids = _ids(there)
        elif change.found and prune:
            boards.delete(change.found.sort, change.found.id)
        else:
            continue
        done.append(change)
    return done


def _common(theirs: Any, ours: Any) -> Any:
    """Return of what Datadog has what the file speaks of: it adds ids, authors, times and defaults of its own."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return {key: _common(theirs[key], value) for key, value in ours.items() if key in theirs}
    if isinstance(theirs, list) and isinstance(ours, list):
        if _are_words(ours) and _are_words(theirs):
            return sorted(theirs)
        return [_common(one, own) for one, own in zip(theirs, ours, strict=False)] + theirs[len(ours) :]
    return theirs


def _plain(ours: Any) -> Any:
    """Return ours in the form of `_common`: lists of words are sets, as tags are."""
    if isinstance(ours, dict):
        return {key: _plain(value) for key, value in ours.items()}
    if isinstance(ours, list):
        return sorted(ours) if _are_words(ours) else [_plain(one) for one in ours]
    return ours


def _are_words(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(value, str) for value in values)


def summary(done: list[Change], *, pushed: bool) -> str:
    """Return the last line: what was done, or is to be done, and what to type for that."""
    extra = sum(change.action == "extra" for change in done)
    counts = {"made": "create", "changed": "update"} if pushed else {"to make": "create", "to change": "update"}
    told = [f"{number} {word}" for word, action in counts.items() if (number := _count(done, action))]
    if extra:
        told.append(f"{extra} deleted" if pushed else f"{extra} of ours without a file (push --prune deletes them)")
    if not told:
        return "Datadog has what the files say"
    return ", ".join(told) + ("" if pushed or len(told) == bool(extra) else "; type: ops-bot dashboards push")


def _count(done: list[Change], action: str) -> int:
    return sum(change.action == action for change in done)


def queries(data: Any) -> Iterator[str]:
    """Yield every metric query in the data of a dashboard or a monitor."""
    if isinstance(data, dict):
        if isinstance(query := data.get("query"), str) and (
            data.get("data_source") == "metrics" or data.get("type") == "query alert"
        ):
            yield query
        for value in data.values():
            yield from queries(value)
    elif isinstance(data, list):
        for value in data:
            yield from queries(value)
