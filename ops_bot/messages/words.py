"""What a story means to the person on call: are users hurt, what serves, what to type. Plain words, not yet escaped."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from enum import IntEnum

from ops_bot.events import HostState, Kind, State, Story
from ops_bot.text import clean, one_line

ROLLOUTS = frozenset({Kind.DEPLOY, Kind.ROLLBACK})
# An error group in one of these needs a look; an ongoing one had its turn.
LOUD_ERRORS = frozenset({State.NEW, State.REGRESSED, State.ESCALATING})

# Within this of a deploy, an error that is new or back is taken for the deploy's: going back is what helps.
BLAMED_SECONDS = 3600

_SHELL_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_LISTED = 6  # names in one sentence; more are counted


class Harm(IntEnum):
    """Whether users are hurt, as far as the story tells."""

    NONE = 0
    UNSURE = 1
    LIKELY = 2


@dataclass(frozen=True)
class Users:
    """The answer to the first question of the person on call."""

    harm: Harm
    sentence: str


def in_zone(when: datetime, zone: tzinfo) -> datetime:
    """`when` in `zone`. At the very ends of the calendar, where that is not possible, as it is written."""
    try:
        return when.astimezone(zone)
    except (OverflowError, ValueError):
        return when.replace(tzinfo=UTC)


def duration(seconds: float) -> str:
    """`seconds` as people say it: 0.8 s, 48 s, 3 min 12 s, 2 h 5 min, 3 d 4 h."""
    if seconds < 0:
        return "0 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, name, below, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            rest = whole % unit // below
            return f"{whole // unit:,} {name} {rest} {small}" if rest else f"{whole // unit:,} {name}"
    return f"{whole} s"


def about(seconds: float) -> str:
    """`seconds` in one unit, rounded down: 48 s, 14 min, 6 h, 3 d."""
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{int(seconds // unit):,} {name}"
    return f"{max(0, int(seconds))} s"


def counted(number: int, thing: str) -> str:
    """`number` and `thing` in its plural where it needs one: 1 host, 1,000 hosts."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def names(some: list[str]) -> str:
    """A list of names as a sentence has it, the first few and how many more."""
    short = [one_line(name, 40) for name in some[:_LISTED]]
    more = len(some) - len(short)
    return ", ".join(short) + (f" and {more:,} more" if more > 0 else "")


def serving(story: Story) -> str:
    """What serves now: "v65 on web1, web2" or "v65 on web1; v64 on web2"; empty when no host said."""
    found = story.serving
    parts = [f"{one_line(tag, 40)} on {names(hosts)}" for tag, hosts in list(found.items())[:4]]
    return "; ".join(parts) + ("; …" if len(found) > 4 else "")


def _serves(story: Story) -> str:
    """One tag that serves, as the beginning of a clause."""
    tag, hosts = next(iter(story.serving.items()))
    return f"{one_line(tag, 40)} serves on {names(hosts)}"


def silent(story: Story) -> list[str]:
    """The hosts that did not say what they serve."""
    return [host.name for host in story.hosts if not host.tag]


def users(story: Story) -> Users:
    """Are users hurt by this rollout, and by what are they served."""
    loud = [note for note in story.errors if note.state in LOUD_ERRORS]
    if story.state == State.FINISHED and loud:
        return Users(Harm.LIKELY, f"users may be hurt: {counted(len(loud), 'new error')} since")
    if story.state in (State.STARTED, State.PROGRESS):
        if story.from_tag:
            return Users(
                Harm.NONE, f"each host serves {story.from_tag} until {story.tag or 'the new one'} is healthy there"
            )
        return Users(Harm.NONE, "nothing is switched before it is healthy")
    if story.state == State.LOST:
        return Users(Harm.UNSURE, f"last heard: {serving(story)}" if story.serving else "what serves is not known")
    return _ended(story)


