"""What an event cannot know by itself: how long something usually takes, how the last one went, what is in a tag."""

import json
import statistics
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, bindparam, select

from ops_bot.events import ENDED, Commit, Event, Kind, State, Story
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

_SAME = select(stories.c.body).where(stories.c.correlation == bindparam("same"))
# Of any environment: images are built once, and deployed wherever.
_BUILDS = select(stories.c.body).where(stories.c.kind == Kind.BUILD.value).order_by(stories.c.last_at.desc()).limit(50)


def with_usual(connection: Connection, event: Event) -> Event:
    """`event`; if something starts with it and its sender does not know, with how long that usually takes."""
    if event.state != State.STARTED or event.kind not in TAKES_TIME or event.expected_seconds is not None:
        return event
    known = {"environment": event.environment, "service": event.service, "kind": event.kind.value}
    before = [Story.model_validate_json(body) for body in connection.scalars(_BEFORE, known)]
    usual = usual_seconds([story for story in before if story.image == event.image])
    return event if usual is None else event.model_copy(update={"expected_seconds": usual})


def with_commits(connection: Connection, event: Event) -> Event:
    """`event`; once a rollout says from which tag to which it goes, with the commits that this brings or takes away.

    A build tells the last commits of its image. What one tag has and the other has not is the difference; when the
    builds lie so far apart that they share none, all that the newer one tells.
    """
    if event.kind not in (Kind.DEPLOY, Kind.ROLLBACK) or not (event.from_tag and event.image) or event.commits:
        return event
    so_far = json.loads(connection.scalar(_SAME, {"same": event.correlation}) or "{}")
    if so_far.get("commits"):
        return event
    tag = event.tag or so_far.get("tag", "")
    builds = reversed([json.loads(body) for body in connection.scalars(_BUILDS)])  # of two of one tag, the newer one
    told = {build.get("tag"): build.get("commits", []) for build in builds if build.get("image") == event.image}
    there, away = (tag, event.from_tag) if event.kind == Kind.DEPLOY else (event.from_tag, tag)
    shared = [commit["revision"] for commit in told.get(away, [])]
    commits = [Commit(**commit) for commit in told.get(there, []) if commit["revision"] not in shared]
    return event.model_copy(update={"commits": commits}) if commits else event


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
