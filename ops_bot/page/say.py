"""What the page says in a word or a sentence: how things are, taken together."""

from ops_bot.events import ENDED, Kind, State, Story
from ops_bot.messages import words
from ops_bot.page import data
from ops_bot.sinks.plan import severity

_ENDS = {State.FINISHED: "ok", State.RESOLVED: "ok", State.FAILED: "bad", State.LOST: "bad"}


def summary(running: list[data.Running], under_way: list[Story], errors: list[Story]) -> tuple[str, str]:
    """(mood, sentence): the page in one line."""
    loud = [story for story in errors if story.state in words.LOUD_ERRORS and not is_left_behind(story, running)]
    rollouts = [story for story in under_way if story.kind != Kind.BUILD]
    # Where a rollout is under way, two releases are what is meant to be.
    moving = {(story.environment, story.service) for story in rollouts}
    still = [place for place in running if (place.environment, place.service) not in moving]
    if mixed := [place for place in still if place.mixed]:
        return "bad", f"Users see more than one release of {_names(mixed)}"
    if unknown := [place for place in still if place.silent or (place.newest and place.newest.state == State.LOST)]:
        return "bad", f"What users see of {_names(unknown)} is not known"
    errors_too = f"{words.counted(len(loud), 'open error')} users may notice" if loud else ""
    if rollouts:
        return "busy", "; ".join(filter(None, (_on_its_way(rollouts), errors_too)))
    if loud:
        return "bad", errors_too
    if not running:
        return "ok", "Nothing was deployed yet"
    return "ok", "All quiet: every service runs one release"


def _names(places: list[data.Running]) -> str:
    return words.names([f"{place.service} in {place.environment}" for place in places])


def is_left_behind(error: Story, running: list[data.Running]) -> bool:
    """Whether no host serves the release any more in which `error` was last seen."""
    tag = error.last_tag or error.first_tag
    served = [
        place.serving
        for place in running
        if place.serving and (place.environment, place.service) == (error.environment, error.service)
    ]
    return bool(tag and served) and tag not in served[0]


def _on_its_way(rollouts: list[Story]) -> str:
    if len(rollouts) > 1:
        return f"{len(rollouts)} rollouts under way"
    only = rollouts[0]
    change = " → ".join(filter(None, (only.from_tag, only.tag)))
    return " ".join(filter(None, (only.service, change, f"is on its way in {only.environment}")))


def mood(story: Story) -> str:
    """How `story` stands: ok, busy, warn or bad."""
    if story.kind == Kind.ERROR:
        return "bad" if story.state in words.LOUD_ERRORS else "ok" if story.state in ENDED else "warn"
    if story.kind in words.ROLLOUTS and story.state == State.FINISHED and words.users(story).harm:
        return "warn"
    default = {"error": "bad", "warning": "warn"}.get(severity(story), "busy" if story.state not in ENDED else "ok")
    return _ENDS.get(story.state, default)
