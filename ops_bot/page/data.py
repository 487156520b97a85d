"""What the page shows, asked of the ledger: each question bounded and answered by an index, however long it is."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, text

from ops_bot.events import ENDED, Kind, State, Story
from ops_bot.ledger import Ledger
from ops_bot.ledger.schema import events, micros

ROLLOUTS = (Kind.DEPLOY, Kind.ROLLBACK)
SERVICES = 24  # rows of the overview; more are found by environment
LANES = 10  # services on the timeline: those that something happened to last
_LOOK_BACK = {Kind.DEPLOY: 4, Kind.ROLLBACK: 2}  # rollouts looked at to learn what runs
_PER_LANE = {Kind.DEPLOY: 30, Kind.ROLLBACK: 10, Kind.ERROR: 12}
_ERRORS = 12
_UNDER_WAY = 8  # of each kind


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
    def images(self) -> set[str]:
        """The images its containers are made from."""
        return {story.image for story in self.rollouts if story.image} or {self.service}

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


@dataclass(frozen=True)
class Ask:
    """For the newest `limit` stories of one kind, one service, one environment, nothing older than `since`."""

    environment: str
    service: str
    kind: Kind
    limit: int
    since: datetime | None = None


def newest(ledger: Ledger, asks: Sequence[Ask]) -> list[list[Story]]:
    """The stories of each of `asks`, newest first, in one statement: a hundred small ones cost a hundred times that."""
    parts, values = [], dict[str, Any]()
    for number, ask in enumerate(asks):
        parts.append(
            f"SELECT {number} AS ask, body FROM (SELECT body FROM stories WHERE environment = :e{number} "  # noqa: S608
            f"AND service = :s{number} AND kind = :k{number} AND last_at >= :t{number} "
            f"ORDER BY last_at DESC, correlation DESC LIMIT {int(ask.limit)}) AS part{number}"
        )
        values |= {
            f"e{number}": ask.environment,
            f"s{number}": ask.service,
            f"k{number}": ask.kind.value,
            f"t{number}": micros(ask.since) if ask.since else 0,
        }
    found: list[list[Story]] = [[] for _ in asks]
    if asks:
        with ledger.read() as connection:
            for row in connection.execute(text(" UNION ALL ".join(parts)), values):
                found[row.ask].append(Story.model_validate_json(row.body))
    return found


def all_running(ledger: Ledger, places: Sequence[tuple[str, str]]) -> list[Running]:
    """What runs at each of `places`, (environment, service)."""
    asks = [Ask(*place, kind, _LOOK_BACK[kind]) for place in places for kind in ROLLOUTS]
    found = newest(ledger, asks)
    return [
        _running(place, [story for some in found[2 * number : 2 * number + 2] for story in some])
        for number, place in enumerate(places)
    ]


def _running(place: tuple[str, str], told: list[Story]) -> Running:
    rollouts = sorted(told, key=lambda story: (story.last_at, story.correlation), reverse=True)
    ended = [story for story in rollouts if story.state in ENDED]
    telling = next((story for story in ended if told_by(story)), None)
    serving = told_by(telling) if telling else {}
    tag = next(iter(serving), "")
    brought = next((story for story in ended if story.state == State.FINISHED and story.tag == tag), None)
    return Running(
        *place,
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
    found = [story for kind in kinds for story in ledger.stories(kind=kind, unfinished=True, limit=_UNDER_WAY)]
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
    """The stories of #operations, newest first, and in between those that it does not hear of."""
    return ledger.stories(environment, limit=limit)


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


def lanes(
    ledger: Ledger, running: Sequence[Running], since: datetime, builds: Sequence[Story], freezes: Sequence[Story]
) -> list[Lane]:
    """The history of each of `running` since `since`."""
    asks = [
        Ask(place.environment, place.service, kind, _PER_LANE[kind], since)
        for place in running
        for kind in (*ROLLOUTS, Kind.ERROR)
    ]
    found = newest(ledger, asks)
    drawn = []
    for number, place in enumerate(running):
        rollouts = sorted(found[3 * number] + found[3 * number + 1], key=lambda story: story.last_at)
        drawn.append(
            Lane(
                place.environment,
                place.service,
                rollouts,
                [story for story in builds if story.image in place.images or story.service == place.service],
                found[3 * number + 2],
                [story for story in freezes if story.environment == place.environment],
                _live_before(place, rollouts, since),
            )
        )
    return drawn


def _live_before(place: Running, rollouts: list[Story], since: datetime) -> str:
    """The tag that was live when the span began: what its first rollout came from, else what was brought before it."""
    if rollouts and rollouts[0].from_tag:
        return rollouts[0].from_tag
    older = [story for story in place.rollouts if story.last_at < since and story.state == State.FINISHED]
    return older[0].tag if older else ""


def version(ledger: Ledger, sinks: Sequence[SinkHealth]) -> str:
    """Something that differs when anything changed: what was recorded, and how the sinks are."""
    with ledger.read() as connection:
        newest = connection.scalar(select(func.max(events.c.row))) or 0
    states = "|".join(f"{sink.name} {sink.state} {sink.waiting} {sink.parked}" for sink in sinks)
    return f"{newest}.{zlib.crc32(states.encode()):x}"
