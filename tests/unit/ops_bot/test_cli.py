"""`ops-bot` as people and programs use it, with the bot, Slack and Datadog all down."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ops_bot import cli, spool
from ops_bot.events import Event, Kind, State
from ops_bot.ledger import Ledger, Wanted
from ops_bot.schema import text

Run = Callable[..., tuple[int, str, str]]
NOW = datetime.now(UTC)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    for name in list(os.environ):
        if name.startswith("OPS_BOT_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPS_BOT_SLACK_TOKEN", "xoxb-a-token-of-the-tests")

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = cli.main(arguments)
        except SystemExit as end:
            code = int(str(end.code))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def ledger(run: Run) -> Ledger:  # noqa: ARG001  (it sets where the ledger is)
    ledger = Ledger.open(
        "sqlite:///ledger.db", plan=lambda e: [Wanted("slack", e.correlation, e.correlation, "#operations")]
    )
    ledger.record(
        [
            _event("deploy:aaa1", State.STARTED, 50),
            _event(
                "deploy:aaa2", State.FAILED, 40, step="start", error="no answer within 30 s", environment="production"
            ),
            _event("build:b1", State.FINISHED, 30, kind=Kind.BUILD, image="web", service=""),
        ]
    )
    [newest, *_] = ledger.due("slack", NOW + timedelta(hours=1))
    ledger.begin(newest, NOW)
    ledger.ambiguous(newest, NOW + timedelta(hours=2), "reset by peer")
    return ledger


def _event(correlation: str, state: State, minutes_ago: int, **fields: object) -> Event:
    told = {
        "id": f"event-of-{correlation}",
        "kind": Kind.DEPLOY,
        "service": "web",
        "environment": "staging",
        "tag": "v2",
    }
    at = NOW - timedelta(minutes=minutes_ago)
    return Event.model_validate(told | {"correlation": correlation, "state": state, "at": at} | fields)


@pytest.mark.usefixtures("ledger")
def test_history(run: Run) -> None:
    code, out, _ = run("history")
    assert code == 0
    head, *lines = out.splitlines()
    assert head.split() == ["WHEN", "(UTC)", "ID", "WHAT"]
    assert [line.split()[2] for line in lines] == ["build:b1", "deploy:aaa2", "deploy:aaa1"]
    assert "production · web v2 failed" in lines[1]


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--environment", "production"], ["deploy:aaa2"]),
        (["--service", "web"], ["deploy:aaa2", "deploy:aaa1"]),
        (["--kind", "build"], ["build:b1"]),
        (["--since", "45m"], ["build:b1", "deploy:aaa2"]),
        (["--since", "2020-01-01"], ["build:b1", "deploy:aaa2", "deploy:aaa1"]),
        (["--limit", "1"], ["build:b1"]),
        (["--environment", "nowhere"], []),
    ],
)
def test_history_of_something(run: Run, arguments: list[str], found: list[str]) -> None:
    code, out, _ = run("history", "--json", *arguments)
    assert (code, [story["correlation"] for story in json.loads(out)]) == (0, found)


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize("name", ["deploy:aaa2", "event-of-deploy:aaa2"])
def test_one_story(run: Run, name: str) -> None:
    code, out, _ = run("show", name)
    assert code == 0
    assert "no answer within 30 s" in out
    assert "event-of-deploy:aaa2" in out
    told = json.loads(run("show", name, "--json")[1])
    assert told["story"]["state"] == "failed"
    assert [event["id"] for event in told["events"]] == ["event-of-deploy:aaa2"]
    assert told["deliveries"][0]["sink"] == "slack"


@pytest.mark.usefixtures("ledger")
def test_a_story_by_the_beginning_of_its_name(run: Run) -> None:
    assert json.loads(run("show", "build", "--json")[1])["story"]["correlation"] == "build:b1"
    code, _, said = run("show", "deploy:")
    assert (code, said) == (1, "ops-bot: deploy: may be deploy:aaa2, deploy:aaa1: say more of it\n")
    code, _, said = run("show", "deploy:z%")
    assert (code, said) == (1, "ops-bot: nothing is known of deploy:z%; to see what is, type: ops-bot history\n")


@pytest.mark.usefixtures("ledger")
def test_what_waits(run: Run) -> None:
    code, out, _ = run("outbox")
    assert code == 0
    assert "in doubt" in out.lower()
    waiting = {one["key"]: one for one in json.loads(run("outbox", "--json")[1])}
    assert waiting.keys() == {"deploy:aaa1", "deploy:aaa2", "build:b1"}
    assert waiting["build:b1"]["error"] == "reset by peer"
    assert run("outbox", "--sink", "datadog")[1] == "Nothing waits.\n"


def test_how_it_is(run: Run, ledger: Ledger) -> None:
    ledger.set_sink_state("slack", "paused", "token_revoked")
    ledger.quarantine("10.0.0.7", "no kind", "{}")
    code, out, _ = run("status")
    assert code == 0
    assert "3 events of 3 things that happened" in out
    assert "token_revoked" in out
    assert "1 body nobody could read: ops-bot quarantine" in out
    told = json.loads(run("status", "--json")[1])
    assert told["ledger"] == {"events": 3, "stories": 3, "waiting": 3, "parked": 0, "quarantined": 1}
    [slack] = told["sinks"]
    assert (slack["sink"], slack["state"], slack["waiting"]) == ("slack", "paused", 3)
    assert "10.0.0.7" in run("quarantine")[1]
    assert json.loads(run("quarantine", "--json")[1])[0]["reason"] == "no kind"


def test_told_once_more(run: Run, ledger: Ledger) -> None:
    for delivery in ledger.deliveries():
        ledger.settle(delivery, delivery.wanted, {"ts": "1"})
    code, out, _ = run("replay", "build:b1")
    assert code == 0
    assert out.startswith("1 message of build:b1 will be told again")
    assert [delivery.key for delivery in ledger.due("slack", datetime.now(UTC))] == ["build:b1"]
    assert run("replay", "build:b1", "--sink", "pager")[2] == "ops-bot: pager was never told of build:b1\n"


def test_a_backup_and_its_return(run: Run, ledger: Ledger) -> None:
    assert run("backup", "copy.db")[0] == 0
    assert run("backup", "copy.db")[2] == "ops-bot: copy.db exists already; choose another name\n"
    assert run("restore", "copy.db")[2] == "ops-bot: the ledger is in use: stop the bot first, then restore\n"
    ledger.close()
    assert run("restore", "copy.db")[1] == "the ledger is that of copy.db; the one before is ledger.db.replaced-1\n"
    assert len(json.loads(run("history", "--json")[1])) == 3
    assert run("backup", "nowhere/copy.db")[0] == 1


def test_a_spool_is_sent(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("flush", "spool")[2] == "ops-bot: set OPS_BOT_TOKEN to the token of the bot\n"
    monkeypatch.setenv("OPS_BOT_TOKEN", "a-token-of-the-tests")
    spool.Spool(tmp_path / "spool").add(_event("deploy:1", State.STARTED, 1))
    code, out, said = run("flush", "spool", "--url", "http://127.0.0.1:9")
    assert (code, out) == (1, "0 events sent to http://127.0.0.1:9, 1 left in spool\n")
    assert said == "ops-bot: http://127.0.0.1:9 cannot be reached: [Errno 111] Connection refused\n"
    said = "ops-bot: missing.pem is no file. Next: ops-bot flush spool --ca .lab/ENV/pki/ca.pem\n"
    assert run("flush", "spool", "--ca", "missing.pem")[2] == said
    monkeypatch.setattr(spool, "send", lambda *_, **__: spool.Answer(1, 0, []))
    assert json.loads(run("flush", "spool", "--json")[1]) == {"sent": 1, "refused": [], "left": 0, "why_left": ""}


def test_the_schema(run: Run) -> None:
    assert run("schema")[1] == text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["history", "--since", "yesterday"], "'yesterday' is no time; for example 2h, 3d or 2026-11-21T14:00"),
        (["history", "--kind", "party"], "invalid Kind value: 'party'"),
        (["party"], "invalid choice: 'party'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_what_cannot_be_asked(run: Run, arguments: list[str], said: str) -> None:
    code, _, error = run(*arguments)
    assert code == 2
    assert said in error


def test_what_is_set_wrongly_is_said_without_repeating_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("history")[2] == (
        "ops-bot: there is no ledger at ledger.db: check OPS_BOT_LEDGER_URL, or type: ops-bot serve\n"
    )
    monkeypatch.setenv("OPS_BOT_SLAK_TOKEN", "a-secret")
    code, _, said = run("history")
    assert code == 1
    assert said == (
        "ops-bot: there is no setting OPS_BOT_SLAK_TOKEN; did you mean OPS_BOT_SLACK_TOKEN? "
        "(docs/ops_bot.md lists the settings)\n"
    )
