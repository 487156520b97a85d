"""What the dashboards and monitors ask for, and how differences to Datadog are found."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.datadog_boards_schema import problems

from ops_bot.dashboards import Board, Change, DashboardsError, changes, describe, load, marked, queries
from ops_bot.metrics import METRICS
from ops_bot.sinks.datadog_boards import Sort

FOLDER = Path(__file__).resolve().parents[3] / "dashboards"
BOARDS = load(FOLDER)
NAMES = [f"{board.sort.value}-{board.name}" for board in BOARDS]
# What the Datadog Agent's own checks send: `system` of the host, and the integrations of Docker and HAProxy.
AGENTS = re.compile(r"^(system|docker|haproxy)\.[a-z0-9_.]+$")
OTHER_TAGS = {"host", "device", "haproxy_service", "image_name", "*"}

each = pytest.mark.parametrize("board", BOARDS, ids=NAMES)


def test_there_is_one_for_everything_that_is_promised() -> None:
    assert {board.name for board in BOARDS if board.sort is Sort.DASHBOARD} == {
        "deploys",
        "fleet",
        "web",
        "eval",
        "ops_bot",
    }
    assert {board.name for board in BOARDS if board.sort is Sort.MONITOR} >= {
        "answers_5xx_after_deploy",
        "unit_down",
        "disk",
        "outbox_age",
        "heartbeat",
        "build_slow",
    }


@each
def test_it_is_what_the_published_schema_allows(board: Board) -> None:
    assert problems(board.sort.value, marked(board, {"answers_5xx": "1", "deployed_lately": "2"})) == []


def places(data: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where in the data there are objects."""
    if isinstance(data, dict):
        yield path
        for key, value in data.items():
            yield from places(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from places(value, (*path, index))


def test_the_schema_is_taken_strictly() -> None:
    (board,) = [one for one in BOARDS if one.name == "ops_bot"]
    one_of_each = {widget["definition"]["type"]: widget for widget in board.data["widgets"]}
    dashboard = board.data | {"widgets": list(one_of_each.values())}
    assert problems("dashboard", dashboard) == []
    for path in places(dashboard):
        broken = copy.deepcopy(dashboard)
        place = broken
        for key in path:
            place = place[key]
        place["nonsense"] = 1
        assert problems("dashboard", broken), path
    (board,) = [one for one in BOARDS if one.name == "disk"]
    assert problems("monitor", board.data | {"type": "nonsense"})
    assert problems("monitor", board.data | {"query": 7})
    assert problems("monitor", {key: value for key, value in board.data.items() if key != "query"})


@each
def test_every_metric_is_one_that_something_sends(board: Board) -> None:
    found = [
        re.findall(r"\b(?:avg|sum|min|max):([a-z][\w.]+)\{([^}]*)\}(?: by \{([^}]*)\})?", q)
        for q in queries(board.data)
    ]
    assert all(found), "a query without a metric"
    assert found or board.needs
    for name, scope, by in (one for some in found for one in some):
        assert name in METRICS or AGENTS.match(name), name
        if name in METRICS:
            asked = {tag.split(":")[0].lstrip("!$") for tag in [*scope.split(","), *by.split(",")] if tag}
            assert asked - OTHER_TAGS <= set(METRICS[name].tags), f"{name} has no such tags"


def test_every_metric_of_ours_is_on_a_dashboard_or_watched() -> None:
    asked = " ".join(query for board in BOARDS for query in queries(board.data))
    assert [name for name in METRICS if name not in asked] == []


@each
def test_everything_can_be_told_apart_by_environment(board: Board) -> None:
    if board.sort is Sort.DASHBOARD:
        assert "env" in [variable["name"] for variable in board.data["template_variables"]]
        assert all("$env" in query for query in queries(board.data))
    else:
        assert all("by {env" in query for query in queries(board.data))
        assert [tag for tag in board.data["tags"] if tag.startswith("service:")], "who is it about"


@each
def test_an_alarm_says_what_to_type(board: Board) -> None:
    if board.sort is Sort.MONITOR and board.name != "deployed_lately":
        assert re.search(r"`(make|ops-bot) [^`]+`", board.data["message"])
        assert "@slack-operations" in board.data["message"]
        thresholds = board.data["options"].get("thresholds", {"critical": 0})
        assert board.needs or board.data["query"].endswith(str(thresholds["critical"])), "they must agree"


def one(name: str = "disk", **data: Any) -> Board:
    text = {
        "name": "Disk",
        "type": "query alert",
        "query": "avg:x{*} > 1",
        "message": "m",
        "tags": ["service:a"],
    } | data
    return Board(Sort.MONITOR, name, f"hash-{sorted(text.items())}", text)


def there(board: Board, name: str = "7", **changed: Any) -> Board:
    """As Datadog has it, after it was pushed."""
    data = marked(board, {}) | {"id": int(name), "overall_state": "OK"} | changed
    return Board(board.sort, board.name, board.hash, data, name)


def actions(found: list[Change]) -> list[tuple[str, str]]:
    return [(change.action, change.board.name) for change in found]


def test_what_is_not_there_is_made_and_what_is_there_is_left() -> None:
    assert actions(changes([one()], [])) == [("create", "disk")]
    assert changes([one()], [there(one())]) == []


def test_another_order_of_tags_and_more_fields_are_no_difference() -> None:
    board = one(tags=["b:1", "a:1"])
    data = marked(board, {})
    assert changes([board], [there(board, tags=data["tags"][::-1], options={"silenced": {}})]) == []


def test_what_was_changed_by_hand_is_changed_back() -> None:
    (change,) = changes([one()], [there(one(), message="quiet")])
    assert describe(change, []).splitlines()[0] == "update  monitor   disk"
    assert '-  "message": "quiet",' in describe(change, [])
    assert '+  "message": "m",' in describe(change, [])


def test_a_field_that_is_gone_from_the_file_is_a_difference() -> None:
    assert actions(changes([one()], [there(one(priority=1))])) == [("update", "disk")]


def test_ours_without_a_file_and_twins_are_extra() -> None:
    found = changes([one()], [there(one(), "9"), there(one(), "7"), there(one("old"), "8")])
    assert [(change.action, change.board.name, change.board.id) for change in found] == [
        ("extra", "old", "8"),
        ("extra", "disk", "9"),
    ]


def test_parts_come_before_what_is_composed_of_them() -> None:
    whole = one("all", type="composite", query="{disk} && {load}")
    assert actions(changes([whole, one("disk"), one("load")], []))[-1] == ("create", "all")
    parts = [there(one("disk"), "1"), there(one("load"), "2")]
    pushed = Board(Sort.MONITOR, "all", whole.hash, marked(whole, {"disk": "1", "load": "2"}), "3")
    assert pushed.data["query"] == "1 && 2"
    assert changes([whole, one("disk"), one("load")], [pushed, *parts]) == []
    gone = changes([], [*parts, pushed])
    assert gone[0].board.name == "all", "a part cannot be deleted before the whole"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "there are no dashboards in"),
        ({"a.json": "{"}, "cannot be read"),
        ({"a.json": "[]"}, "lacks title, layout_type, widgets"),
        ({"A b.json": "{}"}, "a file's name is"),
        ({"monitors/a.json": '{"name": "x"}'}, "lacks type, query, message"),
        (
            {"monitors/a.json": json.dumps({"name": "x", "type": "composite", "query": "{b}", "message": ""})},
            "monitor a is composed of b, which is no file here",
        ),
    ],
)
def test_a_mistake_in_a_file_is_told(tmp_path: Path, files: dict[str, str], said: str) -> None:
    (tmp_path / "monitors").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DashboardsError, match=said):
        load(tmp_path)
