"""Every metric the ops bot sends to Datadog, as data: what is emitted, and what dashboards and monitors may ask for.

Whoever emits looks a metric up here, and a test holds every query of `dashboards/` against this list, so that no widget
waits for a metric that nothing sends. All of them carry the unified tags `env` and `service`; those about a release
carry `version`, which is its tag.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """One metric: `kind` is the DogStatsD call that sends it, `unit` what one of it is, `tags` the keys it carries."""

    name: str
    kind: Literal["count", "gauge", "distribution"]
    unit: str
    tags: tuple[str, ...]
    meaning: str


DEPLOY_COUNT = Metric(
    "tagboat.deploy.count",
    "count",
    "deploy",
    ("env", "service", "version", "result"),
    "Deploys that ended; result is finished, failed, undone or lost",
)
DEPLOY_DURATION = Metric(
    "tagboat.deploy.duration",
    "distribution",
    "second",
    ("env", "service", "version", "result"),
    "From the start of a deploy to its end",
)
ROLLBACK_COUNT = Metric(
    "tagboat.rollback.count",
    "count",
    "rollback",
    ("env", "service", "version", "result"),
    "Rollbacks that ended; version is the tag gone back to",
)
BUILD_DURATION = Metric(
    "tagboat.build.duration",
    "distribution",
    "second",
    ("env", "service", "version", "result"),
    "From the start of a build to its end; service is the image's name",
)
ERRORS_COUNT = Metric(
    "tagboat.errors.count",
    "count",
    "error",
    ("env", "service", "version", "state"),
    "Errors as they are seen in the journals; state is that of their group",
)
OUTBOX_SIZE = Metric(
    "tagboat.outbox.size",
    "gauge",
    "message",
    ("env", "service", "sink"),
    "Deliveries a sink still owes; service is ops_bot",
)
OUTBOX_OLDEST_AGE = Metric(
    "tagboat.outbox.oldest_age",
    "gauge",
    "second",
    ("env", "service", "sink"),
    "How long the oldest delivery of a sink has been waiting; 0 when nothing waits",
)
HEARTBEAT = Metric(
    "tagboat.heartbeat",
    "gauge",
    "",
    ("env", "service"),
    "1, as long as the bot lives: its absence is the alarm",
)

METRICS = {
    metric.name: metric
    for metric in (
        DEPLOY_COUNT,
        DEPLOY_DURATION,
        ROLLBACK_COUNT,
        BUILD_DURATION,
        ERRORS_COUNT,
        OUTBOX_SIZE,
        OUTBOX_OLDEST_AGE,
        HEARTBEAT,
    )
}
