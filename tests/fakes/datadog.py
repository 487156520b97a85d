"""Datadog's event API (v1) as far as the bot uses it, and what a person sees in the event explorer.

Contract: EventCreateRequest of Datadog's published OpenAPI description. Run it by hand:
`PYTHONPATH=tests python -m fakes.datadog [PORT]`.
"""

import sys
from dataclasses import dataclass
from typing import Any

from fakes.server import Answer, Clock, FakeServer, Fault, Request, says, serve_until_interrupted, status, utc_now

API_KEY = "a" * 32
APP_KEY = "b" * 40
TEXT_MAX = 4_000
TITLE_MAX = 500
AGGREGATION_KEY_MAX = 100
BODY_BYTES_MAX = 5_000_000
OLDEST_SECONDS = 18 * 3600
ALERT_TYPES = {"error", "warning", "info", "success", "user_update", "recommendation", "snapshot"}

TOO_FAR_IN_THE_PAST = says({"errors": ["Event too far in the past"]}, status=400)
FORBIDDEN_HTML = status(403)
TOO_LARGE = says({"errors": ["Payload too large"]}, status=413)
EMPTY_429 = Fault(status=429, headers={"Content-Type": "application/json"}, body=b"")
EMPTY_OBJECT_429 = says({}, status=429)


@dataclass(frozen=True)
class Seen:
    """One event as Datadog shows it."""

    id: int
    title: str
    text: str
    tags: tuple[str, ...]
    date_happened: int  # seconds since 1970
    aggregation_key: str
    alert_type: str
    priority: str = "normal"

    def tag(self, name: str) -> str:
        """The value of the tag `name`, or nothing."""
        return next((tag.partition(":")[2] for tag in self.tags if tag.startswith(f"{name}:")), "")


class FakeDatadog(FakeServer):
    """One organisation with one pair of keys."""

    def __init__(self, *, clock: Clock = utc_now, port: int = 0) -> None:
        super().__init__(clock=clock, port=port)
        self.revoked = False
        self.body_bytes_max = BODY_BYTES_MAX
        self.index_seconds = 0.0  # how long after it was taken an event can be found
        self._events: list[tuple[float, Seen]] = []

    @property
    def url(self) -> str:
        """What to set as the API's address."""
        return f"http://127.0.0.1:{self.port}"

    def seen(self) -> list[Seen]:
        """Every event a person can see, in the order in which they were taken."""
        with self.lock:
            return [event for _, event in self._events]

    def answer(self, request: Request) -> Answer:
        """Do one call of the API."""
        if request.header("DD-API-KEY") != API_KEY or self.revoked:
            return Answer({"errors": ["Forbidden"]}, 403)
        if request.path == "/api/v1/events" and request.verb == "POST":
            return self._create(request)
        if request.path == "/api/v1/events" and request.verb == "GET":
            return self._query(request)
        return Answer({"errors": ["Not found"]}, 404)

    def _create(self, request: Request) -> Answer:
        if request.size > self.body_bytes_max:
            return Answer({"errors": ["Payload too large"]}, 413)
        said, now = request.values, self.clock().timestamp()
        if problem := _problem(said, now):
            return Answer({"errors": [problem]}, 400)
        event = Seen(
            id=len(self._events) + 1,
            title=said["title"],
            text=said["text"],
            tags=tuple(said.get("tags") or ()),
            date_happened=int(said.get("date_happened") or now),
            aggregation_key=said.get("aggregation_key", ""),
            alert_type=said.get("alert_type", "info"),
            priority=said.get("priority") or "normal",
        )
        self._events.append((now, event))
        return Answer({"status": "ok", "event": _as_datadog(event)}, 202)

    def _query(self, request: Request) -> Answer:
        if request.header("DD-APPLICATION-KEY") != APP_KEY:
            return Answer({"errors": ["Forbidden"]}, 403)
        said, now = request.values, self.clock().timestamp()
        if "start" not in said or "end" not in said:
            return Answer({"errors": ["The parameters 'start' and 'end' are required"]}, 400)
        wanted = set(filter(None, str(said.get("tags", "")).split(",")))
        found = [
            _as_datadog(event)
            for taken, event in self._events
            if int(said["start"]) <= event.date_happened <= int(said["end"])
            and wanted <= set(event.tags)
            and abs(now - taken) >= self.index_seconds
        ]
        return Answer({"events": found})


def _as_datadog(event: Seen) -> dict[str, Any]:
    return {
        "id": event.id,
        "title": event.title,
        "text": event.text,
        "tags": list(event.tags),
        "date_happened": event.date_happened,
        "alert_type": event.alert_type,
        "priority": event.priority,
        "url": f"/event/event?id={event.id}",
    }


def _problem(said: dict[str, Any], now: float) -> str:
    happened = said.get("date_happened") or now
    problems = {
        "The required fields 'title' and 'text' are missing": not said.get("title") or not said.get("text"),
        "text too long": len(said.get("text", "")) > TEXT_MAX or len(said.get("title", "")) > TITLE_MAX,
        "aggregation_key too long": len(said.get("aggregation_key", "")) > AGGREGATION_KEY_MAX,
        "Invalid alert_type": said.get("alert_type", "info") not in ALERT_TYPES,
        "date_happened must be a number": not isinstance(happened, int | float),
        "Event too far in the past": isinstance(happened, int | float) and now - happened > OLDEST_SECONDS,
    }
    return next((problem for problem, found in problems.items() if found), "")


def main() -> None:
    """Show the events as they come."""
    fake = FakeDatadog(port=int(sys.argv[1]) if sys.argv[1:] else 0)
    serve_until_interrupted(fake, lambda: "\n".join(f"[{e.alert_type}] {e.title}" for e in fake.seen()) + "\n--")


if __name__ == "__main__":
    main()
