"""Groups of errors: what state one is in, as its errors come and stay away. Pure: time and releases are told.

    new ──────► ongoing ◄──► escalating        seen again and again; many more than in its own past
     └────────────┴──────────────┴──► resolved ──► regressed ──► ongoing …
                                      not seen for days, or not since another tag serves; and seen again

An episode begins when a group is new or regressed and ends when it is resolved: it is one story with one message.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from ops_bot.errors.fingerprint import Occurrence
from ops_bot.events import State

FRESH = timedelta(hours=24)  # how long a new or regressed group is called so; before, it has no past to escalate from
RESOLVED_AFTER = timedelta(days=7)  # without a single occurrence
PAST = timedelta(days=7)  # what a rate is compared with

# Escalating: more in an hour than three times the busiest hour of its past, and enough for a person to care.
_TIMES_BUSIEST = 3
_AT_LEAST = 20

# Another tag serves, and it has not been seen for as long as ten of its usual intervals: then that tag resolved it.
_INTERVALS = 10
_PATIENCE = (timedelta(hours=1), timedelta(days=7))
_PATIENCE_WITH_ONE = timedelta(days=1)

_HOSTS = 50
_TAIL = 4_000  # characters of what was logged


@dataclass(frozen=True)
class Seen:
    """Occurrences of one group in one batch of lines, counted together."""

    first: Occurrence
    last: Occurrence
    count: int
    hosts: frozenset[str]
    hours: dict[int, int]  # hour since 1970 to how many

    @classmethod
    def of(cls, occurrences: Iterable[Occurrence]) -> "Seen":
        """Count `occurrences` of one group, at least one."""
        found = sorted(occurrences, key=lambda one: one.at)
        hours: dict[int, int] = {}
        for one in found:
            hours[hour_of(one.at)] = hours.get(hour_of(one.at), 0) + 1
        return cls(
            found[0],
            found[-1],
            len(found),
            frozenset(one.host for one in found if one.host),
            hours,
        )


@dataclass(frozen=True)
class Group:
    """One group of errors, and what was told of it."""

    fingerprint: str
    environment: str
    service: str
    title: str
    culprit: str
    state: State
    episode: int
    count: int  # in this episode
    total: int  # in all of them
    first_at: datetime
    first_tag: str
    last_at: datetime
    last_tag: str
    began_at: datetime  # the episode
    hosts: tuple[str, ...] = ()
    sample: str = ""
    hours: dict[int, int] = field(default_factory=dict)
    bar: int = 0  # escalating: how many an hour would have been no more than before
    turned_at: datetime | None = None  # into escalating, or resolved
    told: int = 0  # the count that was told last
    sequence: int = 0  # of the event that told it
    rollout: str = ""  # correlation of the rollout this episode is attached to

    @property
    def correlation(self) -> str:
        """The story that this episode is."""
        return f"error:{self.fingerprint}:{self.episode}"


@dataclass(frozen=True)
class Change:
    """Something to tell: the group turned into `group.state`, or, not `turned`, its count came to the next step."""

    group: Group
    turned: bool
    added: int  # occurrences since the last time it was told
    reason: str = ""


@dataclass(frozen=True)
class Serving:
    """The tag that a service was last moved to, and when that had ended."""

    tag: str
    since: datetime


def hour_of(at: datetime) -> int:
    """Return the hours since 1970."""
    return int(at.timestamp() // 3600)


def step(count: int) -> int:
    """Return the largest of 1, 10, 100, … that is not more than `count`, at least 1."""
    return 10 ** (len(str(count)) - 1) if count > 0 else 0


def observe(group: Group | None, seen: Seen, environment: str, fingerprint: str) -> tuple[Group, Change | None]:
    """Return the group after `seen`, and what is to be told of it. `group` is what was known, None for nothing."""
    if group is None:
        return _told(_new(seen, environment, fingerprint))
    if group.state == State.RESOLVED and group.turned_at and seen.last.at > group.turned_at:
        return _told(_regressed(group, seen))
    return _counted(group, seen)


def _new(seen: Seen, environment: str, fingerprint: str) -> Group:
    first = seen.first
    return Group(
        fingerprint=fingerprint,
        environment=environment,
        service=first.service,
        title=first.title,
        culprit=first.culprit,
        state=State.NEW,
        episode=1,
        count=seen.count,
        total=seen.count,
        first_at=first.at,
        first_tag=first.tag,
        last_at=seen.last.at,
        last_tag=seen.last.tag,
        began_at=first.at,
        hosts=tuple(sorted(seen.hosts)[:_HOSTS]),
        sample=_tail(first.sample),
        hours=dict(seen.hours),
    )


def _regressed(group: Group, seen: Seen) -> Group:
    return replace(
        _merged(group, seen),
        state=State.REGRESSED,
        episode=group.episode + 1,
        count=seen.count,
        began_at=seen.first.at,
        hosts=tuple(sorted(seen.hosts)[:_HOSTS]),
        sample=_tail(seen.first.sample),
        turned_at=None,
        told=0,
        sequence=0,
        rollout="",
    )


def _counted(group: Group, seen: Seen) -> tuple[Group, Change | None]:
    now = seen.last.at
    after = _merged(group, seen)
    if group.state in (State.NEW, State.REGRESSED) and now - group.began_at >= FRESH:
        return _told(replace(after, state=State.ONGOING))
    if group.state == State.ONGOING:
        latest = hour_of(now)
        past = [many for hour, many in group.hours.items() if hour < latest]
        bar = max(_AT_LEAST, _TIMES_BUSIEST * max(past, default=0))
        if after.hours.get(latest, 0) > bar:
            return _told(replace(after, state=State.ESCALATING, bar=bar, turned_at=now))
    if step(after.count) > step(group.told):
        return _told(after, turned=False)
    return after, None


def _merged(group: Group, seen: Seen) -> Group:
    newer = seen.last.at >= group.last_at
    oldest = hour_of(seen.last.at - PAST)
    hours = {hour: many for hour, many in group.hours.items() if hour >= oldest}
    for hour, many in seen.hours.items():
        hours[hour] = hours.get(hour, 0) + many
    return replace(
        group,
        count=group.count + seen.count,
        total=group.total + seen.count,
        last_at=max(group.last_at, seen.last.at),
        last_tag=(seen.last.tag or group.last_tag) if newer else group.last_tag,
        first_at=min(group.first_at, seen.first.at),
        first_tag=group.first_tag or seen.first.tag,
        hosts=tuple(sorted({*group.hosts, *seen.hosts})[:_HOSTS]),
        hours=hours,
    )


def rest(group: Group, now: datetime, serving: Serving | None) -> tuple[Group, Change | None]:
    """Return the group as it is at `now` when nothing more was seen, and what is to be told of that."""
    if group.state == State.RESOLVED:
        return group, None
    if now - group.last_at >= RESOLVED_AFTER:
        return _resolved(group, now, f"not seen for {RESOLVED_AFTER.days} days")
    if (
        serving
        and group.last_tag not in ("", serving.tag)
        and serving.since > group.last_at
        and now - serving.since >= patience(group)
    ):
        return _resolved(group, now, f"not seen since {serving.tag} serves")
    if group.state == State.ESCALATING and group.turned_at and now - group.turned_at >= timedelta(hours=1):
        latest = hour_of(now)
        if max(group.hours.get(hour, 0) for hour in (latest - 1, latest)) <= group.bar:
            return _told(replace(group, state=State.ONGOING, turned_at=None, bar=0), reason="as many as before again")
    return group, None


def patience(group: Group) -> timedelta:
    """Return how long a group must stay away under another tag to be taken for resolved."""
    if group.count < 2:
        return _PATIENCE_WITH_ONE
    interval = (group.last_at - group.began_at) / (group.count - 1)
    return min(max(interval * _INTERVALS, _PATIENCE[0]), _PATIENCE[1])


def _resolved(group: Group, now: datetime, reason: str) -> tuple[Group, Change | None]:
    return _told(replace(group, state=State.RESOLVED, turned_at=now, bar=0), reason=reason)


def _told(group: Group, *, turned: bool = True, reason: str = "") -> tuple[Group, Change]:
    after = replace(group, told=group.count, sequence=group.sequence + 1)
    return after, Change(after, turned, added=group.count - group.told, reason=reason)


def _tail(text: str) -> str:
    return text if len(text) <= _TAIL else "…" + text[1 - _TAIL :]
