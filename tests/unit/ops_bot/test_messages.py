"""Messages: what the first line says, and that no text from outside can break or abuse one."""
# ruff: noqa: RUF001  (dashes and lookalikes are meant)

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block

from ops_bot.events import Commit, ErrorNote, Event, HostState, Kind, State, Story
from ops_bot.messages import Message, catch_up, headline, plain, render, reply
from ops_bot.messages.compose import LOG_LIMIT, json_size
from ops_bot.messages.mrkdwn import Node, parse, words
from ops_bot.messages.samples import CASES, sample, settings_of
from ops_bot.settings import Settings
from ops_bot.text import size

NOW = datetime(2026, 11, 21, 18, 36, 55, tzinfo=UTC)
SETTINGS = Settings.model_validate({"page_url": "https://ops.example.com"})
STORIES = [case for case in CASES if case != "catch-up"]


def message_of(case: str) -> Message:
    chosen = sample(case, NOW)
    make = reply if chosen.is_reply else render
    return make(chosen.story, now=NOW, settings=settings_of(chosen), delayed_seconds=chosen.delayed_seconds)


def told(**fields: Any) -> Story:
    known: dict[str, Any] = {
        "correlation": "deploy:1",
        "kind": Kind.DEPLOY,
        "state": State.FAILED,
        "environment": "production",
        "service": "web",
        "tag": "v65",
        "from_tag": "v64",
        "at": NOW,
    }
    return Story.of([Event(**(known | fields))])


def serving(**tags: str) -> list[HostState]:
    return [HostState(name=name, tag=tag) for name, tag in tags.items()]


def said(story: Story) -> str:
    return headline(story, now=NOW, settings=SETTINGS)


def texts(message: Message) -> Iterator[str]:
    """Every piece of mrkdwn in `message`."""
    yield message.text
    for block in message.blocks:
        for part in (block.get("text"), *block.get("fields", []), *block.get("elements", [])):
            if part:
                yield part["text"]


def nodes(message: Message) -> Iterator[Node]:
    def inside(some: tuple[Node, ...]) -> Iterator[Node]:
        for node in some:
            yield node
            yield from inside(node.inside)

    for text in texts(message):
        yield from inside(parse(text))


def assert_slack_takes(message: Message) -> None:
    for parsed in Block.parse_all(message.blocks):
        parsed.validate_json()
    assert len(message.blocks) <= 50
    assert json_size(message.blocks) <= 8000
    assert message.text
    assert "\n" not in message.text
    assert size(message.text) <= 3000
    assert len(json.dumps(message.metadata)) < 8000
    for block in message.blocks:
        assert block["type"] in ("section", "context")
        if "text" in block:
            assert 0 < size(block["text"]["text"]) <= 3000
        assert len(block.get("fields", [])) <= 10
        assert all(0 < size(field["text"]) <= 2000 for field in block.get("fields", []))
        assert len(block.get("elements", [])) <= 10
    json.dumps([message.text, message.blocks, message.metadata], ensure_ascii=False).encode()


@pytest.mark.parametrize("case", STORIES)
def test_slack_takes_every_sample(case: str) -> None:
    assert_slack_takes(message_of(case))


@pytest.mark.parametrize("case", STORIES)
def test_the_text_says_all_that_the_first_block_says(case: str) -> None:
    message = message_of(case)
    first = words(parse(message.blocks[0]["text"]["text"]))
    assert words(parse(message.text)).startswith(first)


