"""Which things each sink must show because of an event. Pure: the ledger calls it while it records.

Slack shows one message per story, edited in place, and one loud reply when the story turns into something that a person
must see. Datadog gets one event for each turn of a story, never for progress.
"""

from ops_bot.events import Event, Kind, State
from ops_bot.ledger import Wanted
from ops_bot.settings import Settings, Severity

# Turns of a story. Progress, notes and counts are edits of what is shown, not something that happened anew.
TURNS = frozenset(set(State) - {State.PROGRESS, State.NOTED, State.ONGOING})

# An edit makes no sound: what a person must act on is also said aloud, under the message it belongs to.
LOUD = frozenset({State.FAILED, State.LOST, State.ESCALATING})

# Kinds whose message is posted when nothing is wrong yet: it stays where everybody looks, whatever comes.
_LIVES = frozenset({Kind.BUILD, Kind.DEPLOY, Kind.ROLLBACK, Kind.SCALE, Kind.FREEZE})


def severity(event: Event) -> Severity:
    """How much a person must care about `event` (or a story)."""
    if event.state in LOUD:
        return Severity.ERROR
    if event.kind == Kind.ERROR:
        return Severity.INFO if event.state == State.RESOLVED else Severity.ERROR
    if event.kind == Kind.ALERT:
        return Severity.INFO if event.state == State.FINISHED else Severity.WARNING
    if event.kind == Kind.ROLLBACK or event.forced:
        return Severity.WARNING
    return Severity.INFO


def plan(event: Event, settings: Settings) -> list[Wanted]:
    """The deliveries `event` wants."""
    wanted: list[Wanted] = []
    for sink in settings.sinks:
        if sink == "datadog":
            if event.state in TURNS and not _is_about(event, sink, ""):
                wanted.append(Wanted(sink, event.id, event.correlation))
        elif sink == "slack":  # the page's feed shows what the ledger holds: it need not be told
            wanted += _messages(event, sink, settings)
    # Errors are counted as they are seen, by whoever follows the journals.
    if settings.statsd_host and event.state in TURNS and event.kind != Kind.ERROR:
        wanted.append(Wanted("metrics", event.id, event.correlation))
    return wanted


def reply_state(key: str, correlation: str) -> State | None:
    """The state a loud reply is about; None when `key` is the story's own message."""
    return None if key == correlation else State(key.removeprefix(f"{correlation}#"))


def is_quiet(event: Event) -> bool:
    """Whether the channel hears nothing of `event` (or a story): a build that goes well after one that did."""
    return event.kind == Kind.BUILD and event.state not in LOUD and not event.recovered


def _messages(event: Event, sink: str, settings: Settings) -> list[Wanted]:
    quiet = Severity.INFO if event.kind in _LIVES else severity(event)
    lane = settings.route(event.environment, event.kind, quiet).channel
    if _is_about(event, sink, lane):
        return []
    # A build that was lost and then ends well after all corrects what is shown of it.
    messages = [Wanted(sink, event.correlation, event.correlation, lane, if_known=is_quiet(event))]
    if event.state in LOUD:
        lane = settings.route(event.environment, event.kind, severity(event)).channel
        messages.append(Wanted(sink, f"{event.correlation}#{event.state}", event.correlation, lane))
    return messages


def _is_about(event: Event, sink: str, lane: str) -> bool:
    """Whether `event` is the alert that `sink` (in this lane) is stuck, which it could not show before it is over."""
    if event.kind != Kind.ALERT or event.state == State.FINISHED:
        return False
    told = event.model_extra or {}
    return told.get("sink") == sink and told.get("lane", "") in ("", lane)
