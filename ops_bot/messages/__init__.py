"""Messages of the ops bot: a story as Slack shows it, and in one plain sentence for everyone else."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from ops_bot.events import ENDED, Kind, State, Story
from ops_bot.messages import compose, words
from ops_bot.messages.compose import Message
from ops_bot.settings import Settings, Severity
from ops_bot.sinks.plan import severity

__all__ = ["Message", "catch_up", "happened", "headline", "plain", "render", "reply"]

LATE_SECONDS = 60  # sent later than this after it happened, a message says so
SLOW_SECONDS = 60  # below that no rollout is worth a word about its pace
_MARKS = {
    State.NEW: "🆕",
    State.ONGOING: "🔸",
    State.ESCALATING: "📈",
    State.REGRESSED: "🔁",
    State.RESOLVED: "✅",
}
_BROADCASTS = ("<!channel", "<!everyone", "<!here")


def render(
    story: Story, *, now: datetime, settings: Settings, delayed_seconds: float = 0, cause_of_delay: str = "Slack"
) -> Message:
    """The message of `story` as it stands now: posted once, then edited to what this returns.

    `delayed_seconds` is how long after it happened the message could first be sent; `cause_of_delay` names who could
    not be reached.
    """
    facts = _facts(story, now, settings)
    template = template_of(story)
    late = _late(delayed_seconds, cause_of_delay)
    mention = _mention(story, settings)
    blocks = compose.blocks_of(template, facts, settings.time_zone, late, story.log_tail)
    if mention and blocks:
        blocks[0]["text"]["text"] = mention + blocks[0]["text"]["text"]
    return Message(mention + _text(template, facts, settings, late), blocks, _metadata(story))


def reply(
    story: Story, *, now: datetime, settings: Settings, delayed_seconds: float = 0, cause_of_delay: str = "Slack"
) -> Message:
    """The loud answer under the message of `story`: short. An edit of that message notifies nobody; this does."""
    facts = _facts(story, now, settings)
    template = template_of(story)
    late = _late(delayed_seconds, cause_of_delay)
    mention = _mention(story, settings)
    first = compose.part(template, "headline", "blocks", facts, settings.time_zone)
    blocks = [compose.section(f"{mention}{first}")]
    detail = compose.part(template, "detail", "blocks", facts, settings.time_zone)
    small = [line for line in (late, *detail.splitlines()[:2]) if line]
    if small:
        blocks.append(compose.context(small))
    return Message(mention + _text(template, facts, settings, late), blocks, _metadata(story))


def plain(message: Message) -> Message:
    """`message` without blocks: for when Slack refuses them."""
    return Message(message.text, [], message.metadata)


def headline(story: Story, *, now: datetime, settings: Settings) -> str:
    """`story` in one plain sentence, not escaped for anything: for pages, terminals and Datadog."""
    facts = _facts(story, now, settings)
    return compose.part(template_of(story), "headline", "plain", facts, settings.time_zone)


def happened(story: Story, *, now: datetime, settings: Settings) -> str:
    """The beginning of the headline: what happened, without what it meant at the time. For lists of old stories."""
    facts = _facts(story, now, settings)
    return compose.part(template_of(story), "what", "plain", facts, settings.time_zone)


def catch_up(stories: Sequence[Story], *, sink: str, since: datetime, now: datetime, settings: Settings) -> Message:
    """One message for all that happened while `sink` could not be reached since `since`: sums, and what went wrong."""
    total = Counter((story.kind, _standing(story)) for story in stories)
    sums = [
        f"{kind.value}: "
        + ", ".join(f"{number:,} {standing}" for (k, standing), number in sorted(total.items()) if k == kind)
        for kind in Kind
        if any(k == kind for k, _ in total)
    ]
    worst = sorted(
        (story for story in stories if severity(story) == Severity.ERROR),
        key=lambda story: words.users(story).harm if story.kind in words.ROLLOUTS else words.Harm.UNSURE,
        reverse=True,
    )
    troubled = [headline(story, now=now, settings=settings) for story in worst]
    facts = {
        "sink": sink,
        "since": since,
        "outage": (now - since).total_seconds(),
        "total": len(stories),
        "sums": sums,
        "troubled": troubled,
        "page": settings.page_url.rstrip("/") + "/",
    }
    metadata = {"event_type": "ops_event", "event_payload": {"catch_up": sink, "since": since.isoformat()}}
    return Message(
        _text("catch_up", facts, settings, ""),
        compose.blocks_of("catch_up", facts, settings.time_zone, "", ""),
        metadata,
    )


def _standing(story: Story) -> str:
    return "under way" if story.state in (State.STARTED, State.PROGRESS, State.NOTED) else story.state.value


def template_of(story: Story) -> str:
    """The name of the template that tells `story`."""
    if story.kind in words.ROLLOUTS and story.state in (State.FAILED, State.LOST):
        return "rollout_failed"
    if story.kind == Kind.DEPLOY:
        return "deploy_finished" if story.state == State.FINISHED else "deploy_started"
    return story.kind.value


def page_of(story: Story, settings: Settings) -> str:
    """The address of `story` on the bot's own page."""
    return f"{settings.page_url.rstrip('/')}/stories/{quote(story.correlation, safe=':')}"