def _ended(story: Story) -> Users:  # noqa: PLR0911  (one return a case)
    tags, unheard = list(story.serving), silent(story)
    missing = f"; what {names(unheard)} {'serves' if len(unheard) == 1 else 'serve'} is not known" if unheard else ""
    if len(tags) > 1:
        return Users(Harm.LIKELY, f"users see {len(tags)} releases: {serving(story)}{missing}")
    if not tags:
        return _nothing_said(story, unheard)
    if story.state == State.FINISHED:
        return Users(Harm.UNSURE if missing else Harm.NONE, f"users are served by {serving(story)}{missing}")
    if story.kind == Kind.ROLLBACK and tags[0] != story.tag:
        return Users(Harm.LIKELY, f"users are still on {serving(story)}{missing}")
    if tags[0] == story.tag != story.from_tag:
        return Users(Harm.UNSURE, f"users are served by {serving(story)}{missing}")
    if missing:
        return Users(Harm.UNSURE, f"{_serves(story)}{missing}")
    return Users(Harm.NONE, f"users are not hurt: {_serves(story)} as before")


def _nothing_said(story: Story, unheard: list[str]) -> Users:
    if story.state == State.FINISHED:
        return Users(Harm.NONE, "")
    if story.kind == Kind.DEPLOY and story.undone and story.from_tag:
        return Users(Harm.NONE, f"users are not hurt: {story.from_tag} serves as before")
    if unheard and not story.from_tag and story.kind == Kind.DEPLOY:
        return Users(Harm.UNSURE, f"nothing was live before, and {names(unheard)} did not report what serves now")
    return Users(Harm.UNSURE, "what serves is not known")


def make(target: str, story: Story, **arguments: str) -> str:
    """A command of our Makefile for the environment of `story`; empty when a name in it is not safe to paste."""
    given = {key: value for key, value in arguments.items() if value}
    if story.environment not in ("", "local"):
        given = {"ENV": story.environment} | given
    if not all(_SHELL_SAFE.fullmatch(value) for value in given.values()):
        return ""
    return " ".join(["make", target, *(f"{key}={value}" for key, value in given.items())])


def next_command(story: Story) -> str:  # noqa: PLR0911  (one return a case)
    """What to type now: what the sender said, else what the runbooks say for the case; empty when neither does."""
    if said := " ".join(clean(story.next_command).split()):
        return said
    if story.kind == Kind.FREEZE:
        return make("thaw", story) if story.state == State.STARTED else ""
    if not story.service:
        return ""
    if story.kind == Kind.ERROR:
        if story.state == State.RESOLVED:
            return ""
        after = story.seconds_after_deploy
        blamed = story.state in LOUD_ERRORS and after is not None and after <= BLAMED_SECONDS
        return make("rollback" if blamed else "logs", story, SERVICE=story.service)
    if story.kind not in ROLLOUTS or story.state in (State.STARTED, State.PROGRESS):
        return ""
    if story.state == State.FINISHED:
        return make("rollback", story, SERVICE=story.service) if story.kind == Kind.DEPLOY else ""
    calm = story.state == State.FAILED and users(story).harm == Harm.NONE
    return make("logs" if calm else "status", story, SERVICE=story.service)


_DONE = {"switched": "✔", "healthy": "✔", "undone": "↩", "failed": "✖", "unreachable": "✖", "waiting": "·"}


def host_lines(story: Story, limit: int = 8) -> list[tuple[str, str, str]]:
    """(mark, names, what of them) for each host, those in trouble first; many alike hosts are told together."""
    order = {"failed": 0, "unreachable": 1, "undone": 2}
    hosts = sorted(story.hosts, key=lambda host: order.get(host.state, 3))
    if len(hosts) <= limit:
        return [(_DONE.get(host.state, "…"), host.name, _said(host, alone=True)) for host in hosts]
    alike: dict[tuple[str, str], list[str]] = {}
    for host in hosts:
        alike.setdefault((_DONE.get(host.state, "…"), _said(host, alone=False)), []).append(host.name)
    lines = [(mark, f"{names(some)}", said) for (mark, said), some in alike.items()]
    rest = lines[limit - 1 :]
    return lines if len(lines) <= limit else [*lines[: limit - 1], ("…", f"{len(rest):,} other groups", "")]


def _said(host: HostState, *, alone: bool) -> str:
    parts = [host.state, f"serves {one_line(host.tag, 40)}" if host.tag else ""]
    if alone:
        parts += [duration(host.seconds) if host.seconds is not None else "", one_line(host.message, 120)]
    return ", ".join(part for part in parts if part)


def switched(story: Story) -> int:
    """How many hosts have come to the new release."""
    return sum(host.state == "switched" or (bool(story.tag) and host.tag == story.tag) for host in story.hosts)
