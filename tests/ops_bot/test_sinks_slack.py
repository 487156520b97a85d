"""Slack's side of the fault list: whatever it answers, the channel shows what the ledger holds, each thing once."""

import threading
from datetime import datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from fakes.server import (
    ACCEPT_THEN_HANG,
    ACCEPT_THEN_RESET,
    BLACKHOLE,
    GZIP_LIE,
    HTML_PAGE,
    NO_CONTENT,
    RESET,
    TRUNCATED_JSON,
    Fault,
    says,
    status,
)
from fakes.slack import POST_ERRORS, UPDATE_ERRORS, rate_limit, refuse
from fakes.world import DAY, HOUR, LAZY, World

from ops_bot.events import State
from ops_bot.sinks.slack_errors import MEANING, Meaning

POST, UPDATE, HISTORY = "chat.postMessage", "chat.update", "conversations.history"


def patient(world: World) -> None:
    """Real seconds: a fault that takes time must not take the test's."""
    world.timeout_seconds, world.deadline_seconds = 0.1, 0.25
    world.crash()


# Once refused, then healthy.


@pytest.mark.parametrize("error", POST_ERRORS)
def test_every_published_error_of_a_post_is_survived(world: World, error: str) -> None:
    world.slack.fail(refuse(error), on=POST)
    world.deploy()
    world.catch_up()
    world.assert_told()


@pytest.mark.parametrize("error", sorted({*POST_ERRORS, *UPDATE_ERRORS}))
def test_every_published_error_of_an_edit_is_survived(world: World, error: str) -> None:
    world.tell()
    world.catch_up()
    world.slack.fail(refuse(error), on=UPDATE)
    world.tell(state=State.FINISHED)
    world.catch_up()
    told = [(seen.key, seen.state) for seen in world.slack.seen() if seen.key == "deploy:1"]
    assert told[-1] == ("deploy:1", "finished")
    # What cannot be edited is posted anew, under the one that stays as it was.
    if error in ("cant_update_message", "edit_window_closed"):
        assert told == [("deploy:1", "started"), ("deploy:1", "finished")]
        assert world.slack.seen()[1].broadcast
    elif error == "message_not_found":  # the fake still has it: in truth it would not
        assert told == [("deploy:1", "started"), ("deploy:1", "finished")]
    else:
        world.assert_told()


FAULTS = {
    "reset": RESET,
    "accepted, then reset": ACCEPT_THEN_RESET,
    "accepted, 500": Fault(accept=True, status=500, body=b""),
    "accepted, 502 with a page": Fault(accept=True, status=502, headers={"Content-Type": "text/html"}, body=b"<html>"),
    "accepted, fatal_error": says({"ok": False, "error": "fatal_error"}, accept=True),
    "accepted, internal_error": says({"ok": False, "error": "internal_error"}, accept=True),
    "accepted, broken JSON": Fault(accept=True, body=b'{"ok": true, "chan'),
    "accepted, nothing said": Fault(accept=True, body=b""),
    "accepted, no ts": says({"ok": True}, accept=True),
    "accepted, a list": says([], accept=True),
    "200 with a page": HTML_PAGE,
    "200 with half a JSON": TRUNCATED_JSON,
    "200 that says gzip and is not": GZIP_LIE,
    "200 that is not UTF-8": Fault(body=b"\x1f\x8b\x08\x00\xff\xfe"),
    "204": NO_CONTENT,
    "200 with ok and no more": says({"ok": True}),
    "200 with null": says(None),
    "an error nobody has heard of": refuse("moon_phase_unsuitable"),
    "an error that is no word": refuse("<b>No!</b>"),
    "429": rate_limit("1"),
    "403 of a proxy": status(403),
    "404 of a proxy": status(404),
    "407 of a proxy": status(407),
    "500": status(500),
    "502": status(502),
    "503": status(503, Retry_After="7"),
    "504": status(504),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("method", [POST, UPDATE])
def test_a_broken_answer_loses_nothing_and_doubles_nothing(world: World, fault: Fault, method: str) -> None:
    world.slack.fail(fault, on=method)
    world.deploy()
    world.catch_up()
    world.assert_told()


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_broken_answer_while_looking_loses_nothing_and_doubles_nothing(world: World, fault: Fault) -> None:
    world.slack.fail(ACCEPT_THEN_RESET, on=POST)
    world.slack.fail(fault, on=HISTORY)
    world.deploy()
    world.catch_up()
    world.assert_told()
    assert world.slack.count(POST) == 1


def test_every_second_answer_is_lost(world: World) -> None:
    numbers = iter(range(10_000))
    world.slack.outage = lambda _: ACCEPT_THEN_RESET if next(numbers) % 2 else None
    for number in range(8):
        world.deploy(number, seconds=2)
    world.catch_up()
    world.assert_told()


@pytest.mark.parametrize("fault", [BLACKHOLE, ACCEPT_THEN_HANG], ids=["blackhole", "accepted, then silence"])
def test_silence_is_a_failure_like_any_other(world: World, fault: Fault) -> None:
    patient(world)
    world.slack.fail(fault, on=POST)
    world.deploy()
    world.catch_up()
    world.assert_told()


def test_an_answer_in_crumbs_does_not_hold_the_bot_for_ever(world: World) -> None:
    patient(world)
    world.slack.fail(Fault(accept=True, body=None, crumb_seconds=0.05), on=POST)
    world.deploy()
    world.catch_up()
    world.assert_told()


def test_a_slow_answer_is_an_answer(world: World) -> None:
    world.slack.fail(Fault(accept=True, body=None, delay_seconds=0.1), on=POST)
    world.deploy()
    world.catch_up()
    world.assert_told()
    assert world.slack.count(HISTORY) == 0


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/api/", "http://no.such.host.invalid/api/"], ids=["nobody listens", "no such name"]
)
def test_what_never_left_is_not_looked_for(tmp_path: Path, url: str) -> None:
    with World(tmp_path, slack_url=url) as world:
        world.tell()
        world.run(2)
        [delivery] = world.ledger.deliveries("slack")
        assert delivery.attempts >= 1
        assert delivery.attempt_started is None


