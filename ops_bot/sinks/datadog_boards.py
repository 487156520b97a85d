"""Dashboards and monitors over Datadog's API: list, get, create, update, delete; nothing of ours or others' in it."""

import time
from collections.abc import Callable, Iterator
from enum import Enum
from http.client import HTTPException
from typing import Any

from datadog.api.dashboards import Dashboard
from datadog.api.exceptions import DatadogException
from datadog.api.monitors import Monitor

from ops_bot.settings import Settings
from ops_bot.sinks.datadog_http import RefusedByDatadog, configure

_PAGE = 100
_TRIES = 5
_LONGEST_WAIT_SECONDS = 60.0
_WAIT_SECONDS = 5.0


class BoardsError(Exception):
    """Datadog did not do it. The message says why, and what to do."""


class Sort(Enum):
    """What there is to manage."""

    DASHBOARD = "dashboard"
    MONITOR = "monitor"

    @property
    def required(self) -> tuple[str, ...]:
        """The fields without which Datadog takes none."""
        return ("title", "layout_type", "widgets") if self is Sort.DASHBOARD else ("name", "type", "query", "message")


class Boards:
    """One Datadog organisation. Every method raises BoardsError."""

    def __init__(self, settings: Settings, sleep: Callable[[float], None] = time.sleep) -> None:
        if not (settings.datadog_api_key and settings.datadog_app_key):
            raise BoardsError("set OPS_BOT_DATADOG_API_KEY and OPS_BOT_DATADOG_APP_KEY")
        self._url = settings.datadog_url
        self._sleep = sleep
        configure(
            settings.datadog_url,
            settings.datadog_api_key.get_secret_value(),
            settings.datadog_app_key.get_secret_value(),
            timeout_seconds=30,
        )

    def all(self, sort: Sort, **filters: str) -> Iterator[dict[str, Any]]:
        """Yield all of a sort; of dashboards only a summary."""
        page = 0
        while True:
            if sort is Sort.DASHBOARD:
                asked = {**filters, "start": page * _PAGE, "count": _PAGE}
                answer = self._call(Dashboard.get_all, **asked)
                found = answer.get("dashboards") if isinstance(answer, dict) else None
            else:
                found = self._call(Monitor.get_all, **filters, page=page, page_size=_PAGE)
            if not isinstance(found, list):
                raise BoardsError("Datadog answered with something else than a list")
            yield from found
            if len(found) < _PAGE:
                return
            page += 1

    def get(self, sort: Sort, name: str) -> dict[str, Any]:
        """Return one, whole."""
        found = self._call(self._resource(sort).get, self._id(sort, name))
        return dict(found)

    def create(self, sort: Sort, data: dict[str, Any]) -> str:
        """Make one; returns its id."""
        made = self._call(self._resource(sort).create, **data)
        if not made.get("id"):
            raise BoardsError(
                f"Datadog made a {sort.value} and did not say which; to see, type: ops-bot dashboards diff"
            )
        return str(made["id"])

    def update(self, sort: Sort, name: str, data: dict[str, Any]) -> None:
        """Change the one with this id."""
        self._call(self._resource(sort).update, self._id(sort, name), **data)

    def delete(self, sort: Sort, name: str) -> None:
        """Remove the one with this id."""
        self._call(self._resource(sort).delete, self._id(sort, name))

    @staticmethod
    def _resource(sort: Sort) -> Any:
        return Dashboard if sort is Sort.DASHBOARD else Monitor

    @staticmethod
    def _id(sort: Sort, name: str) -> str | int:
        return name if sort is Sort.DASHBOARD else int(name)

    def _call(self, call: Callable[..., Any], *values: Any, **fields: Any) -> Any:
        for left in reversed(range(_TRIES)):
            try:
                return call(*values, **fields)
            except RefusedByDatadog as refusal:
                if refusal.status != 429 or not left:
                    raise BoardsError(_explained(refusal)) from None
                self._sleep(_pause(refusal))
            except (OSError, HTTPException) as error:
                raise BoardsError(f"Datadog does not answer at {self._url}: {error}") from None
            except (ValueError, DatadogException) as error:  # what the library makes of odd answers
                said = " ".join(str(error).split())[:200]
                raise BoardsError(f"what answers at {self._url} is not Datadog, or not well: {said}") from None
        raise BoardsError("Datadog asks to wait, again and again: try later")


def _pause(refusal: RefusedByDatadog) -> float:
    for header in ("retry-after", "x-ratelimit-reset"):
        try:
            return min(max(float(refusal.headers[header]), 0.0), _LONGEST_WAIT_SECONDS)
        except (KeyError, ValueError):
            continue
    return _WAIT_SECONDS


def _explained(refusal: RefusedByDatadog) -> str:
    if refusal.status in (401, 403):
        return (
            f"Datadog refuses the keys ({refusal.status}): check OPS_BOT_DATADOG_API_KEY, OPS_BOT_DATADOG_URL, and"
            " that the application key may read and write dashboards and monitors"
        )
    return f"Datadog refused: {refusal}"
