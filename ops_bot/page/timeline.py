"""Where things stand on the timeline of a service: pure geometry, in percent of its width."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ops_bot.events import ENDED, Kind, State, Story
from ops_bot.page.data import Lane

_APART = 0.9  # percent; marks of one sort that are nearer than this are one mark
_LABEL_ROOM = 3.5  # percent of the width a tag needs to be readable

SPANS = {
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}


@dataclass(frozen=True)
class Bar:
    """A stretch of time: a release that was live, a freeze, a rollout."""

    left: float
    width: float
    label: str
    sort: str  # live, freeze
    shade: int = 0  # two neighbours differ
    correlation: str = ""

    @property
    def readable(self) -> bool:
        """Whether there is room for its label."""
        return self.width >= _LABEL_ROOM


@dataclass(frozen=True)
class Mark:
    """Something that happened at one moment; `count` of them stood too near to each other to tell apart."""

    at: float
    sort: str  # build, build-failed, deploy, deploy-failed, rollback, error, running
    stories: tuple[Story, ...]


@dataclass(frozen=True)
class Drawn:
    """One lane, ready to draw."""

    bars: list[Bar]
    marks: list[Mark]


@dataclass(frozen=True)
class Tick:
    """A line across all lanes, and what stands above it."""

    at: float
    moment: datetime
    label: str


def draw(lane: Lane, since: datetime, now: datetime) -> Drawn:
    """Where everything of `lane` stands between `since` and `now`."""

    def place(moment: datetime) -> float:
        return round(min(100.0, max(0.0, (moment - since) / (now - since) * 100)), 3)

    freezes = []
    for story in lane.freezes:
        left = place(story.started_at or story.first_at)
        right = place(min(now, story.last_at if story.state in ENDED else story.until or now))
        freezes.append(Bar(left, round(right - left, 3), story.reason, "freeze", correlation=story.correlation))
    marks = [
        Mark(place(_moment(story)), sort, (story,))
        for sort, story in ((_sort(story), story) for story in (*lane.builds, *lane.rollouts, *lane.errors))
        if sort and _moment(story) >= since
    ]
    return Drawn([*freezes, *_live(lane, place(now), place)], _together(marks))


def _live(lane: Lane, end: float, place: Callable[[datetime], float]) -> list[Bar]:
    turns = [(0.0, lane.before, "")] if lane.before else []
    turns += [
        (place(story.last_at), story.tag, story.correlation)
        for story in lane.rollouts
        if story.state == State.FINISHED and story.tag
    ]
    bars = []
    for number, (left, tag, correlation) in enumerate(turns):
        right = turns[number + 1][0] if number + 1 < len(turns) else end
        if right > left:
            bars.append(Bar(left, round(right - left, 3), tag, "live", number % 2, correlation))
    return bars


def _moment(story: Story) -> datetime:
    # An error group is marked where it began; what ends is marked where it ended.
    return story.first_at if story.kind == Kind.ERROR else story.last_at


def _sort(story: Story) -> str:
    failed = story.state in (State.FAILED, State.LOST)
    if story.kind == Kind.ERROR:
        return "error"
    if story.state not in ENDED:
        return "running"
    if story.kind == Kind.BUILD:
        return "build-failed" if failed else "build"
    if failed:
        return "deploy-failed"
    return "rollback" if story.kind == Kind.ROLLBACK else "deploy"


def _together(marks: Iterable[Mark]) -> list[Mark]:
    joined: list[Mark] = []
    nearest: dict[str, int] = {}
    for mark in sorted(marks, key=lambda mark: mark.at):
        index = nearest.get(mark.sort)
        if index is not None and mark.at - joined[index].at < _APART:
            joined[index] = Mark(joined[index].at, mark.sort, (*joined[index].stories, *mark.stories))
        else:
            nearest[mark.sort] = len(joined)
            joined.append(mark)
    return joined


def ticks(since: datetime, now: datetime) -> list[Tick]:
    """Round hours or midnights between `since` and `now`, in their zone, about six of them."""
    step = next(
        (timedelta(hours=hours) for hours in (1, 4, 24, 24 * 5) if (now - since) / timedelta(hours=hours) <= 7.5),
        timedelta(days=30),
    )
    moment = since.replace(minute=0, second=0, microsecond=0)
    if step >= timedelta(hours=4):
        moment = moment.replace(hour=0)
    found = []
    while moment <= now:
        at = (moment - since) / (now - since) * 100
        if 1 < at < 97:
            form = "%H:%M" if step < timedelta(days=1) and moment.hour else "%b %-d"
            found.append(Tick(round(at, 3), moment, moment.strftime(form)))
        moment += step
    return found
