"""The bot's delivery between a real ledger and fake services, on a clock of its own: hours pass in milliseconds.

Every test ends with `assert_told()`: what the ledger holds is what a person sees in Slack and in Datadog, all of it and
each thing once.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

from fakes import datadog as datadog_api
from fakes import slack as slack_api
from fakes.clock import Clock
from fakes.datadog import FakeDatadog
from fakes.slack import FakeSlack
from pydantic import SecretStr

from ops_bot.delivery import Sender
from ops_bot.events import Event, Kind, State, Story
from ops_bot.ledger import Ledger
from ops_bot.settings import Settings
from ops_bot.sinks.base import Sink
from ops_bot.sinks.datadog import Datadog
from ops_bot.sinks.plan import LOUD, TURNS, is_quiet, plan
from ops_bot.sinks.slack import Slack

HOUR = 3600.0
DAY = 24 * HOUR
# Retries lose their haste while a sink is down; nothing waits longer than this after it is back.
LAZY = 700.0


class World:
    """A bot that delivers to Slack and Datadog. As a context: everything is closed at its end."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.clock = Clock()
        self.slack = FakeSlack(clock=self.clock, channels=("operations", "incidents", "random")).start()
        self.slack.per_second = 1
        self.datadog = FakeDatadog(clock=self.clock).start()
        standard: dict[str, Any] = {
            "slack_token": SecretStr(slack_api.TOKEN),
            "slack_url": self.slack.url,
            "datadog_api_key": SecretStr(datadog_api.API_KEY),
            "datadog_app_key": SecretStr(datadog_api.APP_KEY),
            "datadog_url": self.datadog.url,
            "page_url": "https://ops.example.com",
        }
        self.settings = Settings(**standard | settings)
        self._url = f"sqlite:///{folder}/ledger.db"
        self.timeout_seconds = 5.0
        self.deadline_seconds = 12.0
        self.start()

    def start(self) -> None:
        """Start the bot; again after `crash`."""
        self.ledger = Ledger.open(self._url, clock=self.clock, plan=lambda event: plan(event, self.settings))
        timeout: Any = self.timeout_seconds
        sinks: list[Sink] = [Slack(self.settings, timeout_seconds=timeout)] if self.settings.slack_token else []
        if self.settings.datadog_api_key:
            sinks.append(Datadog(self.settings, timeout_seconds=timeout))
        self.senders = {sink.name: self.sender(sink) for sink in sinks}

    def sender(self, sink: Sink, owner: str = "") -> Sender:
        """One more process that wants to send to `sink`."""
        return Sender(
            self.ledger,
            sink,
            self.settings,
            clock=self.clock,
            owner=owner,
            jitter=lambda: 1.0,
            deadline_seconds=self.deadline_seconds,
        )

    def crash(self) -> None:
        """The process dies: nothing in memory is left, the lease of the old one has to run out."""
        self.ledger.close()
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.ledger.close()
        self.slack.stop()
        self.datadog.stop()

    # What happens.

    def event(self, correlation: str = "deploy:1", state: State = State.STARTED, **fields: Any) -> Event:
        """An event that happens now."""
        return Event.model_validate(
            {
                "correlation": correlation,
                "kind": correlation.partition(":")[0],
                "state": state,
                "at": self.clock.now,
                "environment": "staging",
                "service": "web",
                "tag": "v65",
                "from_tag": "v64",
                "actor": "ann",
            }
            | fields
        )

    def tell(self, correlation: str = "deploy:1", state: State = State.STARTED, **fields: Any) -> Event:
        """Record an event that happens now."""
        event = self.event(correlation, state, **fields)
        self.ledger.record([event])
        return event

    def deploy(self, number: int = 1, seconds: float = 10) -> None:
        """One deploy from its start to its end, with time for every message."""
        self.tell(f"deploy:{number}")
        self.run(seconds)
        self.tell(f"deploy:{number}", State.FINISHED, duration_seconds=seconds)
        self.run(seconds)

    # Time.

    def run(self, seconds: float, naps_seconds: float = 0) -> None:
        """Let the bot work while `seconds` pass, `naps_seconds` at least from one turn to the next."""
        end = self.clock.now + timedelta(seconds=seconds)
        while self.clock.now < end:
            wait = max(naps_seconds, min(sender.step() for sender in self.senders.values()))
            left = (end - self.clock.now).total_seconds()
            # A microsecond more: what is due at a time is not due before it.
            self.clock.advance(min(wait + 1e-6, left) if wait > 0 else 0)

    def catch_up(self, within_seconds: float = DAY) -> None:
        """Let the bot work until it owes nobody anything. Raises AssertionError when it does not get there."""
        end = self.clock.now + timedelta(seconds=within_seconds)
        while self.waiting():
            waiting = self.ledger.deliveries(limit=3)
            assert self.clock.now < end, f"{self.waiting()} deliveries still wait, such as {waiting}"
            self.run(min(60.0, (end - self.clock.now).total_seconds()))

    def waiting(self, sink: str = "") -> int:
        """How many deliveries are owed."""
        return sum(self.ledger.backlog(name).count for name in ([sink] if sink else self.senders))

    # What a person sees.

    def stories(self) -> list[Story]:
        """All there are."""
        return self.ledger.stories(limit=1_000_000)

    def alerts(self) -> list[Story]:
        """What the bot said about itself."""
        return self.ledger.stories(kind=Kind.ALERT, limit=1_000)

    def assert_told(self) -> None:
        """The ledger, the channel and the event stream tell the same: nothing lost, nothing twice."""
        assert self.waiting() == 0
        assert self.ledger.counts()["parked"] == 0
        stories = self.stories()
        _assert_same(self._heads_wanted(stories), Counter(self._heads_seen()), "Slack messages")
        _assert_same(self._replies_wanted(stories), Counter(self._replies_seen()), "loud replies")
        events = [event for story in stories for event in self.ledger.events(story.correlation)]
        wanted = Counter(e.id for e in events if e.state in TURNS and not _about(e, "datadog"))
        seen = Counter(self._ids().get(event.tag("event_id"), event.tag("event_id")) for event in self.datadog.seen())
        _assert_same(wanted, seen, "Datadog events")

    def _heads_wanted(self, stories: list[Story]) -> Counter[tuple[str, str]]:
        return Counter(
            (story.correlation, str(story.state))
            for story in stories
            if any(not (_about(e, "slack") or is_quiet(e)) for e in self.ledger.events(story.correlation))
        )

    def _heads_seen(self) -> list[tuple[str, str]]:
        return [(seen.key, seen.state) for seen in self.slack.seen() if self.ledger.story(seen.key)]

    def _replies_wanted(self, stories: list[Story]) -> Counter[str]:
        wanted: Counter[str] = Counter()
        for story in stories:
            for state in {event.state for event in self.ledger.events(story.correlation)} & LOUD:
                key = f"{story.correlation}#{state}"
                told = {one.key: one for one in self.ledger.deliveries("slack", story.correlation)}
                if "covered_by" not in (told[key].ref or {}):
                    wanted[key] += 1
        return wanted

    def _replies_seen(self) -> list[str]:
        return [seen.key for seen in self.slack.seen() if not self.ledger.story(seen.key)]

    def _ids(self) -> dict[str, str]:
        from ops_bot.sinks.datadog_text import tag_value  # noqa: PLC0415

        stories = self.stories()
        return {tag_value(event.id): event.id for story in stories for event in self.ledger.events(story.correlation)}


def _about(event: Event, sink: str) -> bool:
    told = event.model_extra or {}
    return event.kind == Kind.ALERT and event.state != State.FINISHED and told.get("sink") == sink


def _assert_same(wanted: Counter[Any], seen: Counter[Any], what: str) -> None:
    lost, doubled = wanted - seen, seen - wanted
    assert not lost, f"{what} lost: {dict(list(lost.items())[:5])}"
    assert not doubled, f"{what} nobody wanted, or twice: {dict(list(doubled.items())[:5])}"


def until(moment: datetime, clock: Clock, fault: Any) -> Callable[[object], Any]:
    """An outage with `fault` until `moment`."""
    return lambda _request: fault if clock.now < moment else None