@pytest.mark.parametrize("case", STORIES)
def test_every_first_line_tells_of_the_users_and_what_to_do(case: str) -> None:
    line = words(parse(message_of(case).text))
    if case not in ("hostile", "error-resolved"):
        assert re.search(r"user|each host serves|serves? |nothing is switched|what serves", line)
    if case != "build-failed":  # whose mending is no command of ours
        assert re.search(r"Nothing to do\.|(Next|Roll back|To go back|To lift it): \S", line)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"hosts": serving(web1="v64", web2="v64"), "undone": True, "step": "health", "failed_host": "web1"},
            "❌ production · web v65 failed at “health” on web1 – users are not hurt: v64 serves on web1, web2 "
            "as before. Next: make logs ENV=production SERVICE=web",
        ),
        (
            {"hosts": serving(web1="v65", web2="v64"), "undone": False},
            "🚨 production · web v65 failed – users see 2 releases: v65 on web1; v64 on web2. "
            "Next: make status ENV=production SERVICE=web",
        ),
        (
            {"hosts": serving(web1="v64", web2="")},
            "❌ production · web v65 failed – v64 serves on web1; what web2 serves is not known. "
            "Next: make status ENV=production SERVICE=web",
        ),
        ({}, "❌ production · web v65 failed – what serves is not known. Next: make status ENV=production SERVICE=web"),
        (
            {"undone": True},
            "❌ production · web v65 failed – users are not hurt: v64 serves as before. "
            "Next: make logs ENV=production SERVICE=web",
        ),
        (
            {"hosts": serving(web1="v65"), "step": "prune"},
            "❌ production · web v65 failed at “prune” – users are served by v65 on web1. "
            "Next: make status ENV=production SERVICE=web",
        ),
        (
            {"kind": Kind.ROLLBACK, "tag": "v64", "from_tag": "v65", "hosts": serving(web1="v65")},
            "🚨 production · rollback web v65 → v64 failed – users are still on v65 on web1. "
            "Next: make status ENV=production SERVICE=web",
        ),
        (
            {"state": State.FINISHED, "hosts": serving(web1="v65"), "duration_seconds": 4.8},
            "✅ production · web v65 is live after 4.8 s – users are served by v65 on web1. Nothing to do. "
            "To go back: make rollback ENV=production SERVICE=web",
        ),
        (
            {"state": State.FINISHED, "environment": "local", "hosts": serving(web1="v65", web2="v64")},
            "⚠ local · web v65 is live – users see 2 releases: v65 on web1; v64 on web2. "
            "Roll back: make rollback SERVICE=web",
        ),
        (
            {"state": State.LOST, "error": "nothing was heard of it since 17:00:00 UTC"},
            "❌ production · web v65 was lost: nothing was heard of it since 17:00:00 UTC – what serves is not known. "
            "Next: make status ENV=production SERVICE=web",
        ),
        (
            {"hosts": serving(web1="v64"), "next_command": "make  deploy\nSERVICE=web TAG=v66"},
            "❌ production · web v65 failed – users are not hurt: v64 serves on web1 as before. "
            "Next: make deploy SERVICE=web TAG=v66",
        ),
    ],
)
def test_what_a_rollout_says_first(fields: dict[str, Any], expected: str) -> None:
    assert said(told(**fields)) == expected


def test_a_rollout_that_takes_much_longer_than_usual_says_so() -> None:
    begun = {"state": State.PROGRESS, "step": "pull", "expected_seconds": 5.1}
    assert "slower" not in said(told(**begun, at=NOW - timedelta(seconds=50)))
    assert said(told(**begun, at=NOW - timedelta(seconds=190))) == (
        "▶ production · web v64 → v65 on its way, now at “pull”, slower than usual: 3 min 10 s so far instead of 5.1 s "
        "– each host serves v64 until v65 is healthy there. Next: make status ENV=production SERVICE=web"
    )


def test_an_error_after_a_good_deploy_changes_what_its_message_says_first() -> None:
    done = {"state": State.FINISHED, "hosts": serving(web1="v65")}
    note = ErrorNote(fingerprint="f", title="KeyError: 'move'", count=12, seconds_after=240)
    assert said(told(**done, errors=[note])) == (
        "⚠ production · web v65 is live – users may be hurt: 1 new error since, “KeyError: 'move'” 12 times. "
        "Roll back: make rollback ENV=production SERVICE=web"
    )
    resolved = note.model_copy(update={"state": State.RESOLVED})
    assert "Nothing to do" in said(told(**done, errors=[resolved]))


@pytest.mark.parametrize(
    ("state", "seconds_after", "command"),
    [
        (State.NEW, 240, "Roll back: make rollback ENV=production SERVICE=web"),
        (State.REGRESSED, 3600, "Roll back: make rollback ENV=production SERVICE=web"),
        (State.NEW, 3601, "Next: make logs ENV=production SERVICE=web"),
        (State.NEW, None, "Next: make logs ENV=production SERVICE=web"),
        (State.ONGOING, 240, "Next: make logs ENV=production SERVICE=web"),
        (State.RESOLVED, 240, "Nothing to do."),
    ],
)
def test_a_rollback_is_advised_for_errors_that_came_with_a_deploy(
    state: State, seconds_after: float | None, command: str
) -> None:
    error = told(kind=Kind.ERROR, state=state, title="KeyError: 'move'", seconds_after_deploy=seconds_after)
    assert said(error).endswith(command)


@pytest.mark.parametrize("name", ["web; rm -rf /", "$(reboot)", "web\nx", "--help", "`id`", "web tag"])
def test_no_command_is_made_of_a_name_that_is_not_safe_to_paste(name: str) -> None:
    assert "make " not in said(told(service=name))
    assert "make " not in said(told(environment=name))


def test_the_first_five_commits_are_shown_and_the_others_counted() -> None:
    commits = [Commit(revision=f"{n:07}aaaa", author="ada", subject=f"Change {n}") for n in range(8)]
    shown = json.dumps(render(told(commits=commits, commit_count=40), now=NOW, settings=SETTINGS).blocks)
    assert "*40 commits* by ada" in shown
    assert "Change 4" in shown
    assert "Change 5" not in shown
    assert "+ 35 more" in shown


