"""What the page shows, asked of the ledger: each question bounded and answered by an index, however long it is."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import func, select

from ops_bot.events import ENDED, Kind, State, Story
from ops_bot.ledger import Ledger
from ops_bot.ledger.schema import events

ROLLOUTS = (Kind.DEPLOY, Kind.ROLLBACK)
SERVICES = 24  # rows of the overview; more are found by environment
LANES = 10  # services on the timeline: those that something happened to last
_LOOK_BACK = {Kind.DEPLOY: 4, Kind.ROLLBACK: 2}  # rollouts looked at to learn what runs
_PER_LANE = {Kind.DEPLOY: 30, Kind.ROLLBACK: 10, Kind.ERROR: 12}
_ERRORS = 12


@dataclass(frozen=True)
class Running:
    """What runs of one service in one environment, as the newest rollouts that ended told it."""

    environment: str
    service: str
    serving: dict[str, list[str]] = field(default_factory=dict)  # tag to the hosts that serve it
    silent: list[str] = field(default_factory=list)  # hosts that did not say
    brought_by: Story | None = None  # the rollout that brought the tag
    newest: Story | None = None  # the newest rollout, whatever came of it
    rollouts: list[Story] = field(default_factory=list)  # newest first

    @property
    def mixed(self) -> bool:
        """Whether users see more than one release."""
        return len(self.serving) > 1


@dataclass(frozen=True)
class SinkHealth:
    """How one sink is."""

    name: str
    state: str
    reason: str
    since: datetime | None
    until: datetime | None
    waiting: int
    oldest: timedelta | None
    parked: int


@dataclass(frozen=True)
class Lane:
    """The history of one service within a span of time, oldest first."""

    environment: str
    service: str
    rollouts: list[Story]
    builds: list[Story]
    errors: list[Story]
    freezes: list[Story]
    before: str = ""  # the tag that was live when the span began


def places(ledger: Ledger, environment: str | None) -> tuple[list[str], list[tuple[str, str]]]:
    """All environments, and the (environment, service) pairs of the one that was asked for."""
    found = ledger.services()
    environments = sorted({place[0] for place in found if place[0]})
    return environments, [place for place in found if environment in (None, place[0])][:SERVICES]


def running(ledger: Ledger, environment: str, service: str) -> Running:
    """What runs of `service` in `environment`."""
    rollouts = sorted(
        (story for kind in ROLLOUTS for story in ledger.stories(environment, service, kind, limit=_LOOK_BACK[kind])),
        key=lambda story: (story.last_at, story.correlation),
        reverse=True,
    )
    ended = [story for story in rollouts if story.state in ENDED]
    telling = next((story for story in ended if told_by(story)), None)
    serving = told_by(telling) if telling else {}
    tag = next(iter(serving), "")
    brought = next((story for story in ended if story.state == State.FINISHED and story.tag == tag), None)
    return Running(
        environment,
        service,
        serving,
        [host.name for host in telling.hosts if not host.tag] if telling else [],
        brought,
        rollouts[0] if rollouts else None,
        rollouts,
    )


def told_by(story: Story) -> dict[str, list[str]]:
    """What `story` says is serving. A rollout that succeeded and named no hosts still says which tag is live."""
    if story.serving:
        return story.serving
    return {story.tag: []} if story.state == State.FINISHED and story.tag else {}


def under_way(ledger: Ledger, environment: str | None) -> list[Story]:
    """Builds, rollouts and scalings that have not ended."""
    kinds = (Kind.DEPLOY, Kind.ROLLBACK, Kind.SCALE, Kind.BUILD)
    found = [story for kind in kinds for story in ledger.stories(kind=kind, unfinished=True, limit=8)]
    return [story for story in found if environment in (None, story.environment) or story.kind == Kind.BUILD]


def frozen(ledger: Ledger, environment: str | None, now: datetime) -> list[Story]:
    """Freezes in force."""
    found = ledger.stories(environment, kind=Kind.FREEZE, unfinished=True, limit=8)
    return [story for story in found if story.until is None or story.until > now]


def open_errors(ledger: Ledger, environment: str | None) -> list[Story]:
    """Error groups that are not resolved, the newest first."""
    return ledger.stories(environment, kind=Kind.ERROR, unfinished=True, limit=_ERRORS)


def open_alerts(ledger: Ledger) -> list[Story]:
    """What the bot says of itself and has not taken back."""
    return ledger.stories(kind=Kind.ALERT, unfinished=True, limit=4)


def feed(ledger: Ledger, environment: str | None, limit: int) -> list[Story]:
    """The stories of #operations, newest first."""
    found = ledger.stories(environment, limit=limit * 2)
    # A build is told of in the channel when it failed, or for the first time after one that did.
    return [story for story in found if not is_quiet(story)][:limit]


def is_quiet(story: Story) -> bool:
    """Whether the channel does not hear of `story`: a build that went well is told by the deploy of what it built."""
    recovered = bool((story.model_extra or {}).get("recovered"))
    return story.kind == Kind.BUILD and story.state not in (State.FAILED, State.LOST) and not recovered


def waits(ledger: Ledger, sink: str, story: Story) -> bool:
    """Whether `sink` does not show the newest state of `story` yet."""
    return any(delivery.pending for delivery in ledger.deliveries(sink, correlation=story.correlation))


def health(ledger: Ledger, names: Sequence[str]) -> list[SinkHealth]:
    """How the sinks are."""
    found = []
    for name in names:
        state, backlog = ledger.health(name), ledger.backlog(name)
        found.append(
            SinkHealth(
                name, state.state, state.reason, state.since, state.until, backlog.count, backlog.oldest, backlog.parked
            )
        )
    return found


def lane(ledger: Ledger, place: Running, since: datetime, builds: Sequence[Story], freezes: Sequence[Story]) -> Lane:
    """The history of `place` since `since`."""

    def within(kind: Kind) -> list[Story]:
        known = [story for story in place.rollouts if story.kind == kind]
        if kind != Kind.ERROR and (len(known) < _LOOK_BACK[kind] or known[-1].last_at < since):
            return [story for story in known if story.last_at >= since]
        return ledger.stories(place.environment, place.service, kind, since=since, limit=_PER_LANE[kind])

    rollouts = [story for kind in ROLLOUTS for story in within(kind)]
    images = {story.image for story in place.rollouts if story.image} or {place.service}
    older = [story for story in place.rollouts if story.last_at < since and story.state == State.FINISHED]
    rollouts.sort(key=lambda story: story.last_at)
    return Lane(
        place.environment,
        place.service,
        rollouts,
        [story for story in builds if story.image in images or story.service == place.service],
        within(Kind.ERROR),
        [story for story in freezes if story.environment == place.environment],
        older[0].tag if older else next((story.from_tag for story in rollouts), ""),
    )


def version(ledger: Ledger, sinks: Sequence[SinkHealth]) -> str:
    """Something that differs when anything changed: what was recorded, and how the sinks are."""
    with ledger.read() as connection:
        newest = connection.scalar(select(func.max(events.c.row))) or 0
    states = "|".join(f"{sink.name} {sink.state} {sink.waiting} {sink.parked}" for sink in sinks)
    return f"{newest}.{zlib.crc32(states.encode()):x}"