def test_tls_that_is_none_is_survived(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        world.settings = world.settings.model_copy(update={"slack_url": world.slack.url.replace("http:", "https:")})
        world.crash()
        world.tell()
        world.run(30)
        assert world.ledger.sink_state("slack").state == "slow"
        world.settings = world.settings.model_copy(update={"slack_url": world.slack.url})
        world.crash()
        world.catch_up()
        world.assert_told()


# 429.


def date_in(world: World, seconds: float) -> str:
    return format_datetime(world.clock.now + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("header", "at_least", "at_most"),
    [
        ("1", 1, 3),
        ("30", 30, 33),
        ("3600", 3600, 3603),
        ("0", 1, 3),
        (None, 0.8, 4),
        ("soon", 0.8, 4),
        ("", 0.8, 4),
        ("-5", 0.8, 4),
        ("nan", 0.8, 4),
        ("1e999", 1, DAY + 4),
        ("99999999", DAY - 1, DAY + 4),
        ("date in 90 s", 89, 93),
        ("date that has passed", 0.8, 4),
    ],
)
def test_429_waits_as_long_as_it_is_told(world: World, header: str | None, at_least: float, at_most: float) -> None:
    if header == "date in 90 s":
        header = date_in(world, 90)
    elif header == "date that has passed":
        header = date_in(world, -90)
    began = world.clock.now
    world.slack.fail(rate_limit(header), on=POST)
    world.tell()
    world.catch_up(2 * DAY)
    times = [request.at for request in world.slack.requests if request.name == POST]
    assert at_least <= (times[1] - began).total_seconds() <= at_most
    world.assert_told()


def test_429_outlives_the_process(world: World) -> None:
    world.slack.fail(rate_limit("3600"), on=POST)
    world.tell()
    world.run(5)
    world.crash()
    world.run(3000)
    assert world.slack.count(POST) == 1, "a restart is no reason to ask again"
    world.catch_up()
    world.assert_told()


# What a person must mend.


def test_a_revoked_token_pauses_slack_and_is_said_in_datadog(world: World) -> None:
    world.deploy(1)
    world.slack.revoked = True
    world.deploy(2)
    world.run(20)
    state = world.ledger.sink_state("slack")
    assert (state.state, "token_revoked" in state.reason, "OPS_BOT_SLACK_TOKEN" in state.reason) == (
        "paused",
        True,
        True,
    )
    assert [event for event in world.datadog.seen() if "takes nothing" in event.title]
    assert world.slack.count(POST) < 8, "asked again now and then, not in a loop"
    world.run(2 * HOUR)
    world.slack.revoked = False
    world.catch_up()
    world.assert_told()
    assert world.ledger.sink_state("slack").state == "ok"


def test_a_new_token_is_tried_as_soon_as_the_bot_has_it(world: World) -> None:
    world.slack.revoked = True
    world.tell()
    world.run(HOUR)
    world.slack.revoked = False
    world.crash()
    world.run(25)  # the lease of the process before
    assert world.slack.seen()[0].key == "deploy:1"
    world.catch_up()
    world.assert_told()


def test_the_token_is_in_no_error(tmp_path: Path) -> None:
    token = "xoxb-1234567890-abcdefghijklmnop\n"
    with World(tmp_path, slack_token=token) as world:
        world.tell()
        world.run(3)
        [delivery] = world.ledger.deliveries("slack")
        assert delivery.error
        assert "abcdefghijklmnop" not in delivery.error + world.ledger.sink_state("slack").reason


def test_an_archived_channel_holds_up_no_other(tmp_path: Path) -> None:
    routes = [{"kind": "scale", "channel": "#random"}]
    with World(tmp_path, routes=routes) as world:
        world.slack.archived.add("random")
        world.tell("scale:1")
        world.deploy(1)
        world.run(30)
        assert [seen.state for seen in world.slack.seen("operations") if seen.key == "deploy:1"] == ["finished"]
        assert [seen for seen in world.slack.seen("operations") if "#random takes nothing" in seen.text]
        assert world.ledger.sink_state("slack").state == "ok"
        health = world.ledger.health("slack")
        assert (health.state, health.reason.split(":")[:2]) == ("paused", ["#random", " is_archived"])
        world.slack.archived.clear()
        world.catch_up()
        world.assert_told()
        assert [seen.key for seen in world.slack.seen("random")] == ["scale:1"]


def test_a_channel_archived_in_the_middle_of_a_deploy(world: World) -> None:
    world.tell()
    world.run(5)
    world.slack.archived.add("operations")
    world.tell(state=State.FINISHED)
    world.run(HOUR)
    world.slack.archived.clear()
    world.catch_up()
    world.assert_told()


def test_a_channel_renamed_in_the_middle_of_a_deploy(world: World) -> None:
    world.tell()
    world.run(5)
    world.slack.rename("operations", "ops")
    world.tell(state=State.FINISHED)
    world.tell("deploy:2")
    world.catch_up()
    world.assert_told()


def test_rights_to_read_that_are_missing_stop_it_rather_than_double(world: World) -> None:
    world.slack.scopes.discard("channels:history")
    world.slack.fail(ACCEPT_THEN_RESET, on=POST)
    world.tell()
    world.run(HOUR)
    assert world.slack.count(POST) == 1
    assert "channels:history" in world.ledger.sink_state("slack").reason
    world.slack.scopes.add("channels:history")
    world.catch_up()
    world.assert_told()


def test_503_waits_as_long_as_it_is_told(world: World) -> None:
    began = world.clock.now
    world.slack.fail(status(503, Retry_After="120"), on=POST)
    world.tell()
    world.catch_up()
    times = [request.at for request in world.slack.requests]
    assert 120 <= (times[1] - began).total_seconds() <= 125
    world.assert_told()


@pytest.mark.parametrize("lane", ["#random", "random", "C0000000003"])
def test_a_channel_may_be_given_by_name_or_id(tmp_path: Path, lane: str) -> None:
    with World(tmp_path, slack_channel=lane) as world:
        world.slack.fail(ACCEPT_THEN_RESET, on=POST)
        world.tell()
        world.run(5)
        world.tell(state=State.FAILED)
        world.catch_up()
        assert [seen.key for seen in world.slack.seen("random")] == ["deploy:1", "deploy:1#failed"]
        world.assert_told()


# Messages that people, or Slack, do away with.


def test_a_message_deleted_by_hand_comes_back_with_the_news(world: World) -> None:
    world.tell()
    world.run(5)
    world.slack.delete_by_hand(world.slack.seen()[0].ts)
    world.tell(state=State.FINISHED)
    world.catch_up()
    world.assert_told()


def test_where_nothing_can_be_edited_only_turns_are_posted(world: World) -> None:
    world.slack.outage = lambda request: refuse("cant_update_message") if request.name == UPDATE else None
    world.tell()
    for number in range(1, 9):
        world.run(3)
        world.tell(state=State.PROGRESS, sequence=number)
    world.run(10)
    world.tell(state=State.FINISHED, sequence=10)
    world.catch_up()
    assert [seen.state for seen in world.slack.seen()] == ["started", "finished"]


@pytest.mark.parametrize("fault", [ACCEPT_THEN_RESET, status(500)], ids=["accepted, then reset", "500"])
def test_posting_it_again_is_as_careful_as_posting_it(world: World, fault: Fault) -> None:
    world.tell()
    world.run(5)
    world.slack.delete_by_hand(world.slack.seen()[0].ts)
    world.slack.fail(fault, on=POST)
    world.tell(state=State.FINISHED)
    world.catch_up()
    world.assert_told()


def test_a_failure_is_said_aloud_under_its_message(world: World) -> None:
    world.tell()
    world.run(5)
    world.tell(state=State.FAILED, error="health check", step="switch", undone=True)
    world.catch_up()
    head, loud = world.slack.seen()
    assert (loud.thread_ts, loud.broadcast, loud.key) == (head.ts, True, "deploy:1#failed")
    world.assert_told()


def test_a_failure_that_is_the_first_message_is_said_once(world: World) -> None:
    world.tell()
    world.tell(state=State.FAILED, error="health check")
    world.catch_up()
    assert [(seen.key, seen.state) for seen in world.slack.seen()] == [("deploy:1", "failed")]
    world.assert_told()


def test_what_is_over_when_it_can_be_said_is_not_said_aloud(world: World) -> None:
    world.tell()
    world.run(5)
    world.slack.outage = lambda _: status(503)
    world.tell(state=State.LOST, sequence=1)
    world.run(HOUR)
    world.tell(state=State.FINISHED, sequence=2)
    world.slack.heal()
    world.catch_up()
    assert [seen.state for seen in world.slack.seen() if seen.key.startswith("deploy:1")] == ["finished"]
    world.assert_told()


def test_a_failure_whose_message_was_deleted_is_still_said(world: World) -> None:
    world.tell()
    world.run(5)
    world.slack.delete_by_hand(world.slack.seen()[0].ts)
    world.tell(state=State.FAILED, error="health check")
    world.catch_up()
    assert "failed" in {seen.state for seen in world.slack.seen()}
    assert world.waiting() == 0


def test_failures_can_go_to_another_channel(tmp_path: Path) -> None:
    routes = [{"severity": "error", "channel": "#incidents"}]
    with World(tmp_path, routes=routes) as world:
        world.tell()
        world.run(5)
        world.tell(state=State.FAILED, error="health check")
        world.catch_up()
        assert [seen.state for seen in world.slack.seen("operations")] == ["failed"]
        assert [seen.key for seen in world.slack.seen("incidents")] == ["deploy:1#failed"]
        world.assert_told()


@pytest.mark.parametrize("fault", [ACCEPT_THEN_RESET, refuse("restricted_action_thread_locked")], ids=["doubt", "no"])
def test_a_loud_reply_that_meets_trouble_is_there_once(world: World, fault: Fault) -> None:
    world.tell()
    world.run(5)
    world.slack.fail(fault, on=POST)
    world.tell(state=State.FAILED, error="health check")
    world.catch_up()
    world.assert_told()


# What Slack does not take in this form.


@pytest.mark.parametrize("error", ["invalid_blocks", "msg_blocks_too_long", "metadata_too_large"])
def test_a_form_that_is_never_taken_is_said_in_plain_words(world: World, error: str) -> None:
    world.slack.outage = lambda request: refuse(error) if request.values.get("blocks") else None
    world.deploy()
    world.catch_up()
    [seen] = world.slack.seen()
    assert (seen.blocks, "v65" in seen.text) == ([], True)
    world.assert_told()


def test_what_is_never_taken_at_all_is_parked_and_said_elsewhere(world: World) -> None:
    world.slack.outage = lambda request: refuse("msg_too_long") if "v666" in str(request.values) else None
    world.tell("deploy:1", tag="v666")
    world.tell("deploy:2")
    world.run(HOUR)
    assert world.waiting() == 0
    assert [seen.key for seen in world.slack.seen()] == ["deploy:2"]
    assert world.ledger.counts()["parked"] == 1
    assert [event for event in world.datadog.seen() if "refused a message for good" in event.title]


def test_an_error_nobody_knows_that_stays_holds_up_nothing_else(world: World) -> None:
    world.slack.outage = lambda request: refuse("moon_phase_unsuitable") if "v666" in str(request.values) else None
    world.tell("deploy:1", tag="v666")
    world.tell("deploy:2")
    world.run(30)
    assert [seen.key for seen in world.slack.seen()] == ["deploy:2"]
    world.run(2 * HOUR)
    assert [event for event in world.datadog.seen() if "Slack keeps refusing a message" in event.title]
    world.slack.heal()
    world.catch_up()
    world.assert_told()


def test_a_message_slack_chokes_on_does_not_go_first_for_ever(world: World) -> None:
    world.slack.outage = lambda request: status(500) if "v666" in str(request.values) else None
    for number in range(5):
        world.tell(f"deploy:{number}")
    world.tell("deploy:9", tag="v666")
    world.run(HOUR)
    assert {seen.key for seen in world.slack.seen()} >= {f"deploy:{number}" for number in range(5)}
    world.slack.heal()
    world.catch_up()
    world.assert_told()


# Traps of the library.


def test_nothing_is_sent_twice_by_the_library(world: World) -> None:
    world.slack.fail(RESET, on=POST)
    world.tell()
    world.run(0.5)
    assert world.slack.count(POST) == 1


def test_nobody_is_alerted_by_names_in_foreign_text(world: World) -> None:
    world.tell(reason="<!channel> @here #general", actor="<@U012AB3CD>")
    world.run(5)
    world.tell(state=State.FINISHED)
    world.catch_up()
    for request in world.slack.requests:
        if request.name in (POST, UPDATE):
            assert (request.values["parse"], request.values["link_names"]) == ("none", False)
            assert "<!channel>" not in str(request.values)
            assert "<@U012AB3CD>" not in str(request.values)


# The table of errors itself.


def test_every_published_error_has_a_meaning_or_is_tried_again() -> None:
    unclassified = {error for error in (*POST_ERRORS, *UPDATE_ERRORS) if error not in MEANING}
    # All of these are about what we never send, or about a request that something on the way broke.
    assert unclassified == {
        *(error for error in POST_ERRORS if error.startswith("draft_")),
        "duplicate_channel_not_found",
        "duplicate_message_not_found",
        "invalid_arg_name",
        "invalid_array_arg",
        "invalid_charset",
        "invalid_form_data",
        "invalid_post_type",
        "missing_file_data",
        "missing_post_type",
    }


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        ("ratelimited", Meaning.LATER),
        ("fatal_error", Meaning.DOUBT),
        ("internal_error", Meaning.DOUBT),
        ("token_revoked", Meaning.APP),
        ("is_archived", Meaning.CHANNEL),
        ("msg_blocks_too_long", Meaning.CONTENT),
        ("edit_window_closed", Meaning.GONE),
    ],
)
def test_errors_mean_what_slack_says(error: str, meaning: Meaning) -> None:
    assert MEANING[error] == meaning