def test_a_message_that_comes_late_says_how_late_and_why() -> None:
    in_time = render(told(), now=NOW, settings=SETTINGS, delayed_seconds=60)
    late = render(told(), now=NOW, settings=SETTINGS, delayed_seconds=14 * 60 + 20)
    assert "delayed" not in json.dumps([in_time.text, in_time.blocks])
    assert late.text.endswith("⏱ delayed 14 min (Slack was unreachable)")
    assert late.blocks[1]["elements"][0]["text"] == "⏱ delayed 14 min (Slack was unreachable)"


def test_times_are_shown_in_the_zone_of_each_reader() -> None:
    frozen = told(kind=Kind.FREEZE, state=State.STARTED, service="", until=NOW + timedelta(hours=4))
    until = f"<!date^{int(NOW.timestamp()) + 4 * 3600}^{{date_short_pretty}} {{time_secs}}|2026-11-21 22:36:55 UTC>"
    assert until in render(frozen, now=NOW, settings=SETTINGS).text
    in_berlin = Settings.model_validate({"time_zone": "Europe/Berlin"})
    assert "until 2026-11-21 23:36:55 CET" in headline(frozen, now=NOW, settings=in_berlin)


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00"])
def test_a_clock_that_is_wrong_breaks_nothing(at: str) -> None:
    odd = told(
        kind=Kind.FREEZE, state=State.STARTED, at=at, until=at, started_at=at, expected_seconds=1e300, count=10**18
    )
    for zone in ("UTC", "Pacific/Kiritimati"):
        message = render(odd, now=NOW, settings=Settings.model_validate({"time_zone": zone}))
        assert_slack_takes(message)
        assert "<!date" not in message.text
        assert f" until {int(at[:4])}-" in headline(odd, now=NOW, settings=SETTINGS)


def test_the_end_of_a_long_log_is_shown() -> None:
    log = "\n".join(f"line {number}: <&>`" for number in range(4000))
    message = render(told(log_tail=log), now=NOW, settings=SETTINGS)
    shown = next(node.text for node in nodes(message) if node.kind == "pre")
    assert shown.startswith("…\n")
    assert shown.splitlines()[-1] == "line 3999: <&>ˋ"
    assert all(re.fullmatch(r"line \d+: <&>ˋ", line) for line in shown.splitlines()[1:])
    assert max(size(text) for text in texts(message)) <= LOG_LIMIT + 20


MENTIONS = {"routes": [{"severity": "error", "mention": "<!channel>"}]}


@pytest.mark.parametrize(
    ("fields", "mentioned"),
    [
        ({}, True),
        ({"state": State.LOST}, True),
        ({"environment": "staging"}, False),
        ({"state": State.FINISHED}, False),
        ({"kind": Kind.ERROR, "state": State.NEW, "title": "x"}, False),
    ],
)
def test_everybody_is_called_only_for_production_that_failed_and_when_routed(
    fields: dict[str, Any], mentioned: bool
) -> None:
    routed = Settings.model_validate(MENTIONS)
    for make in (render, reply):
        assert make(told(**fields), now=NOW, settings=routed).text.startswith("<!channel> ") is mentioned
        called = [n for n in nodes(make(told(**fields), now=NOW, settings=routed)) if n.kind == "mention"]
        assert bool(called) is mentioned
        assert "<!channel>" not in make(told(**fields), now=NOW, settings=SETTINGS).text


def test_a_person_may_be_called_for_what_the_route_says() -> None:
    routed = Settings.model_validate({"routes": [{"kind": "error", "mention": "<@U024BE7LH>"}]})
    new = told(kind=Kind.ERROR, state=State.NEW, title="x", environment="staging")
    assert render(new, now=NOW, settings=routed).text.startswith("<@U024BE7LH> 🆕")


def test_a_reply_is_short_and_complete() -> None:
    message = message_of("deploy-failed-loud")
    assert message.text.startswith("<!channel> ❌ production · web v65 failed")
    assert len(message.blocks) == 2
    assert json_size(message.blocks) < 1500


def test_a_degraded_message_keeps_its_text() -> None:
    message = message_of("deploy-failed")
    assert plain(message) == Message(message.text, [], message.metadata)


def test_metadata_finds_the_message_again() -> None:
    message = message_of("deploy-failed")
    assert message.metadata["event_type"] == "ops_event"
    assert (
        message.metadata["event_payload"]
        | {
            "event_id": "sample-0001",
            "correlation": "deploy:5f0c1e6a",
            "env": "production",
            "service": "web",
            "version": "v65",
            "state": "failed",
            "seq": 1,
        }
        == message.metadata["event_payload"]
    )


