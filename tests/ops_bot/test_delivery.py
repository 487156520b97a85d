"""Outages, bursts, restarts, two processes: hours on the tests' own clock, and the comparison at the end of each."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from fakes.datadog import FakeDatadog
from fakes.server import ACCEPT_THEN_RESET, RESET, Fault, Request, status
from fakes.slack import FakeSlack, rate_limit
from fakes.world import HOUR, World

from ops_bot.events import Event, Kind, State
from ops_bot.sinks.slack import Slack

OUTAGES = {"20 min": 20 * 60.0, "6 h": 6 * HOUR, "19 h": 19 * HOUR, "72 h": 72 * HOUR}


def down(world: World, *fakes: FakeSlack | FakeDatadog) -> None:
    for fake in fakes or (world.slack, world.datadog):
        fake.outage = lambda _: status(503)


def back(world: World) -> None:
    world.slack.heal()
    world.datadog.heal()


def a_day_at_work(world: World, outage: float) -> None:
    """Something in every tenth of the outage."""
    for part in range(10):
        if part % 2:
            world.tell(f"deploy:{part}", at=world.clock.now)
            world.run(outage / 20, naps_seconds=outage / 40)
            state = State.FAILED if part == 5 else State.FINISHED
            world.tell(f"deploy:{part}", state, duration_seconds=outage / 20)
            world.run(outage / 20, naps_seconds=outage / 40)
        else:
            world.tell(f"error:{part}", State.NEW, title=f"boom {part}", fingerprint=f"f{part}", count=1)
            world.run(outage / 10, naps_seconds=outage / 20)


def posts(world: World) -> list[Request]:
    return [request for request in world.slack.requests if request.name == "chat.postMessage"]


def assert_paced(world: World) -> None:
    """No channel ever gets two messages within a second."""
    for name, times in world.slack.posted_at.items():
        gaps = [after - before for before, after in pairwise(times)]
        assert all(gap >= 0.999 for gap in gaps), f"{name}: {min(gaps)} s between two messages"


# Outages.


@pytest.mark.parametrize("seconds", OUTAGES.values(), ids=OUTAGES)
@pytest.mark.parametrize("which", ["both", "slack", "datadog"])
def test_an_outage_loses_nothing_and_doubles_nothing(world: World, seconds: float, which: str) -> None:
    world.deploy(99)
    broken = {"both": (world.slack, world.datadog), "slack": (world.slack,), "datadog": (world.datadog,)}[which]
    down(world, *broken)
    a_day_at_work(world, seconds)
    back(world)
    world.catch_up()
    world.assert_told()
    assert_paced(world)
    late = {seen.aggregation_key for seen in world.datadog.seen() if seen.tag("late") == "true"}
    assert bool(late) == (seconds > 17 * HOUR and which != "slack"), "filed under now, and it says so"


def test_after_an_outage_one_summary_and_one_final_state_each(world: World) -> None:
    down(world, world.slack)
    a_day_at_work(world, 6 * HOUR)
    back(world)
    world.catch_up()
    seen = world.slack.seen()
    [summary] = [message for message in seen if message.text.startswith("📬")]
    assert seen.index(summary) <= 1, "the first thing one reads, but for the message that found Slack back"
    assert "1 failed" in summary.text + str(summary.blocks)
    assert Counter(message.key for message in seen).most_common(1)[0][1] == 1
    deploys = [message for message in seen if message.key.startswith("deploy:")]
    assert {message.state for message in deploys} == {"finished", "failed"}
    assert len(world.alerts()) == 1, "and the bot says one thing about itself"
    assert all(message.edits == 0 for message in deploys), "older states were not sent first"
    newest_first = [float(message.ts) for message in sorted(deploys, key=lambda m: m.key, reverse=True)]
    assert newest_first[1:] == sorted(newest_first[1:])
    world.assert_told()


def test_what_is_late_says_so(world: World) -> None:
    down(world, world.slack)
    world.tell()
    world.run(14 * 60)
    back(world)
    world.catch_up()
    [seen] = [message for message in world.slack.seen() if message.key == "deploy:1"]
    assert "delayed 1" in seen.text
    world.run(HOUR)
    world.tell(state=State.FINISHED)
    world.catch_up()
    [seen] = [message for message in world.slack.seen() if message.key == "deploy:1"]
    assert "delayed" not in seen.text, "the news is not"


def test_a_replay_is_not_late(world: World) -> None:
    world.deploy()
    world.run(24 * HOUR, naps_seconds=HOUR)
    world.ledger.replay("deploy:1", "slack")
    world.catch_up()
    assert "delayed" not in world.slack.seen()[0].text
    world.assert_told()


@pytest.mark.parametrize("stuck", ["slack", "datadog"])
def test_a_sink_that_is_stuck_is_said_in_the_other(world: World, stuck: str) -> None:
    down(world, getattr(world, stuck))
    world.tell()
    world.run(240)
    assert not world.alerts(), "a short one is nobody's business"
    world.run(400)
    [alert] = world.alerts()
    if stuck == "slack":
        [seen] = [event for event in world.datadog.seen() if event.tag("kind") == "alert"]
        assert (seen.alert_type, "Slack takes nothing" in seen.title) == ("warning", True)
        assert "503" in seen.text
    else:
        [message] = [message for message in world.slack.seen() if message.key == alert.correlation]
        assert "Datadog takes nothing" in message.text
    back(world)
    world.catch_up()
    assert len(world.alerts()) == 1
    assert world.alerts()[0].state == State.FINISHED
    world.assert_told()


def test_both_stuck_say_so_of_each_other_when_they_are_back(world: World) -> None:
    down(world)
    world.tell()
    world.run(HOUR)
    back(world)
    world.catch_up()
    assert len(world.alerts()) == 2
    world.assert_told()


def test_a_second_outage_is_another_one(world: World) -> None:
    for number in range(2):
        down(world, world.datadog)
        world.tell(f"deploy:{number}")
        world.run(HOUR / 2)
        back(world)
        world.catch_up()
    assert len(world.alerts()) == 2
    world.assert_told()


def test_starting_with_both_sinks_down(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        world.slack.stop()
        world.datadog.stop()
        world.crash()
        world.tell()
        world.run(5)
        world.tell(state=State.FINISHED)
        world.run(5)
        assert world.waiting("slack") == 1
        assert [story.state for story in world.stories()] == [State.FINISHED], "history does not need them"
        world.slack.start()
        world.datadog.start()
        world.catch_up()
        world.assert_told()


@pytest.mark.parametrize("slow", ["slack", "datadog"])
def test_one_sink_down_never_delays_the_other(world: World, slow: str) -> None:
    down(world, getattr(world, slow))
    for number in range(20):
        world.tell(f"deploy:{number}")
        world.run(3)
        healthy = "datadog" if slow == "slack" else "slack"
        assert world.waiting(healthy) == 0
    back(world)
    world.catch_up()
    world.assert_told()


def test_a_sink_that_comes_and_goes(world: World) -> None:
    down(world)
    for number in range(10):
        (back if number % 2 else down)(world)
        world.deploy(number, seconds=45)
    back(world)
    world.catch_up()
    world.assert_told()
    assert_paced(world)


def test_half_of_all_requests_fail_in_every_way(world: World) -> None:
    ways: list[Fault | None] = [None, RESET, ACCEPT_THEN_RESET, status(503), None, None, rate_limit("2"), None]
    numbers = iter(range(1_000_000))

    def either(_request: object) -> Fault | None:
        return ways[next(numbers) * 5 % 8]

    world.slack.outage = world.datadog.outage = either
    for number in range(30):
        world.tell(f"deploy:{number}")
        world.run(20)
        world.tell(f"deploy:{number}", State.FAILED if number % 7 == 0 else State.FINISHED)
    world.catch_up()
    world.assert_told()


def test_a_build_that_was_lost_and_ends_well_after_all_is_not_left_as_lost(world: World) -> None:
    world.tell("build:1")
    world.run(5)
    assert not world.slack.seen(), "builds that go well are quiet"
    world.tell("build:1", State.LOST, sequence=1)
    world.run(5)
    world.tell("build:1", State.FINISHED, sequence=2)
    world.catch_up()
    world.assert_told()
    assert world.slack.seen()[0].state == "finished"


# Bursts.


def test_ten_thousand_events_are_a_handful_of_messages(world: World) -> None:
    began = world.clock.now
    events = [
        world.event(
            f"deploy:{number % 20}",
            State.STARTED if number < 20 else State.PROGRESS,
            sequence=number,
            at=began + timedelta(milliseconds=number),
            hosts=[{"name": f"web{number % 3}", "state": "pulling"}],
        )
        for number in range(9_980)
    ] + [world.event(f"deploy:{number}", State.FINISHED, sequence=20_000) for number in range(20)]
    for start in range(0, len(events), 1_000):
        world.ledger.record(events[start : start + 1_000])
    world.catch_up()
    assert len(posts(world)) == 20
    assert world.slack.count("chat.update") == 0, "what was never seen needs no edit"
    world.assert_told()
    assert_paced(world)


def test_a_burst_while_it_is_sent_is_coalesced(world: World) -> None:
    for number in range(200):
        world.tell("deploy:1", State.PROGRESS if number else State.STARTED, sequence=number)
        world.run(0.1)
    world.tell("deploy:1", State.FINISHED, sequence=999)
    world.catch_up()
    assert len(posts(world)) == 1
    edits = world.slack.count("chat.update")
    assert edits <= 5 + 20 * 45 / 60 + 2, "chat.update takes 50 a minute"
    world.assert_told()


def test_many_channels_keep_their_own_pace(tmp_path: Path) -> None:
    routes = [{"kind": "scale", "channel": "#random"}, {"kind": "error", "channel": "#incidents"}]
    with World(tmp_path, routes=routes) as world:
        for number in range(150):
            world.tell(f"scale:{number}")
        world.tell("deploy:1")
        world.tell("error:1", State.NEW, title="boom")
        for number in range(150, 300):
            world.tell(f"scale:{number}")
        world.run(3)
        assert [seen.key for seen in world.slack.seen("operations")] == ["deploy:1"]
        assert [seen.key for seen in world.slack.seen("incidents")] == ["error:1"]
        world.catch_up()
        world.assert_told()
        assert_paced(world)


def test_the_newest_is_told_first(world: World) -> None:
    for number in range(10):
        world.tell(f"deploy:{number}")
    world.catch_up()
    assert [seen.key for seen in world.slack.seen()] == [f"deploy:{number}" for number in reversed(range(10))]


# Processes.


def test_a_crash_between_acceptance_and_record_doubles_nothing(world: World) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    world.tell()
    sender = world.senders["slack"]
    world.ledger.settle = killed  # type: ignore[assignment,method-assign]
    with pytest.raises(Killed):
        sender.step()
    assert len(world.slack.seen()) == 1
    world.crash()
    world.tell(state=State.FINISHED)
    world.catch_up()
    world.assert_told()
    assert len(posts(world)) == 1


def test_of_two_processes_one_sends(world: World) -> None:
    second = world.sender(Slack(world.settings), owner="second")
    world.senders["slack of the second"] = second
    for number in range(5):
        world.tell(f"deploy:{number}")
    world.run(60)
    assert len(posts(world)) == 5
    assert world.ledger.leader("slack") != "second"
    del world.senders["slack of the second"]
    world.catch_up()
    world.assert_told()


def test_the_second_takes_over_when_the_first_is_gone(world: World) -> None:
    world.tell("deploy:1")
    world.run(5)
    second = world.sender(Slack(world.settings), owner="second")
    world.senders["slack"] = second
    world.tell("deploy:2")
    world.run(30)
    assert world.ledger.leader("slack") == "second"
    world.catch_up()
    world.assert_told()


@pytest.mark.parametrize("hours", [-10, -1, 1, 10])
@pytest.mark.parametrize("trouble", [status(503), rate_limit("30"), ACCEPT_THEN_RESET], ids=["503", "429", "doubt"])
def test_a_clock_that_jumps_stops_nothing(world: World, hours: float, trouble: Fault) -> None:
    world.deploy(1)
    world.slack.fail(trouble, trouble, on="chat.postMessage")
    world.tell("deploy:2")
    world.run(2)
    true_time = world.slack.clock
    offset = timedelta(hours=hours)

    def theirs() -> datetime:
        return true_time() - offset

    world.slack.clock = world.datadog.clock = theirs  # the world's own time goes on as it did
    world.clock.advance(hours * HOUR)
    world.deploy(3)
    world.run(300)
    assert world.waiting() == 0
    world.assert_told()


def test_a_story_that_was_forgotten_waits_for_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.tell()
    monkeypatch.setattr(world.ledger, "story", lambda _correlation: None)
    world.run(5)
    assert world.waiting("slack") == 0


def test_a_story_that_cannot_be_read_holds_up_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    read = world.ledger.story

    def unreadable(correlation: str) -> object:
        if correlation == "deploy:1":
            raise ValueError("no such state")
        return read(correlation)

    monkeypatch.setattr(world.ledger, "story", unreadable)
    world.tell("deploy:2")
    world.tell("deploy:1")
    world.run(30)
    assert [seen.key for seen in world.slack.seen()] == ["deploy:2"]
    monkeypatch.undo()
    world.catch_up()
    world.assert_told()


def test_a_mistake_of_ours_holds_up_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    slack = world.senders["slack"].sink
    deliver = slack.deliver

    def sometimes(job: object, now: datetime) -> object:
        if "deploy:1" in str(job):
            raise ZeroDivisionError
        return deliver(job, now)  # type: ignore[arg-type]

    monkeypatch.setattr(slack, "deliver", sometimes)
    world.tell("deploy:2")
    world.tell("deploy:1")
    world.run(30)
    assert [seen.key for seen in world.slack.seen()] == ["deploy:2"]
    assert world.ledger.sink_state("slack").state == "ok"
    monkeypatch.undo()
    world.catch_up()
    world.assert_told()


def test_the_loop_runs_by_itself_and_wakes_at_once(tmp_path: Path) -> None:
    """In real time: a thread, a real clock, and a message well before the next poll."""
    import threading  # noqa: PLC0415
    import time  # noqa: PLC0415
    from datetime import UTC  # noqa: PLC0415

    with World(tmp_path) as world:

        def now() -> datetime:
            return datetime.now(UTC)

        world.slack.clock = world.clock = now  # type: ignore[assignment]
        sender = world.sender(Slack(world.settings))
        stop = threading.Event()
        thread = threading.Thread(target=sender.run, args=(stop,))
        thread.start()
        try:
            story = Event(correlation="deploy:1", kind=Kind.DEPLOY, state=State.STARTED, at=now(), tag="v65")
            began = time.monotonic()
            world.ledger.record([story])
            seen: Callable[[], list[object]] = lambda: list(world.slack.seen())  # noqa: E731
            while not seen() and time.monotonic() < began + 5:
                time.sleep(0.005)
            assert time.monotonic() - began < 0.9
        finally:
            stop.set()
            sender.wake()
            thread.join(5)
        assert not thread.is_alive()
        assert world.ledger.leader("slack") == "", "whoever comes next need not wait"