def _facts(story: Story, now: datetime, settings: Settings) -> dict[str, Any]:
    ended = story.state in ENDED
    started = story.started_at or (story.first_at if story.first_at != story.last_at else None)
    took = story.duration_seconds
    if took is None and ended and started and story.state != State.LOST:
        took = (story.last_at - started).total_seconds()
    meaning = words.users(story)
    known_commits = story.commit_count if story.commit_count is not None else 0
    loud = [note for note in story.errors if note.state in words.LOUD_ERRORS]
    authors = list(dict.fromkeys(commit.author for commit in story.commits if commit.author))
    return {
        "story": story,
        "ended": ended,
        "started_at": started,
        "took": took,
        "slow": _slow(story, now),
        "look": words.make("status", story, SERVICE=story.service),
        "users": meaning.sentence,
        "harm": int(meaning.harm),
        "loud": loud[0] if loud else None,
        "command": words.next_command(story),
        "place": f"{story.environment} ·" if story.environment else "",
        "subject": " ".join(filter(None, (story.service or story.image, story.tag))) or story.kind.value,
        "release": " ".join(filter(None, (story.service, " → ".join(filter(None, (story.from_tag, story.tag)))))),
        "thing": " ".join(filter(None, (story.image or story.service or "an image", story.revision[:7]))),
        "recovered": bool(story.recovered),
        "serving": words.serving(story),
        "switched": words.switched(story),
        "host_lines": words.host_lines(story),
        "host_names": words.names([host.name for host in story.hosts]),
        "commit_count": max(known_commits, len(story.commits)),
        "authors": words.names(authors),
        "error_marks": _MARKS | {state: "🔸" for state in State if state not in _MARKS},
        "page": page_of(story, settings),
    }


def _slow(story: Story, now: datetime) -> float:
    """The seconds a rollout has taken so far, when that is much more than usual; else 0."""
    so_far = (now - (story.started_at or story.first_at)).total_seconds()
    usual = story.expected_seconds or 0
    return so_far if story.state not in ENDED and usual and so_far > max(SLOW_SECONDS, 2 * usual) else 0


def _late(delayed_seconds: float, cause: str) -> str:
    if delayed_seconds <= LATE_SECONDS:
        return ""
    return f"⏱ delayed {words.about(delayed_seconds)} ({cause} was unreachable)"


def _text(template: str, facts: dict[str, Any], settings: Settings, late: str) -> str:
    told = compose.part(template, "headline", "text", facts, settings.time_zone).replace("\n", " ")
    return f"{told} {late}".strip()


def _mention(story: Story, settings: Settings) -> str:
    """Whom the routes call for this. Slack notifies them when the message is new, not when it is edited."""
    mention = settings.route(story.environment, story.kind, severity(story)).mention.strip()
    if mention.startswith(_BROADCASTS) and not (
        story.environment == "production" and story.state in (State.FAILED, State.LOST)
    ):
        return ""  # waking everybody is for production that failed, whatever the routes say
    return f"{mention} " if mention else ""


def _metadata(story: Story) -> dict[str, Any]:
    payload = {
        "event_id": story.id,
        "correlation": story.correlation,
        "env": story.environment,
        "service": story.service,
        "version": story.tag,
        "state": story.state.value,
        "seq": story.sequence,
    }
    return {"event_type": "ops_event", "event_payload": payload}
