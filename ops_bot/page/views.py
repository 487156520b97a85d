"""The pages: a request, some bounded questions to the ledger, a template."""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from ops_bot.events import ENDED, Kind, State, Story
from ops_bot.ledger import Ledger, LedgerError
from ops_bot.messages import happened, headline, render, words
from ops_bot.messages.compose import LOG_LIMIT
from ops_bot.messages.html import html
from ops_bot.page import data, say, timeline
from ops_bot.page.shelf import Shelf
from ops_bot.settings import Settings
from ops_bot.sinks.plan import is_quiet
from ops_bot.text import clean

_FEED = 10
_FEED_PAGE = 30
_HISTORY_PAGE = 50
_EVENTS_SHOWN = 200
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


class NotThere(Exception):
    """What was asked for does not exist."""


class Views:
    """The endpoints of the page. They run in threads of starlette's: each asks the ledger and waits for it."""

    def __init__(self, ledger: Ledger, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._ledger, self._settings, self._clock = ledger, settings, clock
        self._zone = ZoneInfo(settings.time_zone)
        self._pages, self._messages_made = Shelf(32), Shelf(256)

    def home(self, request: Request) -> Response:
        """Everything at a glance."""
        return self._page(request, "home.html", self._home)

    def feed(self, request: Request) -> Response:
        """#operations, further back."""
        return self._page(request, "feed.html", self._feed)

    def history(self, request: Request) -> Response:
        """All that happened, or what happened to one service in one environment."""
        return self._page(request, "history.html", self._history)

    def story(self, request: Request) -> Response:
        """One story, event by event."""
        return self._page(request, "story.html", self._story)

    def static(self, request: Request) -> Response:
        """Style and script, cached for good under the hash in their address."""
        found = _static(request.path_params["name"])
        if found is None:
            return PlainTextResponse("There is no such file.\n", 404)
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response(found, media_type=_TYPES[request.path_params["name"].rpartition(".")[2]], headers=headers)

    def _page(
        self, request: Request, template: str, ask: Callable[[Request, datetime], dict[str, Any] | None]
    ) -> Response:
        now = self._clock()
        try:
            sinks = data.health(self._ledger, self._settings.sinks)
            # Once a minute it is another page: freezes run out, the timeline moves on.
            tag = f'"{data.version(self._ledger, sinks)}.{int(now.timestamp()) // 60}"'
            if request.headers.get("if-none-match") == tag:
                return Response(status_code=304, headers={"ETag": tag})

            def made() -> str:
                facts = ask(request, now)
                if facts is None:
                    raise NotThere
                return self._rendered(template, now, {"sinks": sinks} | facts)

            shown = self._pages.get((request.url.path, request.url.query, tag), made)
        except LedgerError as error:
            return HTMLResponse(self._rendered("problem.html", now, {"problem": str(error)}), 503)
        except NotThere:
            return HTMLResponse(self._rendered("problem.html", now, {"problem": "There is no such story."}), 404)
        return HTMLResponse(shown, headers={"ETag": tag})

    def _rendered(self, template: str, now: datetime, facts: dict[str, Any]) -> str:
        known = {
            "ago": self._ago,
            "page_name": "",
            "channel": self._settings.slack_channel,
            "moment": self._moment,
            "now": now,
            "posted": bool(self._settings.slack_token),
        }
        return _templates().get_template(template).render(known | facts)

    def _home(self, request: Request, now: datetime) -> dict[str, Any]:
        environment = request.query_params.get("environment") or None
        span = request.query_params.get("span", "24h")
        span = span if span in timeline.SPANS else "24h"
        since = now - timeline.SPANS[span]
        environments, places = data.places(self._ledger, environment)
        running = data.all_running(self._ledger, places)
        under_way = data.under_way(self._ledger, environment)
        freezes = data.frozen(self._ledger, environment, now)
        errors = data.open_errors(self._ledger, environment)
        return {
            "environment": environment,
            "environments": environments,
            "span": span,
            "spans": list(timeline.SPANS),
            "link": lambda **changed: _link({"environment": environment, "span": span} | changed),
            "running": running,
            "under_way": [(story, words.switched(story)) for story in under_way],
            "freezes": freezes,
            "alerts": [
                (story, headline(story, now=now, settings=self._settings)) for story in data.open_alerts(self._ledger)
            ],
            "errors": [(story, say.is_left_behind(story, running)) for story in errors],
            "summary": say.summary(running, under_way, errors),
            "lanes": self._lanes(running, since, now),
            "ticks": timeline.ticks(since.astimezone(self._zone), now.astimezone(self._zone)),
            "messages": self._messages(data.feed(self._ledger, environment, _FEED), now),
        }

    def _lanes(self, running: list[data.Running], since: datetime, now: datetime) -> list[dict[str, Any]]:
        builds = self._ledger.stories(kind=Kind.BUILD, since=since, limit=100)
        freezes = self._ledger.stories(kind=Kind.FREEZE, since=since - timedelta(days=7), limit=50)
        busiest = sorted(running, key=lambda place: place.newest.last_at if place.newest else since, reverse=True)
        chosen = {id(place) for place in busiest[: data.LANES]}
        shown = [place for place in running if id(place) in chosen]
        lanes = []
        for place, lane in zip(shown, data.lanes(self._ledger, shown, since, builds, freezes), strict=True):
            drawn = timeline.draw(lane, since, now)
            marks = [
                {
                    "at": mark.at,
                    "sort": mark.sort,
                    "path": story_path(mark.stories[-1]),
                    "title": self._titled(mark),
                }
                for mark in drawn.marks
            ]
            lanes.append({"place": place, "bars": drawn.bars, "marks": marks})
        return lanes

    def _titled(self, mark: timeline.Mark) -> str:
        newest = mark.stories[-1]
        what = newest.title or " ".join(filter(None, (newest.kind, newest.tag, newest.state)))
        told = f"{words.in_zone(newest.last_at, self._zone):%b %-d, %H:%M:%S} {what}"
        told += f" at “{newest.step}”" if newest.state == State.FAILED and newest.step else ""
        told += f", by {newest.actor}" if newest.actor else ""
        more = len(mark.stories) - 1
        return f"{told} (and {more} more)" if more else told

    def _feed(self, _request: Request, now: datetime) -> dict[str, Any]:
        return {"messages": self._messages(data.feed(self._ledger, None, _FEED_PAGE), now)}

    def _messages(self, stories: list[Story], now: datetime) -> list[dict[str, Any]]:
        slack = self._settings.slack_token is not None
        return [
            {"story": story, "quiet": happened(story, now=now, settings=self._settings)}
            if is_quiet(story)
            else self._told(story, now) | {"quiet": "", "waits": slack and data.waits(self._ledger, "slack", story)}
            for story in stories
        ]

    def _told(self, story: Story, now: datetime) -> dict[str, Any]:
        def made() -> str:
            message = render(story, now=now, settings=self._settings)
            return html(message.blocks, message.text, self._moment)

        # Of what is under way, how long it takes is part of the message.
        if story.expected_seconds and story.state not in ENDED:
            return {"story": story, "html": made()}
        today = now.astimezone(self._zone).date()
        key = (story.correlation, story.id, story.updates, story.last_at, today)
        return {"story": story, "html": Markup(self._messages_made.get(key, made))}  # noqa: S704  (made above)

    def _history(self, request: Request, now: datetime) -> dict[str, Any] | None:
        environment, service = request.query_params.get("environment"), request.query_params.get("service")
        before = _cursor(request.query_params.get("before", ""))
        found = self._ledger.stories(environment, service, limit=_HISTORY_PAGE + 1, before=before)
        shown = found[:_HISTORY_PAGE]
        if service and not shown and before is None:
            return None
        last = f"{shown[-1].last_at.isoformat()} {shown[-1].correlation}" if shown else ""
        return {
            "environment": environment,
            "service": service,
            "place": data.all_running(self._ledger, [(environment or "", service)])[0] if service else None,
            "lines": [(story, happened(story, now=now, settings=self._settings)) for story in shown],
            "more": history_path(environment, service, before=last) if len(found) > len(shown) else "",
            "first": before is None,
        }

    def _story(self, request: Request, now: datetime) -> dict[str, Any] | None:
        story = self._ledger.story(request.path_params["correlation"])
        if story is None:
            return None
        events = self._ledger.events(story.correlation)
        return {
            **self._told(story, now),
            "line": happened(story, now=now, settings=self._settings),
            "log_is_cut": len(story.log_tail) > LOG_LIMIT,
            "events": events[-_EVENTS_SHOWN:],
            "left_out": max(0, len(events) - _EVENTS_SHOWN),
            "deliveries": self._ledger.deliveries(correlation=story.correlation, limit=50),
        }

    def _moment(self, when: datetime) -> Markup:
        local = words.in_zone(when, self._zone)
        form = "%H:%M:%S" if local.date() == self._clock().astimezone(self._zone).date() else "%b %-d, %H:%M:%S"
        return _time(when, local, f"{local:{form}}")

    def _ago(self, when: datetime) -> Markup:
        seconds = (self._clock() - when).total_seconds()
        said = f"{words.about(seconds)} ago" if seconds >= 0 else f"in {words.about(-seconds)}"
        return Markup(str(_time(when, words.in_zone(when, self._zone), said)).replace("<time ", "<time data-ago ", 1))  # noqa: S704


@cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("ops_bot.page"),
        autoescape=True,
        finalize=_cleaned,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"about": words.about, "counted": words.counted, "mood": say.mood, "path": story_path}
    made.globals |= {"asset": _asset, "history_path": history_path}
    return made