def test_after_an_outage_one_message_sums_up() -> None:
    stories = [sample(case, NOW).story for case in STORIES]
    since = NOW - timedelta(hours=6)
    message = catch_up(stories, sink="Slack", since=since, now=NOW, settings=SETTINGS)
    assert_slack_takes(message)
    assert "Back after 6 h" in message.text
    assert "went wrong meanwhile" in message.text
    assert "users see 2 releases" in json.dumps(message.blocks, ensure_ascii=False)
    calm = catch_up([sample("thaw", NOW).story], sink="Slack", since=since, now=NOW, settings=SETTINGS)
    assert "Nothing that happened meanwhile needs you" in calm.text


HOSTILE = st.text(max_size=60) | st.sampled_from(
    [
        "<!channel>",
        "<!here|x>",
        "<@U024BE7LH>",
        "<#C1>",
        "<https://evil.example|GitHub>",
        "<mailto:a@b.c>",
        "&lt;!here&gt;",
        "`",
        "```",
        "```\n<!channel>\n```",
        "*bold*",
        "_i_",
        "~s~",
        "\u202evil",
        "👩\u200d💻" * 30,
        "שלום",
        "a\nb",
        "\r\n",
        "\x1b[31m",
        "\x00",
        "<!date^1^{date}|x>",
        "{{ 7*7 }}",
        "{% raw %}",
        "|",
        ">",
        "> quote",
        "&" * 100,
        "<" * 400,
        "`" * 100,
        " ",
        "",
    ]
)


@st.composite
def hostile_stories(draw: st.DrawFn) -> Story:
    def text(limit: int = 200) -> str:
        return (draw(HOSTILE) * draw(st.sampled_from([1, 1, 30])))[:limit]

    hosts = [
        HostState(name=f"{n}{text(190)}", state=text(), tag=text(), message=text(500))
        for n in range(draw(st.sampled_from([0, 2, 30])))
    ]
    event = Event(
        correlation=draw(st.sampled_from(["deploy:1", "error:<x>&|:1"])),
        kind=draw(st.sampled_from(Kind)),
        state=draw(st.sampled_from(State)),
        at=NOW,
        environment=text(),
        service=text(),
        image=text(),
        tag=text(),
        from_tag=text(),
        digest=text(),
        revision=text(),
        compare_url=draw(
            st.sampled_from(["", "https://git.example.com/a?b=1&c=2", "javascript:alert(1)", "https://a|b>", "x"])
        ),
        commits=[
            Commit(revision=text(), author=text(), subject=text(500)) for _ in range(draw(st.sampled_from([0, 1, 7])))
        ],
        actor=text(),
        cause=text(),
        reason=text(500),
        forced=draw(st.booleans()),
        migrations=draw(st.sampled_from([None, True])),
        hosts=hosts,
        step=text(500),
        failed_host=text(),
        error=text(500),
        log_tail=text(200) * draw(st.sampled_from([1, 200])),
        exit_code=1,
        undone=draw(st.sampled_from([None, True, False])),
        next_command=text(500),
        duration_seconds=draw(st.sampled_from([None, 0.01, 1e9])),
        until=NOW,
        title=text(500),
        culprit=text(500),
        count=draw(st.sampled_from([None, 10**12])),
        first_tag=text(),
        last_tag=text(),
        seconds_after_deploy=1.0,
        errors=[ErrorNote(fingerprint=str(n), title=text(500)) for n in range(draw(st.sampled_from([0, 1, 9])))],
    )
    return Story.of([event])


@given(hostile_stories())
def test_nothing_in_foreign_text_acts_and_no_limit_is_passed(story: Story) -> None:
    for message in (
        render(story, now=NOW, settings=SETTINGS, delayed_seconds=900),
        reply(story, now=NOW, settings=SETTINGS, delayed_seconds=900),
        catch_up([story] * 9, sink="Slack", since=NOW, now=NOW, settings=SETTINGS),
    ):
        assert_slack_takes(message)
        for node in nodes(message):
            assert node.kind != "mention"
            if node.kind == "link":
                assert node.target.startswith(("https://ops.example.com/", "https://git.example.com/a?b=1&c=2"))
            if node.kind == "date":
                assert int(node.target) >= int(NOW.timestamp()) - 1
        for text in texts(message):
            assert text.count("```") in (0, 2)
            assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", text)


def test_a_message_of_40_000_characters_of_log_is_made_in_no_time() -> None:
    huge = told(log_tail="<`&\u202e" * 10_000, hosts=[HostState(name=f"web{n}", tag="v64") for n in range(2000)])
    render(huge, now=NOW, settings=SETTINGS)  # templates are compiled once
    started = time.process_time()
    render(huge, now=NOW, settings=SETTINGS)
    assert time.process_time() - started < 0.2
