"""The bot is killed at every step between receiving an event and marking it as told: nothing lost, nothing twice.

Whatever the moment, afterwards the ledger holds each event once, and Slack and Datadog show what it holds, once.
"""

from __future__ import annotations

import contextlib
import random
import signal
from pathlib import Path

import pytest
from bot_process import Moment, until
from bot_team import Team, free_port
from fakes.server import ACCEPT_THEN_RESET, RESET, Fault, Request, status

from ops_bot.events import State
from ops_bot.ledger import Ledger

STORY = (State.STARTED, State.PROGRESS, State.FAILED)


# Far more than there are: the sweep below finds the last one by itself.
@pytest.mark.parametrize("place", ["before-commit", "after-commit", "before-answer", "after-answer"])
def test_killed_at_every_step_it_loses_and_doubles_nothing(place: str, tmp_path: Path) -> None:
    died = 0
    for number in range(1, 200):
        folder = tmp_path / str(number)
        folder.mkdir()
        team = Team(folder)
        with team.slack, team.datadog:
            if not _dies_and_recovers(team, Moment(place, number)):
                break
            died += 1
    else:
        pytest.fail("it never got through the whole story")
    steps = {"before-commit": 12, "after-commit": 12, "before-answer": 4, "after-answer": 4}
    assert died >= steps[place], "the story has more steps than that: are they still counted?"


def _dies_and_recovers(team: Team, moment: Moment) -> bool:
    """Play the story on a bot that dies at `moment`; False when it came through without getting there."""
    bot = team.start(moment)
    try:
        for state in STORY:
            team.tell(state)
            until(lambda: team.flush() or not bot.alive, f"{moment}: event sent or bot dead")
            until(lambda: bool(team.slack.seen()) or not bot.alive, f"{moment}: message seen or bot dead")
        until(lambda: not bot.alive or team.settled(), f"{moment}: all told or bot dead")
        if bot.alive:
            team.assert_told()
            return False
        assert bot.wait() == -signal.SIGKILL, team.logs()
        bot = team.start()
        until(team.flush, f"{moment}: what was not sent before is sent")
        until(team.settled, f"{moment}: everything is told")
        team.assert_told()
    except AssertionError as error:
        raise AssertionError(f"killed at {moment}: {error}\n{team.logs()}") from error
    finally:
        bot.kill()
    return True


class Trouble:
    """Half of all requests fail, in the ways that make duplicates and losses."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311

    def __call__(self, request: Request) -> Fault | None:
        if request.name == "auth.test":
            return None
        return self._random.choice([None, None, None, ACCEPT_THEN_RESET, RESET, status(503)])


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_under_load_while_half_of_everything_fails(team: Team, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311
    team.slack.outage, team.datadog.outage = Trouble(seed), Trouble(seed + 1)
    bot = team.start()
    for number in range(1, 9):
        team.tell(State.STARTED, State.PROGRESS, number=number)
        until(team.flush, f"seed {seed}: sent")
        team.tell(dice.choice([State.FINISHED, State.FAILED]), number=number)
        # A moment of no meaning, which is the point.
        deadline = dice.uniform(0.0, 0.6)
        with contextlib.suppress(AssertionError):
            until(lambda: False, "time passed", deadline)
        bot.kill()
        bot = team.start()
    until(team.flush, f"seed {seed}: sent")
    team.slack.heal()
    team.datadog.heal()
    until(team.settled, f"seed {seed}: told\n{team.logs()}", 90)
    team.assert_told()


def test_of_two_processes_on_one_ledger_one_sends_and_the_other_takes_over(team: Team) -> None:
    # Two that live: here a lease must outlast an attempt, however busy the machine is that tests run on.
    first = team.start(lease_seconds=5)
    team.tell(State.STARTED, number=1)
    until(team.flush, "sent to the first")
    second = team.start(port=free_port(), lease_seconds=5)
    for number in range(2, 6):
        team.tell(State.STARTED, State.FINISHED, number=number)
    until(team.flush, "sent to the first")
    until(team.settled, "told")
    team.assert_told()
    first.kill()
    team.port = int(second.environment["OPS_BOT_PORT"])
    team.tell(State.FAILED, number=1)
    until(team.flush, "sent to the second")
    until(team.settled, "told by the second")
    team.assert_told()


def test_sigterm_answers_what_was_asked_tells_what_is_due_and_ends(team: Team) -> None:
    bot = team.start()
    team.tell(*STORY)
    until(team.flush, "sent")
    assert bot.terminate() == 0, team.logs()
    team.assert_told()
    with contextlib.closing(Ledger.open(f"sqlite:///{team.folder}/ledger.db")) as ledger:
        assert [ledger.leader(sink) for sink in ("slack", "datadog")] == ["", ""], "the next one need not wait"


def test_it_starts_while_everything_is_down_and_tells_it_when_it_is_back(tmp_path: Path) -> None:
    team = Team(tmp_path)
    with team.slack, team.datadog:
        pass  # their ports are known now, and nobody listens
    bot = team.start()
    try:
        team.tell(*STORY)
        until(team.flush, "recorded, though nobody can be told")
        with team.slack, team.datadog:
            until(team.settled, f"told\n{team.logs()}", 60)
            team.assert_told()
    finally:
        bot.kill()
