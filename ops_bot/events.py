"""What the ops bot records: one event per thing that happened, and the story its events tell together.

All events of one rollout (one build, one freeze, one error group) share a `correlation`. Folded together they are the
`Story` that a Slack message, a Datadog event and the web page show. This module imports nothing but pydantic: the
Ansible callback on the control node uses it too.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self
from uuid import uuid4

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

SCHEMA_VERSION = 1

ShortText = Annotated[str, StringConstraints(max_length=500)]
Name = Annotated[str, StringConstraints(max_length=200)]
# What rows are found by: no control characters, which one database keeps and another refuses.
Key = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Kind(StrEnum):
    """What sort of thing happened."""

    BUILD = "build"
    DEPLOY = "deploy"
    ROLLBACK = "rollback"
    ERROR = "error"
    FREEZE = "freeze"
    SCALE = "scale"
    ALERT = "alert"  # about the bot itself or the fleet: a sink is stuck, a rollout never ended


class State(StrEnum):
    """Where it stands. `noted` adds facts (an attached error) and moves nothing."""

    STARTED = "started"
    PROGRESS = "progress"
    NOTED = "noted"
    FINISHED = "finished"
    FAILED = "failed"  # of a rollout: it ended and what served before serves on, see `serving`
    LOST = "lost"  # started, and nothing was heard of it for longer than its deadline
    # Error groups.
    NEW = "new"
    ONGOING = "ongoing"
    ESCALATING = "escalating"
    REGRESSED = "regressed"
    RESOLVED = "resolved"


ENDED = frozenset({State.FINISHED, State.FAILED, State.LOST, State.RESOLVED})


class Commit(BaseModel):
    """One commit between the release before and this one."""

    model_config = ConfigDict(extra="allow")

    revision: Name
    author: Name = ""
    subject: ShortText = ""


class HostState(BaseModel):
    """How far one host has come, and what it serves."""

    model_config = ConfigDict(extra="allow")

    name: Name
    state: Name = ""  # waiting, pulling, starting, healthy, switched, undone, failed, unreachable
    tag: Name = ""  # what it serves now
    message: ShortText = ""
    seconds: float | None = None


class ErrorNote(BaseModel):
    """An error group attached to the rollout it appeared after."""

    model_config = ConfigDict(extra="allow")

    fingerprint: Name
    title: ShortText
    state: State = State.NEW
    count: int = 1
    seconds_after: float | None = None  # since the rollout ended


class Event(BaseModel):
    """One thing that happened, as its sender saw it. Fields a newer sender adds are kept as they came.

    `id` makes it countable: the same id received again is the same event. `sequence` orders the events of one
    correlation by their sender's count; a later one wins field by field.
    """

    model_config = ConfigDict(extra="allow")

    schema_version: int = SCHEMA_VERSION
    id: Key = Field(default_factory=lambda: uuid4().hex, min_length=8)
    correlation: Key
    sequence: int = Field(default=0, ge=-(2**53), le=2**53)  # what every JSON reader keeps exactly
    kind: Kind
    state: State
    at: AwareDatetime

    environment: Name = ""
    service: Name = ""
    image: Name = ""
    tag: Name = ""
    from_tag: Name = ""
    digest: Name = ""
    revision: Name = ""
    compare_url: ShortText = ""
    commits: list[Commit] = []
    commit_count: int | None = None  # when `commits` was cut
    actor: Name = ""
    cause: Name = ""  # playbook, git push, chat, schedule …
    reason: ShortText = ""
    forced: bool = False
    migrations: bool | None = None
    recovered: bool | None = None  # of a build that went well: the one of this image before it did not

    hosts: list[HostState] = []
    step: ShortText = ""  # the step it is at, or failed at
    failed_host: Name = ""
    error: ShortText = ""  # one line: why it failed
    log_tail: str = ""
    exit_code: int | None = None
    undone: bool | None = None  # after a failure: did the switched hosts go back
    marked_bad: bool | None = None  # after a rollout: is the tag that was left or refused bad from now on
    next_command: ShortText = ""  # what to type now
    standby_until: AwareDatetime | None = None

    started_at: AwareDatetime | None = None
    duration_seconds: float | None = None
    expected_seconds: float | None = None
    until: AwareDatetime | None = None  # end of a freeze, deadline of a rollout

    # Error groups.
    title: ShortText = ""
    culprit: ShortText = ""
    fingerprint: Name = ""
    count: int | None = None
    first_tag: Name = ""
    last_tag: Name = ""
    seconds_after_deploy: float | None = None
    errors: list[ErrorNote] = []

    @property
    def serving(self) -> dict[str, list[str]]:
        """What serves now: tag to the names of the hosts that serve it."""
        found: dict[str, list[str]] = {}
        for host in self.hosts:
            if host.tag:
                found.setdefault(host.tag, []).append(host.name)
        return found


def fold_order(event: Event) -> tuple[int, datetime, str]:
    """Where `event` comes among those of its correlation: by its sender's count, then by time."""
    return event.sequence, event.at, event.id


class Story(Event):
    """All events of one correlation, folded: the newest known value of every field."""

    first_at: AwareDatetime
    last_at: AwareDatetime
    updates: int = 1  # how many events it was made of

    @classmethod
    def of(cls, events: Iterable[Event]) -> Self:
        """Fold `events` (any order, at least one) of one correlation.

        Raises ValueError when there are none, or when they are not of one correlation.
        """
        ordered = sorted(events, key=fold_order)
        if not ordered or len({event.correlation for event in ordered}) != 1:
            raise ValueError("a story is made of the events of one correlation, at least one")
        return cls._fold(ordered)

    def followed_by(self, events: Iterable[Event]) -> Self:
        """This story and `events`, each of which must come after all of its own in `fold_order`.

        The same as folding everything anew, in the time that the new events take.
        """
        later = sorted(events, key=fold_order)
        folded = self._fold([self, *later])
        return folded.model_copy(
            update={
                "first_at": min([self.first_at, *(event.at for event in later)]),
                "last_at": max([self.last_at, *(event.at for event in later)]),
                "updates": self.updates + len(later),
            }
        )

    @classmethod
    def _fold(cls, ordered: Sequence[Event]) -> Self:
        facts: dict[str, Any] = {}
        hosts: dict[str, dict[str, Any]] = {}
        errors: dict[str, dict[str, Any]] = {}
        ended = False
        for event in ordered:
            told = event.model_dump(exclude_unset=True, exclude={"hosts", "errors", "state"})
            # An empty value says nothing: it must not wipe out what an earlier event knew.
            facts |= {key: value for key, value in told.items() if value not in ("", None, [])}
            for host in event.hosts:
                hosts.setdefault(host.name, {}).update(host.model_dump(exclude_unset=True))
            for note in event.errors:
                errors.setdefault(note.fingerprint, {}).update(note.model_dump(exclude_unset=True))
            # What ended has ended: progress that comes late moves nothing.
            if event.state != State.NOTED and not (ended and event.state not in ENDED):
                facts["state"] = event.state
                ended = event.state in ENDED
        times: list[datetime] = [event.at for event in ordered]
        facts.setdefault("state", ordered[-1].state)
        return cls.model_validate(
            facts
            | {
                "id": ordered[-1].id,
                "hosts": list(hosts.values()),
                "errors": list(errors.values()),
                "first_at": min(times),
                "last_at": max(times),
                "updates": len(ordered),
            }
        )
