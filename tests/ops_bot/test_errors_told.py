"""From a line in a host's journal to the message that a person reads: the real bot, real journals, Slack's fake."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bot_process import BotProcess
from bot_team import BOT_TOKEN, Team
from fakes.slack import TOKEN, Seen
from journal_fleet import Fleet, eventually, needs_collector

from ops_bot.events import Event, HostState, Kind, State

pytestmark = needs_collector

TRACEBACK = """\
Traceback (most recent call last):
  File "/srv/app/pages.py", line 41, in lesson
    for step in steps:
TypeError: 'NoneType' object is not iterable"""


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path / "journals")


def start(team: Team, fleet: Fleet) -> BotProcess:
    environment = {
        "OPS_BOT_ENVIRONMENT_NAME": "production",
        "OPS_BOT_LEDGER_URL": team.ledger_url,
        "OPS_BOT_TOKEN": BOT_TOKEN,
        "OPS_BOT_PORT": str(team.port),
        "OPS_BOT_SLACK_TOKEN": TOKEN,
        "OPS_BOT_SLACK_URL": team.slack.url,
        "OPS_BOT_JOURNAL_DIR": str(fleet.folder),
    }
    bot = BotProcess(environment, team.folder / f"bot-{len(team.bots)}.log").start()
    team.bots.append(bot)
    return bot


def deploy(team: Team) -> None:
    """v65 was deployed four minutes ago."""
    ended = datetime.now(UTC) - timedelta(minutes=4, seconds=20)
    story = {"correlation": "deploy:65", "kind": Kind.DEPLOY, "service": "web", "environment": "production"}
    hosts = [HostState(name="web1", state="switched", tag="v65")]
    for sequence, (state, at) in enumerate(
        [(State.STARTED, ended - timedelta(seconds=5)), (State.FINISHED, ended)],
    ):
        fields = {"state": state, "at": at, "sequence": sequence, "tag": "v65", "from_tag": "v64", "hosts": hosts}
        team.spool.add(Event.model_validate(story | fields))
    eventually(team.flush)


def message(team: Team, key: str) -> Seen | None:
    return next((one for one in team.slack.seen() if one.key.startswith(key)), None)


def test_an_error_after_a_deploy_is_told_with_the_way_back(team: Team, fleet: Fleet) -> None:
    fleet.send(fleet.entry("INFO: all is well"))
    start(team, fleet)
    deploy(team)
    eventually(lambda: message(team, "deploy:65"))
    line = {"level": "error", "message": "request failed", "tag": "v65", "exception": TRACEBACK}
    fleet.send(fleet.entry(json.dumps(line)))
    eventually(lambda: message(team, "error:"))
    told = message(team, "error:")
    assert told
    first = told.text.splitlines()[0]
    for said in (
        "TypeError: 'NoneType' object is not iterable",
        "new in v65",
        "4 min after its deploy",
        "make rollback",
        "web1",
    ):
        assert said in first
    # And on the deploy's own message, where the person on call looks first.
    eventually(lambda: "TypeError" in str(getattr(message(team, "deploy:65"), "blocks", "")))
    deployed = message(team, "deploy:65")
    assert deployed
    assert "users may be hurt" in deployed.text
    assert "make rollback ENV=production SERVICE=web" in deployed.text


def test_a_flood_is_one_message(team: Team, fleet: Fleet) -> None:
    fleet.send(fleet.entry("INFO: all is well"))
    start(team, fleet)
    for start_at in range(0, 10_000, 2_500):
        some = range(start_at, start_at + 2_500)
        fleet.send(*(fleet.entry(f"ERROR: user {number} not found", host=f"web{number % 3}") for number in some))
    eventually(lambda: "10,000 times" in str(getattr(message(team, "error:"), "text", "")), seconds=60)
    assert [one.key[:6] for one in team.slack.seen()] == ["error:"]
    assert team.slack.count("chat.postMessage") == 1
    assert team.slack.count("chat.update") <= 4


def test_what_comes_while_the_bot_is_away_is_told_when_it_is_back(team: Team, fleet: Fleet) -> None:
    fleet.send(fleet.entry("ERROR: one of two"))
    bot = start(team, fleet)
    eventually(lambda: message(team, "error:"))
    bot.kill()
    fleet.send(fleet.entry("ERROR: two of two, in other words"))
    start(team, fleet)
    eventually(lambda: len(team.slack.seen()) == 2, seconds=60)
