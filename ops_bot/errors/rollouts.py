"""Which rollout an error came after, and what is noted there."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from ops_bot.errors.groups import Group, Serving
from ops_bot.events import ENDED, ErrorNote, Event, Kind, State, Story
from ops_bot.ledger import history
from ops_bot.messages.words import make

ATTACHED_FOR = timedelta(hours=1)  # after its end, an error that is new is taken for the rollout's
_SKEW = timedelta(seconds=5)  # clocks of hosts differ
_LATEST = 5  # of each kind: more than ever run within that time


@dataclass(frozen=True)
class Rollout:
    """A deploy or rollback of a service. `ended_at` is None while it runs."""

    story: Story
    started_at: datetime
    ended_at: datetime | None

    def seconds_after(self, at: datetime) -> float | None:
        """Return the seconds from its end to `at`; None when it had not ended then."""
        return round((at - self.ended_at).total_seconds(), 1) if self.ended_at and at >= self.ended_at else None


def latest(connection: Connection, environment: str, service: str) -> list[Rollout]:
    """Return the latest rollouts of a service, newest first."""
    stories = [
        story
        for kind in (Kind.DEPLOY, Kind.ROLLBACK)
        for story in history.newest(
            connection,
            environment=environment,
            service=service,
            kind=kind,
            since=None,
            unfinished=False,
            limit=_LATEST,
            before=None,
        )
    ]
    found = []
    for story in stories:
        # Not the story's own last moment: what is noted on it afterwards would move that.
        ends = [event.at for event in history.of_correlation(connection, story.correlation) if event.state in ENDED]
        ended_at = max(ends) if ends and story.state in ENDED else None
        found.append(Rollout(story, story.started_at or story.first_at, ended_at))
    return sorted(found, key=lambda rollout: rollout.started_at, reverse=True)


def blamed(rollouts: list[Rollout], at: datetime, tag: str) -> Rollout | None:
    """Return the rollout that an error, first seen `at` in `tag`, came with or after: the newest begun before it."""
    for rollout in rollouts:
        if rollout.started_at - _SKEW > at:
            continue
        recent = rollout.ended_at is None or at - rollout.ended_at <= ATTACHED_FOR
        if recent and (not tag or rollout.story.tag in ("", tag)):
            return rollout
        if not tag:
            return None
        # What the release before it still says while it is rolled back came with that one's own rollout.
    return None


def serving(rollouts: list[Rollout]) -> Serving | None:
    """Return what the last rollout that went well left serving."""
    ended = [rollout for rollout in rollouts if rollout.story.state == State.FINISHED and rollout.story.tag]
    best = max(ended, key=lambda rollout: rollout.ended_at or rollout.started_at, default=None)
    return Serving(best.story.tag, best.ended_at) if best and best.ended_at else None


def note(rollout: Rollout, group: Group, at: datetime) -> Event:
    """Return the event that notes the group, as it is now, on the rollout."""
    story = rollout.story
    undo = story.kind == Kind.DEPLOY and story.state == State.FINISHED and group.state != State.RESOLVED
    return Event(
        id=_id(story, group),
        correlation=story.correlation,
        sequence=story.sequence,  # after what the rollout told of itself, and before what it may still tell
        kind=story.kind,
        state=State.NOTED,
        at=at,
        environment=story.environment,
        service=story.service,
        next_command=make("rollback", story, SERVICE=story.service) if undo else "",
        errors=[
            ErrorNote(
                fingerprint=group.fingerprint,
                title=group.title[:500],
                state=group.state,
                count=group.count,
                seconds_after=rollout.seconds_after(group.began_at),
            )
        ],
    )


def _id(story: Story, group: Group) -> str:
    """One id for one note, however long the names it is about. Of two of one moment the later one sorts last."""
    about = hashlib.sha256(f"{story.correlation}\0{group.correlation}".encode()).hexdigest()[:24]
    return f"note:{about}:{group.sequence:06}"
