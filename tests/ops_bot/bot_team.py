"""A bot, a sender with its spool, and fakes of the two services that people look at: what a test of processes needs."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot_process import LEASE_SECONDS, BotProcess, Moment
from fakes.datadog import API_KEY, APP_KEY, FakeDatadog
from fakes.slack import TOKEN, FakeSlack

from ops_bot.events import Event, Kind, State
from ops_bot.ledger import Ledger
from ops_bot.sinks.plan import LOUD, TURNS
from ops_bot.spool import Spool

BOT_TOKEN = "a-token-of-the-tests"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Team:
    """A bot with its ledger, a sender of events with its spool, and the two services that people look at."""

    def __init__(self, folder: Path, ledger_url: str = "") -> None:
        self.folder = folder
        self.ledger_url = ledger_url or f"sqlite:///{folder}/ledger.db"
        self.slack = FakeSlack()
        self.datadog = FakeDatadog()
        self.spool = Spool(folder / "spool")
        self.told: list[Event] = []
        self.port = free_port()
        self.bots: list[BotProcess] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(
        self, dies_at: Moment | None = None, *, port: int = 0, lease_seconds: float = LEASE_SECONDS
    ) -> BotProcess:
        environment = {
            "OPS_BOT_LEDGER_URL": self.ledger_url,
            "OPS_BOT_TOKEN": BOT_TOKEN,
            "OPS_BOT_PORT": str(port or self.port),
            "OPS_BOT_SLACK_TOKEN": TOKEN,
            "OPS_BOT_SLACK_URL": self.slack.url,
            "OPS_BOT_DATADOG_API_KEY": API_KEY,
            "OPS_BOT_DATADOG_APP_KEY": APP_KEY,
            "OPS_BOT_DATADOG_URL": self.datadog.url,
        }
        bot = BotProcess(environment, self.folder / f"bot-{len(self.bots)}.log", dies_at, lease_seconds).start()
        self.bots.append(bot)
        return bot

    def tell(self, *states: State, number: int = 1) -> None:
        """Something happens where playbooks run: it is in the spool, and goes from there when the bot has it."""
        for state in states:
            sequence = sum(event.correlation == f"deploy:{number}" for event in self.told)
            event = Event(
                id=f"event-{number}-{sequence}",
                correlation=f"deploy:{number}",
                sequence=sequence,
                kind=Kind.DEPLOY,
                state=state,
                at=datetime.now(UTC) + timedelta(microseconds=sequence),
                environment="staging",
                service="web",
                tag="v2",
                from_tag="v1",
            )
            self.spool.add(event)
            self.told.append(event)

    def flush(self) -> bool:
        """Try to send. Whether nothing is left to send."""
        return self.spool.flush(self.url, BOT_TOKEN, 5).left == 0

    def settled(self) -> bool:
        """Whether everything told is recorded and shown."""
        with contextlib.closing(Ledger.open(self.ledger_url, create=False)) as ledger:
            counts = ledger.counts()
        return counts["events"] >= len(self.told) and counts["waiting"] == 0

    def assert_told(self) -> None:
        """The ledger, Slack and Datadog agree with what happened: each thing once."""
        with contextlib.closing(Ledger.open(self.ledger_url, create=False)) as ledger:
            recorded = [event for one in {e.correlation for e in self.told} for event in ledger.events(one)]
            counts = ledger.counts()
            refs = {
                one.key: one.ref
                for name in {e.correlation for e in self.told}
                for one in ledger.deliveries("slack", name)
            }
            states = {one.correlation: one.state for one in ledger.stories(limit=1000) if one.kind == Kind.DEPLOY}
        assert sorted(event.id for event in recorded) == sorted(event.id for event in self.told)
        assert counts["parked"] == 0

        messages = {one.key: one for one in self.slack.seen()}
        assert Counter(one.key for one in self.slack.seen()) == Counter(messages.keys()), "a message twice"
        assert {key: one.state for key, one in messages.items() if key in states} == {
            name: state.value for name, state in states.items()
        }
        loud = {f"{event.correlation}#{event.state}" for event in self.told if event.state in LOUD}
        # A message that was posted as a failure in the first place needs no second one that says so aloud.
        for key in loud - messages.keys():
            assert refs[key] == {"covered_by": messages[key.partition("#")[0]].ts}
        assert {key for key in messages if "#" in key and key.startswith("deploy:")} <= loud

        shown = Counter(event.tag("event_id") for event in self.datadog.seen())
        turns = Counter(event.id for event in self.told if event.state in TURNS)
        assert {name: count for name, count in shown.items() if name in turns} == turns

    def logs(self) -> str:
        return "\n".join(bot.log.read_text()[-3000:] for bot in self.bots if bot.log.exists())