def _cleaned(value: object) -> object:
    """What a template prints, without characters that turn text round or hide in it; Jinja escapes it afterwards."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _time(when: datetime, local: datetime, said: str) -> Markup:
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        when.isoformat(timespec="seconds"), f"{local:%Y-%m-%d %H:%M:%S %Z}", said
    )


def story_path(story: Story) -> str:
    """Where a story is told in full."""
    return "/stories/" + quote(story.correlation, safe=":")


def history_path(environment: str | None = None, service: str | None = None, before: str = "") -> str:
    """Where the history of a service is, or that of everything."""
    asked = {"environment": environment, "service": service, "before": before or None}
    query = urlencode({key: value for key, value in asked.items() if value is not None})
    return f"/history?{query}" if query else "/history"


def _link(chosen: dict[str, str | None]) -> str:
    query = urlencode({key: value for key, value in chosen.items() if value and value != "24h"})
    return f"/?{query}" if query else "/"


def _cursor(said: str) -> tuple[datetime, str] | None:
    at, _, correlation = said.partition(" ")
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return None
    return (moment, correlation) if moment.tzinfo else None


@cache
def _static(name: str) -> bytes | None:
    if name not in ("page.css", "live.js", "icon.svg"):
        return None
    return files("ops_bot.page").joinpath("static", name).read_bytes()


@cache
def _asset(name: str) -> str:
    return f"/static/{name}?{hashlib.sha256(_static(name) or b'').hexdigest()[:12]}"
