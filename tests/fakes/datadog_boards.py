"""Datadog's dashboards and monitors: what it takes, what it makes of it, and what others have there too."""

from __future__ import annotations

import copy
import re
from itertools import count
from typing import Any

from fakes.datadog_boards_schema import problems
from fakes.server import Answer, FakeServer, Request


class FakeBoards(FakeServer):
    """Speaks /api/v1/dashboard and /api/v1/monitor of the published API."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.dashboards: dict[str, dict[str, Any]] = {}
        self.monitors: dict[str, dict[str, Any]] = {}
        self._ids = count(1000)

    @property
    def changes(self) -> list[tuple[str, str]]:
        """What was asked of it beside reading."""
        return [(request.verb, request.path) for request in self.requests if request.verb != "GET"]

    def answer(self, request: Request) -> Answer:
        if request.header("dd-application-key") != "app" or request.header("dd-api-key") != "api":
            return Answer({"errors": ["Forbidden"]}, 403)
        path = re.fullmatch(r"/api/v1/(dashboard|monitor)(?:/(.+))?", request.path)
        if not path:
            return Answer({"errors": ["Not found"]}, 404)
        kept = self.dashboards if path[1] == "dashboard" else self.monitors
        if not path[2]:
            return self._make(path[1], kept, request) if request.verb == "POST" else self._list(path[1], request)
        if path[2] not in kept:
            return Answer({"errors": [f"{path[1].title()} not found"]}, 404)
        return self._one(path[1], kept, path[2], request)

    def _one(self, sort: str, kept: dict[str, dict[str, Any]], name: str, request: Request) -> Answer:
        if request.verb == "DELETE":
            used = [one["id"] for one in self.monitors.values() if name in re.findall(r"\d+", one["query"])]
            if sort == "monitor" and self.monitors[name]["type"] != "composite" and used:
                return Answer({"errors": [f"monitor [{name}] is referenced in composite monitors: {used}"]}, 400)
            del kept[name]
            return Answer({f"deleted_{sort}_id": name})
        if request.verb == "PUT":
            if wrong := problems(sort, request.values):
                return Answer({"errors": wrong}, 400)
            kept[name] = self._normal(sort, name, request.values)
        return Answer(copy.deepcopy(kept[name]))

    def _make(self, sort: str, kept: dict[str, dict[str, Any]], request: Request) -> Answer:
        if wrong := problems(sort, request.values):
            return Answer({"errors": wrong}, 400)
        number = next(self._ids)
        name = str(number) if sort == "monitor" else f"abc-def-{number}"
        kept[name] = self._normal(sort, name, request.values)
        return Answer(copy.deepcopy(kept[name]))

    def _list(self, sort: str, request: Request) -> Answer:
        if sort == "dashboard":
            start, many = int(request.values.get("start", 0)), int(request.values.get("count", 100))
            fields = ("id", "title", "description", "layout_type", "author_handle", "is_read_only")
            found = [{field: one.get(field) for field in fields} for one in self.dashboards.values()]
            return Answer({"dashboards": found[start : start + many]})
        wanted = set(filter(None, request.values.get("monitor_tags", "").split(",")))
        monitors = [one for one in self.monitors.values() if wanted <= set(one.get("tags", []))]
        page, size = int(request.values.get("page", 0)), int(request.values.get("page_size", 100))
        return Answer(monitors[page * size : (page + 1) * size])

    def _normal(self, sort: str, name: str, data: dict[str, Any]) -> dict[str, Any]:
        """As Datadog keeps it: with ids, an author, defaults, and tags in an order of its own."""
        kept = copy.deepcopy(data)
        if sort == "monitor":
            kept |= {"id": int(name), "creator": {"handle": "ann@example.com"}, "overall_state": "OK", "multi": True}
            kept["tags"] = sorted(kept.get("tags", []), reverse=True)
            kept["options"] = {
                "silenced": {},
                "new_host_delay": 300,
                "escalation_message": "",
                **kept.get("options", {}),
            }
            return kept
        kept |= {"id": name, "author_handle": "ann@example.com", "url": f"/dashboard/{name}", "is_read_only": False}
        self._number(kept["widgets"])
        return kept

    def _number(self, widgets: list[dict[str, Any]]) -> None:
        for widget in widgets:
            widget["id"] = next(self._ids)
            self._number(widget["definition"].get("widgets", []))
