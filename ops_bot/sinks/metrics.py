"""Metrics, by DogStatsD: counted as stories turn, and a heartbeat. Lost without a trace when no agent listens, which is
why nothing but metrics goes this way."""

from collections.abc import Iterable
from datetime import datetime

from datadog.dogstatsd.base import DogStatsd

from ops_bot import metrics
from ops_bot.errors.groups import Group
from ops_bot.events import ENDED, Kind, State, Story
from ops_bot.ledger import Backlog
from ops_bot.metrics import Metric
from ops_bot.settings import Settings
from ops_bot.sinks.base import Job, Sent


class Metrics:
    """One DogStatsD agent."""

    name = "metrics"
    doubt_seconds = 0.0

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._statsd = DogStatsd(
            host=settings.statsd_host,
            port=settings.statsd_port,
            disable_telemetry=True,
            disable_buffering=True,  # each packet leaves at once: they are few
            disable_aggregation=True,
        )

    def wait_seconds(self, _delivery: object, _now: datetime) -> float:
        """A packet costs nobody anything."""
        return 0.0

    def reconcile(self, _job: Job, _now: datetime) -> Sent:
        """What may have been sent is not sent again: a deploy that never was misleads more than one that is missing."""
        return Sent({})

    def deliver(self, job: Job, _now: datetime) -> Sent:
        """Count it."""
        for metric, value in _values(job.story):
            self._send(metric, value, _tags(metric, job.story))
        return Sent({})

    def beat(self, backlogs: Iterable[tuple[str, Backlog]]) -> None:
        """Say that the bot lives, and what waits for each sink. To be called every ten seconds or so."""
        common = [f"env:{self._settings.environment_name}", "service:ops_bot"]
        self._send(metrics.HEARTBEAT, 1, common)
        for sink, backlog in backlogs:
            age = backlog.oldest.total_seconds() if backlog.oldest else 0.0
            self._send(metrics.OUTBOX_SIZE, backlog.count, [*common, f"sink:{sink}"])
            self._send(metrics.OUTBOX_OLDEST_AGE, age, [*common, f"sink:{sink}"])

    def count_errors(self, group: Group, seen: int) -> None:
        """Count errors as they are seen. Their events only come when the count has grown tenfold."""
        tags = {
            "env": group.environment,
            "service": group.service,
            "version": group.last_tag,
            "state": str(group.state),
        }
        self._send(metrics.ERRORS_COUNT, seen, [f"{name}:{value}" for name, value in tags.items() if value])

    def _send(self, metric: Metric, value: float, tags: list[str]) -> None:
        match metric.kind:
            case "count":
                self._statsd.increment(metric.name, value, tags=tags)
            case "gauge":
                self._statsd.gauge(metric.name, value, tags=tags)
            case "distribution":
                self._statsd.distribution(metric.name, value, tags=tags)


def _values(story: Story) -> list[tuple[Metric, float]]:
    if story.state not in ENDED:
        return []
    took = [] if story.duration_seconds is None else [story.duration_seconds]
    match story.kind:
        case Kind.DEPLOY:
            return [(metrics.DEPLOY_COUNT, 1), *((metrics.DEPLOY_DURATION, seconds) for seconds in took)]
        case Kind.ROLLBACK:
            return [(metrics.ROLLBACK_COUNT, 1)]
        case Kind.BUILD:
            return [(metrics.BUILD_DURATION, seconds) for seconds in took]
    return []


def _tags(metric: Metric, story: Story) -> list[str]:
    result = "undone" if story.state == State.FAILED and story.undone else str(story.state)
    values = {
        "env": story.environment,
        "service": story.service or story.image,
        "version": story.tag or story.last_tag,
        "result": result,
        "state": str(story.state),
    }
    return [f"{name}:{values[name]}" for name in metric.tags if values.get(name)]
