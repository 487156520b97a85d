"""What tests of the bot as a whole begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bot_team import Team
from fakes.world import World


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    """A sender, both services, and no bot yet: the test starts as many as it wants, and none is left."""
    team = Team(tmp_path)
    with team.slack, team.datadog:
        yield team
        for bot in team.bots:
            if bot.alive:
                bot.kill()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """The bot's sending half in this process, between a ledger and both services, on a clock that the test turns."""
    with World(tmp_path) as world:
        yield world
