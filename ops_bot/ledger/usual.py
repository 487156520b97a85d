"""What an event cannot know by itself: how long something usually takes, and whether it went wrong the last time."""

import statistics
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, bindparam, select

from ops_bot.events import ENDED, Event, Kind, State, Story
from ops_bot.ledger.schema import stories

TAKES_TIME = frozenset({Kind.BUILD, Kind.DEPLOY, Kind.ROLLBACK})
_LAST, _LOOKED_AT, _ENOUGH = 10, 20, 3

_BEFORE = (
    select(stories.c.body)
    .where(
        stories.c.environment == bindparam("environment"),
        stories.c.service == bindparam("service"),
        stories.c.kind == bindparam("kind"),
    )
    .order_by(stories.c.last_at.desc())
    .limit(_LOOKED_AT)
)


def with_usual(connection: Connection, event: Event) -> Event:
    """`event`; if something starts with it and its sender does not know, with how long that usually takes."""
    if event.state != State.STARTED or event.kind not in TAKES_TIME or event.expected_seconds is not None:
        return event
    known = {"environment": event.environment, "service": event.service, "kind": event.kind.value}
    before = [Story.model_validate_json(body) for body in connection.scalars(_BEFORE, known)]
    usual = usual_seconds([story for story in before if story.image == event.image])
    return event if usual is None else event.model_copy(update={"expected_seconds": usual})


def with_recovered(connection: Connection, event: Event, earlier: Iterable[Event]) -> Event:
    """`event`; if a build went well with it, with whether the build of that image before it, or itself so far, did not.

    A build that goes well after another is no news; the first one after a failure is. `earlier` came with it.
    """
    if event.kind != Kind.BUILD or event.state != State.FINISHED or event.recovered is not None:
        return event
    known = {"environment": event.environment, "service": event.service, "kind": event.kind.value}
    before = [Story.model_validate_json(body) for body in connection.scalars(_BEFORE, known)]
    ended = [
        one.state
        for one in (*reversed(list(earlier)), *before)
        if one.kind == Kind.BUILD and one.image == event.image and one.state in ENDED
    ]
    return event.model_copy(update={"recovered": bool(ended) and ended[0] in (State.FAILED, State.LOST)})


def usual_seconds(before: Sequence[Story]) -> float | None:
    """The median of the last ten of `before` (newest first) that went well; None when they are fewer than three."""
    took = [
        (story.last_at - story.first_at).total_seconds() if story.duration_seconds is None else story.duration_seconds
        for story in before
        if story.state == State.FINISHED
    ][:_LAST]
    return round(statistics.median(took), 1) if len(took) >= _ENOUGH else None