def test_clocks_that_differ_hide_no_message(world: World) -> None:
    ours = world.clock

    def slow_clock() -> datetime:
        return ours.now - timedelta(hours=5)

    world.slack.clock = slow_clock
    world.slack.fail(ACCEPT_THEN_RESET, on=POST)
    world.tell()
    world.catch_up()
    world.assert_told()
    assert world.slack.count(POST) == 1


def test_a_history_of_many_pages_is_read_to_its_end(world: World) -> None:
    world.slack.per_second = None
    world.slack.fail(ACCEPT_THEN_RESET, on=POST)
    world.tell("deploy:0")
    world.run(0.5)
    with world.slack.lock:
        for number in range(450):
            world.slack._post({"channel": "#operations", "text": f"chatter {number}"})
    world.run(LAZY)
    assert [seen.key for seen in world.slack.seen()].count("deploy:0") == 1
    assert world.waiting() == 0


def test_an_attempt_left_behind_posts_nothing_more(world: World) -> None:
    """A crumbling answer says the message is gone: whoever still reads it must not post another."""
    world.deadline_seconds = 0.2
    world.crash()
    world.tell()
    world.run(30)
    world.slack.delete_by_hand(world.slack.seen()[0].ts)
    world.slack.fail(Fault(accept=True, body=None, crumb_seconds=0.02), on=UPDATE)
    world.tell(state=State.FINISHED)
    world.run(2)
    threads = [thread for thread in threading.enumerate() if thread.name == "attempt"]
    assert threads, "the attempt is left behind"
    for thread in threads:
        thread.join(5)
    assert world.slack.count(POST) == 1
    world.catch_up()
    world.assert_told()
