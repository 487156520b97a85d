"""Datadog: one event for each turn of a story, grouped by the story, never older than Datadog takes."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from datadog.api.events import Event

from ops_bot.events import Story
from ops_bot.messages import headline, page_of
from ops_bot.scrub import scrub
from ops_bot.settings import Settings
from ops_bot.sinks import datadog_http
from ops_bot.sinks.base import (
    Absent,
    Ambiguous,
    Bucket,
    Failure,
    Job,
    Outcome,
    Pause,
    Refused,
    Retry,
    Sent,
    retry_after_seconds,
)
from ops_bot.sinks.datadog_http import RefusedByDatadog
from ops_bot.sinks.datadog_text import body, tag_value
from ops_bot.sinks.deadline import still_wanted
from ops_bot.sinks.network import never_left

log = logging.getLogger(__name__)

# Datadog takes 18 h ("Event too far in the past"); clocks differ, and requests wait in queues.
OLDEST = timedelta(hours=17)
# 250,000 a minute are allowed to an organisation: this is manners, not need.
EVENTS_PER_SECOND, EVENTS_AT_ONCE = 20.0, 20
_MARGIN = timedelta(hours=24)  # between clocks: ours, theirs, the sender's, and ours before it was set

Answer = dict[str, Any] | RefusedByDatadog | Retry | Ambiguous


class Datadog:
    """One organisation. With an application key, an attempt in doubt is looked up; without, it is sent again.

    Sent again, the second one has the same `event_id` tag and is grouped with the first by its aggregation key.
    """

    name = "datadog"
    doubt_seconds = 30.0  # what was taken can be searched for by then

    def __init__(self, settings: Settings, *, timeout_seconds: float = datadog_http.TIMEOUT_SECONDS) -> None:
        if settings.datadog_api_key is None:
            raise ValueError("Datadog needs OPS_BOT_DATADOG_API_KEY")
        self._settings = settings
        self._api_key = settings.datadog_api_key.get_secret_value()
        self._app_key = settings.datadog_app_key.get_secret_value() if settings.datadog_app_key else ""
        self._timeout_seconds = timeout_seconds
        self._pace = Bucket(EVENTS_PER_SECOND, EVENTS_AT_ONCE)

    def wait_seconds(self, _delivery: object, now: datetime) -> float:
        """All events share one pace."""
        return self._pace.wait_seconds(now)

    def deliver(self, job: Job, now: datetime) -> Outcome:
        """Create the event, as of when it happened; as of now when that is too long ago for Datadog."""
        if job.delivery.ref is not None:  # asked for again: only if it is not there
            looked = self.reconcile(job, now)
            if not isinstance(looked, Absent):
                return looked
        self._pace.take(now)
        late = now - job.story.last_at > OLDEST
        outcome = self._create(job, now, late=late, simple=False)
        if isinstance(outcome, RefusedByDatadog) and "past" in outcome.body and not late:
            late = True  # their clock says so
            outcome = self._create(job, now, late=late, simple=False)
        if isinstance(outcome, RefusedByDatadog) and outcome.status in (400, 413):
            log.warning("Datadog refused %s: %s", job.delivery.key, outcome)
            outcome = self._create(job, now, late=late, simple=True)
        return self._judge(outcome, now) if isinstance(outcome, RefusedByDatadog) else outcome

    def reconcile(self, job: Job, now: datetime) -> Sent | Absent | Failure:
        """Search for the event by its id."""
        if not self._app_key:
            return Absent()
        tried = job.delivery.attempt_started or job.delivery.waiting_since
        start = max(job.story.last_at, tried - OLDEST) - _MARGIN
        end = max(job.story.last_at, tried, now) + _MARGIN
        wanted = f"event_id:{tag_value(job.delivery.key)}"
        answer = self._call(
            lambda: Event.query(start=start.timestamp(), end=end.timestamp(), tags=[wanted], unaggregated="true")
        )
        if isinstance(answer, RefusedByDatadog):
            judged = self._judge(answer, now)
            return Retry(str(answer)) if isinstance(judged, Refused) else judged
        if not isinstance(answer, dict):
            return answer
        events = answer.get("events")
        if not isinstance(events, list):
            return Ambiguous("Datadog answered a search with no list of events")
        found = [event for event in events if isinstance(event, dict) and wanted in event.get("tags", ())]
        return Sent({"id": found[0].get("id")}) if found else Absent()

    def _create(self, job: Job, now: datetime, *, late: bool, simple: bool) -> Sent | RefusedByDatadog | Failure:
        wanted = body(
            job.story,
            job.delivery.key,
            now if late else job.story.last_at,
            title=_title(job.story, now, self._settings),
            page=page_of(job.story, self._settings),
            late=late,
            simple=simple,
        )
        answer = self._call(lambda: Event.create(attach_host_name=False, **wanted))
        if not isinstance(answer, dict):
            return answer
        event = answer.get("event")
        # `{}`, `None` and "errors" arrive here as well: only this is a success.
        if answer.get("status") != "ok" or not isinstance(event, dict) or not event.get("id"):
            return Ambiguous("Datadog answered, and not that it is ok")
        return Sent({"id": event["id"]})

    def _call(self, ask: Callable[[], Any]) -> Answer:
        if not still_wanted():
            return Ambiguous("no time is left")
        datadog_http.configure(self._settings.datadog_url, self._api_key, self._app_key, self._timeout_seconds)
        try:
            answer = ask()
        except RefusedByDatadog as refusal:
            return refusal
        except Exception as error:  # the library lets through whatever urllib, http.client and json raise
            said = scrub(f"{type(error).__name__}: {error}")[:300]
            return Retry(said) if never_left(error) else Ambiguous(said)
        return answer if isinstance(answer, dict) else {}

    def _judge(self, refusal: RefusedByDatadog, now: datetime) -> Failure:
        said = scrub(str(refusal))
        after = retry_after_seconds(refusal.headers.get("retry-after"), now)
        if refusal.status == 429:
            # Seconds until the period begins anew (docs.datadoghq.com/api/latest/rate-limits).
            return Retry(said, after or retry_after_seconds(refusal.headers.get("x-ratelimit-reset"), now))
        if refusal.status in (401, 403):
            return Pause(f"{said}: set OPS_BOT_DATADOG_API_KEY (and _APP_KEY) to keys that are valid at this site")
        if refusal.status in (400, 413):
            return Refused(said)
        if refusal.status in (404, 405) or 300 <= refusal.status < 400:
            return Pause(f"{said}: is OPS_BOT_DATADOG_URL the address of your site's API?")
        if refusal.status == 408 or refusal.status >= 500:
            return Ambiguous(said, after)
        return Retry(said, alone=True)


def _title(story: Story, now: datetime, settings: Settings) -> str:
    try:
        return headline(story, now=now, settings=settings)
    except Exception:  # an event that looks poor is told; one that is not told is lost
        log.exception("%s could not be rendered", story.correlation)
        return f"{story.environment} {story.service or story.image} {story.tag} {story.kind} {story.state}"
