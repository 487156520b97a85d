"""What a batch of occurrences teaches, inside a transaction: groups change, and what matters of that becomes events."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from ops_bot.errors import rollouts, store
from ops_bot.errors.fingerprint import Occurrence
from ops_bot.errors.groups import Change, Group, Seen, observe, rest
from ops_bot.errors.rollouts import Rollout
from ops_bot.events import Event, HostState, Kind, State

# More kinds of errors than this within the time, and the rest of them is one group: nobody reads a hundred messages.
MANY = 20
MANY_WITHIN = timedelta(minutes=10)


class Lesson:
    """One transaction's view of groups and rollouts; the events that come of it, and how often each group was seen."""

    def __init__(self, connection: Connection, environment: str, now: datetime) -> None:
        self._connection = connection
        self._environment = environment
        self._now = now
        self._rollouts: dict[str, list[Rollout]] = {}
        self.events: list[Event] = []
        self.counted: list[tuple[Group, int]] = []

    def learn(self, occurrences: Sequence[Occurrence]) -> None:
        """Count `occurrences` in their groups."""
        sorted_in = self._sorted(occurrences)
        known = store.load(self._connection, self._environment, sorted_in)
        changed = []
        for fingerprint, found in sorted_in.items():
            before = known.get(fingerprint)
            group, change = observe(before, Seen.of(found), self._environment, fingerprint)
            self.counted.append((group, len(found)))
            if change:
                group = self._tell(change, group.last_at)
            changed.append(group)
        store.save(self._connection, changed)

    def rest(self) -> None:
        """Look at the groups that nothing was seen of."""
        changed = []
        for before in store.unresolved(self._connection, self._environment):
            served = rollouts.serving(self._rollouts_of(before.service))
            _, change = rest(before, self._now, served)
            if change:
                changed.append(self._tell(change, self._now))
        store.save(self._connection, changed)

    def _sorted(self, occurrences: Iterable[Occurrence]) -> dict[str, list[Occurrence]]:
        """Occurrences by fingerprint. When a service has too many new ones, those go into one group."""
        found: dict[str, list[Occurrence]] = {}
        for one in occurrences:
            found.setdefault(one.fingerprint(self._environment), []).append(one)
        known = store.load(self._connection, self._environment, found)
        fresh: dict[str, int] = {}
        for fingerprint in [name for name in found if name not in known]:
            first = found[fingerprint][0]
            if first.service not in fresh:
                since = self._now - MANY_WITHIN
                fresh[first.service] = store.new_since(self._connection, self._environment, first.service, since)
            fresh[first.service] += 1
            if fresh[first.service] > MANY:
                rest_of_them = [_one_of_many(one) for one in found.pop(fingerprint)]
                found.setdefault(rest_of_them[0].fingerprint(self._environment), []).extend(rest_of_them)
        return found

    def _tell(self, change: Change, at: datetime) -> Group:
        """Make the events of a change; returns the group with what they attach it to."""
        group = change.group
        blamed = None
        if change.turned and group.state in (State.NEW, State.REGRESSED):
            blamed = rollouts.blamed(self._rollouts_of(group.service), group.began_at, group.last_tag)
            group = replace(group, rollout=blamed.story.correlation if blamed else "")
        elif group.rollout:
            known = self._rollouts_of(group.service)
            blamed = next((one for one in known if one.story.correlation == group.rollout), None)
        seconds = blamed.seconds_after(group.began_at) if blamed and change.turned else None
        self.events.append(_event(replace(change, group=group), at, seconds))
        if blamed:
            self.events.append(rollouts.note(blamed, group, at))
        return group

    def _rollouts_of(self, service: str) -> list[Rollout]:
        if service not in self._rollouts:
            self._rollouts[service] = rollouts.latest(self._connection, self._environment, service)
        return self._rollouts[service]


def _one_of_many(one: Occurrence) -> Occurrence:
    title = f"{one.service}: more than {MANY} new kinds of errors within {MANY_WITHIN.seconds // 60} minutes"
    return replace(one, identity=("many",), title=title, culprit="")


def _event(change: Change, at: datetime, seconds_after_deploy: float | None) -> Event:
    group = change.group
    return Event.model_validate(
        {
            "id": f"{group.correlation}:{group.sequence}",
            "correlation": group.correlation,
            "sequence": group.sequence,
            "kind": Kind.ERROR,
            # A count that moved is no turn: what is shown is edited, and nobody is called.
            "state": group.state if change.turned else State.NOTED,
            "at": at,
            "environment": group.environment,
            "service": group.service,
            "tag": group.last_tag,
            "title": group.title[:500],
            "culprit": group.culprit[:500],
            "fingerprint": group.fingerprint,
            "count": group.count,
            "added": change.added,
            "first_tag": group.first_tag,
            "last_tag": group.last_tag,
            "hosts": [HostState(name=host) for host in group.hosts],
            "log_tail": group.sample,
            "reason": change.reason,
            **({} if seconds_after_deploy is None else {"seconds_after_deploy": seconds_after_deploy}),
        }
    )
