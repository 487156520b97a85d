"""Metrics as a DogStatsD agent receives them, and what an error of the network says."""

import socket
import ssl
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.error import URLError

import pytest
from fakes.statsd import FakeStatsd
from fakes.world import World

from ops_bot import metrics
from ops_bot.errors.fingerprint import Occurrence
from ops_bot.errors.groups import Seen, observe
from ops_bot.events import State
from ops_bot.ledger import Backlog
from ops_bot.metrics import METRICS
from ops_bot.settings import Settings
from ops_bot.sinks.metrics import Metrics
from ops_bot.sinks.network import never_left

LETTERS = {"c": "count", "g": "gauge", "d": "distribution"}


@pytest.fixture
def agent() -> Iterator[FakeStatsd]:
    with FakeStatsd() as agent:
        yield agent


@pytest.fixture
def world(tmp_path: Path, agent: FakeStatsd) -> Iterator[World]:
    with World(tmp_path, statsd_host="127.0.0.1", statsd_port=agent.port) as world:
        world.senders = {"metrics": world.sender(Metrics(world.settings))}
        yield world


def parsed(lines: list[str]) -> dict[str, tuple[str, dict[str, str]]]:
    """By name: the value, and the tags. Whatever is sent is one that is promised, with the tags it promises."""
    found = {}
    for line in lines:
        name, _, rest = line.partition(":")
        value, letter, tags = rest.split("|")[:3]
        assert METRICS[name].kind == LETTERS[letter]
        told = dict(tag.split(":", 1) for tag in tags.removeprefix("#").split(","))
        assert set(told) == set(METRICS[name].tags)
        found[name] = (value, told)
    return found


def test_a_deploy_that_ended_is_counted_and_timed(world: World, agent: FakeStatsd) -> None:
    world.deploy()
    found = parsed(agent.lines(2))
    tags = {"env": "staging", "service": "web", "version": "v65", "result": "finished"}
    assert found == {
        metrics.DEPLOY_COUNT.name: ("1", tags),
        metrics.DEPLOY_DURATION.name: ("10.0", tags),
    }
    assert world.waiting() == 0


@pytest.mark.parametrize(
    ("correlation", "state", "fields", "name", "result"),
    [
        ("deploy:1", State.FAILED, {"undone": True}, metrics.DEPLOY_COUNT, "undone"),
        ("deploy:1", State.FAILED, {}, metrics.DEPLOY_COUNT, "failed"),
        ("deploy:1", State.LOST, {}, metrics.DEPLOY_COUNT, "lost"),
        ("rollback:1", State.FINISHED, {}, metrics.ROLLBACK_COUNT, "finished"),
        ("build:1", State.FAILED, {"duration_seconds": 4.5}, metrics.BUILD_DURATION, "failed"),
    ],
)
def test_every_end_is_counted_as_what_it_was(  # noqa: PLR0917
    world: World,
    agent: FakeStatsd,
    correlation: str,
    state: State,
    fields: dict[str, object],
    name: metrics.Metric,
    result: str,
) -> None:
    world.tell(correlation, state, **fields)
    world.run(1)
    assert parsed(agent.lines(1))[name.name][1]["result"] == result


def test_errors_are_counted_as_they_are_seen(world: World, agent: FakeStatsd) -> None:
    one = Occurrence(world.clock.now, "web1", "web", ("message",), "boom", tag="v65")
    group, _ = observe(None, Seen.of([one] * 12), "production", "f")
    Metrics(world.settings).count_errors(group, 12)
    value, tags = parsed(agent.lines(1))[metrics.ERRORS_COUNT.name]
    assert (value, tags) == ("12", {"env": "production", "service": "web", "version": "v65", "state": "new"})
    world.tell("error:1", State.NEW, title="boom", count=12)
    assert world.ledger.due("metrics", world.clock.now) == [], "and not once more when it is told"


def test_what_may_have_been_counted_is_not_counted_again(world: World, agent: FakeStatsd) -> None:
    event = world.tell("rollback:1", State.FINISHED)
    [delivery] = world.ledger.due("metrics", world.clock.now)
    world.ledger.begin(delivery, world.clock.now)  # and the process died
    world.run(1)
    assert world.waiting() == 0
    with pytest.raises(TimeoutError):
        agent.lines(1, deadline_seconds=0.1)
    assert event.id == delivery.key


def test_the_heartbeat_says_what_waits(agent: FakeStatsd) -> None:
    settings = Settings(statsd_host="127.0.0.1", statsd_port=agent.port, environment_name="production")
    Metrics(settings).beat([("slack", Backlog(37, timedelta(minutes=12)))])
    found = parsed(agent.lines(3))
    tags = {"env": "production", "service": "ops_bot"}
    assert found == {
        metrics.HEARTBEAT.name: ("1", tags),
        metrics.OUTBOX_SIZE.name: ("37", tags | {"sink": "slack"}),
        metrics.OUTBOX_OLDEST_AGE.name: ("720.0", tags | {"sink": "slack"}),
    }


def test_without_an_agent_nothing_is_held_up(tmp_path: Path) -> None:
    with World(tmp_path, statsd_host="127.0.0.1", statsd_port=9) as world:
        world.senders = {"metrics": world.sender(Metrics(world.settings))}
        world.deploy()
        assert world.waiting() == 0


@pytest.mark.parametrize(
    ("error", "sure"),
    [
        (URLError(ConnectionRefusedError(111, "refused")), True),
        (URLError(socket.gaierror(-2, "no such name")), True),
        (URLError(OSError(113, "no route to host")), True),
        (URLError(ssl.SSLCertVerificationError("certificate has expired")), True),
        (URLError(TimeoutError("timed out")), False),
        (URLError(ConnectionResetError(104, "reset")), False),
        (URLError(BrokenPipeError(32, "broken pipe")), False),
        (ConnectionResetError(104, "reset"), False),
        (TimeoutError("timed out"), False),
        (ValueError("no JSON"), False),
    ],
)
def test_only_what_surely_never_left_is_known_not_to_be_done(error: Exception, sure: bool) -> None:
    assert never_left(error) == sure
