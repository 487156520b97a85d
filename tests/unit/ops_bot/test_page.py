"""The page, asked in-process: what it says, who may see it, and that text from outside stays text."""
# ruff: noqa: S104  (addresses to be refused)

import base64
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from page_history import a_day, event, hostile, hosts, rollout, under_way
from starlette.applications import Starlette
from starlette.testclient import TestClient

from ops_bot.events import Kind, State, Story
from ops_bot.ledger import Ledger, Wanted
from ops_bot.page import data, routes, timeline
from ops_bot.page.guard import is_loopback
from ops_bot.settings import Settings

NOW = datetime(2026, 11, 21, 18, 36, 55, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", clock=lambda: NOW)
    yield opened
    opened.close()


@pytest.fixture
def busy(ledger: Ledger) -> Ledger:
    ledger.record([event for events in a_day(NOW) for event in events])
    return ledger


def browser(ledger: Ledger, host: str = "127.0.0.1:8765", **settings: Any) -> TestClient:
    chosen = Settings.model_validate(settings)
    application = Starlette(routes=routes(ledger, chosen, clock=lambda: NOW))
    return TestClient(application, base_url=f"http://{host}")


def page(ledger: Ledger, path: str = "/", **settings: Any) -> str:
    answer = browser(ledger, **settings).get(path)
    assert answer.status_code == 200
    return str(answer.text)


class Reader(HTMLParser):
    """What a browser makes of a page: elements with their attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.text += " " if tag in ("li", "p", "td", "th", "span", "b") else ""

    def handle_data(self, data: str) -> None:
        self.text += data


def said(page: str) -> str:
    return " ".join(Reader(page).text.split())


def test_an_empty_ledger_says_what_will_stand_here(ledger: Ledger) -> None:
    text = said(page(ledger))
    assert "Nothing was deployed yet" in text
    assert "make deploy SERVICE=web TAG=v1" in text
    assert "no Slack token is set" in text


def test_what_runs_where_is_what_the_newest_rollouts_told(busy: Ledger) -> None:
    text = said(page(busy))
    assert "production eval_worker v15 eval1, eval2, eval3 9 h ago grace deploy v15 finished" in text
    # The tag a rollback went to, not the one that was rolled back, nor the one that never became live.
    assert "web v63 web1, web2 1 h ago ada rollback v63 finished" in text
    assert "staging eval_worker v14 stage1 1 d ago ada" in text


def test_a_fleet_on_two_releases_is_the_first_thing_said(busy: Ledger) -> None:
    busy.record(
        rollout(
            99,
            NOW - timedelta(minutes=1),
            "v66",
            "v63",
            state=State.FAILED,
            hosts=hosts("v66", "web1") + hosts("v63", "web2"),
        )
    )
    text = page(busy)
    assert "<title>! Users see more than one release of web in production" in text
    assert "v66 web1 v63 web2" in said(text)
    # A rollout elsewhere changes nothing about it.
    busy.record([event("deploy:x", Kind.DEPLOY, State.STARTED, NOW, environment="staging", service="web", tag="v66")])
    assert "Users see more than one release of web in production" in page(busy)


def test_a_rollout_whose_end_is_not_known_is_not_passed_over(busy: Ledger) -> None:
    told: dict[str, Any] = {"environment": "production", "service": "web", "tag": "v66"}
    busy.record([event("deploy:x", Kind.DEPLOY, State.LOST, NOW, **told)])
    assert "What users see of web in production is not known" in page(busy)
    assert "v63 web1, web2" in said(page(busy)), "what was known before"


def test_a_rollout_under_way_shows_how_far_it_is(busy: Ledger) -> None:
    busy.record(under_way(NOW))
    text = page(busy)
    assert "<title>▶ web v63 → v66 is on its way in production" in text
    assert '<progress max="2" value="1"' in text
    assert "web1 switched, v66 web2 starting, v63" in said(text)


def test_an_error_of_a_release_that_nobody_runs_any_more_alarms_nobody(busy: Ledger) -> None:
    assert "All quiet" in page(busy)
    assert "v65 runs nowhere now" in page(busy)
    running_now = {"environment": "production", "service": "web", "first_tag": "v63", "title": "KeyError: 'move'"}
    busy.record([event("error:5:1", Kind.ERROR, State.NEW, NOW, **running_now)])
    text = page(busy)
    assert "1 open error users may notice" in text
    assert "KeyError: &#39;move&#39;" in text


def test_freezes_in_force_are_told_and_those_that_ran_out_are_not(busy: Ledger) -> None:
    assert "staging is frozen by ann: “load test until lunch”" in said(page(busy))
    later = TestClient(
        Starlette(routes=routes(busy, Settings.model_validate({}), clock=lambda: NOW + timedelta(hours=3))),
        base_url="http://localhost",
    )
    assert "staging is frozen by ann: “load" not in said(re.sub(r'(?s)<section id="feed".*', "", later.get("/").text))


def test_one_environment_is_shown_alone(busy: Ledger) -> None:
    text = said(page(busy, "/?environment=staging"))
    assert "stage1" in text
    assert "eval3" not in text


def test_the_feed_shows_the_messages_of_the_channel_newest_first(busy: Ledger) -> None:
    text = said(page(busy, "/feed"))
    assert text.index("rolled back after 4.8 s") < text.index("failed at “health” on web1")
    assert "Build of eval_worker" in text  # it failed
    assert "eval_worker 000000c built as v15 in 1 min 4 s" in text
    assert "the build works again" in text
    assert "web 0000010 built as v65 in 1 min 4 s not posted: it went well" in text


def test_a_story_is_told_event_by_event(busy: Ledger) -> None:
    text = said(page(busy, "/stories/deploy:0000000f"))
    assert "users are not hurt: v63 serves on web1, web2 as before" in text
    assert "started web1 waiting (v63), web2 waiting (v63)" in text
    assert "2 events" in text


def test_a_message_that_slack_does_not_show_yet_says_so(tmp_path: Path) -> None:
    ledger = Ledger.open(
        f"sqlite:///{tmp_path}/l.db",
        clock=lambda: NOW,
        plan=lambda e: [Wanted("slack", e.correlation, e.correlation, "#o")],
    )
    ledger.record(rollout(1, NOW, "v2", "v1"))
    ledger.set_sink_state("slack", "paused", "invalid_auth")
    text = said(page(ledger, slack_token="x"))
    assert "not sent yet" in text
    assert "Slack paused invalid_auth" in text
    assert "1 message waits" in text
    ledger.close()


def test_history_pages_reach_back_to_the_beginning(ledger: Ledger) -> None:
    ledger.record([event for n in range(120) for event in rollout(n, NOW - timedelta(hours=n), f"v{n}", "v0")])
    client, path, seen = browser(ledger), "/history?environment=production&service=web", []
    while path:
        answer = client.get(path)
        assert answer.status_code == 200
        seen += re.findall(r'href="/stories/(deploy:\w+)"', answer.text)
        older = re.search(r'href="([^"]*)" rel="next"', answer.text)
        path = older[1].replace("&amp;", "&") if older else ""
    assert seen == [f"deploy:{number:08x}" for number in range(120)]


@pytest.mark.parametrize(
    "path",
    [
        "/stories/nobody",
        "/history?environment=production&service=nothing",
        "/static/nothing.css",
        "/static/..%2fviews.py",
        "/nowhere",
    ],
)
def test_what_does_not_exist_is_not_found(busy: Ledger, path: str) -> None:
    assert browser(busy).get(path).status_code == 404


def test_the_whole_history_is_a_list_too(busy: Ledger) -> None:
    text = said(page(busy, "/history"))
    assert text.index("staging is frozen by ann") < text.index("web v64 failed") < text.index("built as v15")


@pytest.mark.parametrize("query", ["span=x", "span=30d", "environment=none", "environment=%00%ff", "span=6h&span=7d"])
def test_an_odd_question_gets_a_page(busy: Ledger, query: str) -> None:
    assert browser(busy).get(f"/?{query}").status_code == 200


@pytest.mark.parametrize("before", ["x", "2026-11-21T00:00:00", "2026-11-21T00:00:00+00:00", "9999999999 x", ""])
def test_an_odd_cursor_gets_a_page(busy: Ledger, before: str) -> None:
    asked = {"environment": "production", "service": "web", "before": before}
    assert browser(busy).get("/history", params=asked).status_code == 200


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_clock_that_is_wrong_breaks_no_page(ledger: Ledger, at: str) -> None:
    told: dict[str, Any] = {"environment": "e", "service": "s", "tag": "v2", "until": at, "started_at": at}
    ledger.record([event(f"{kind}:1", kind, State.STARTED, datetime.fromisoformat(at), **told) for kind in Kind])
    for path in ("/", "/?span=30d", "/feed", "/history", "/stories/freeze:1"):
        assert page(ledger, path, time_zone="Pacific/Kiritimati")


def test_what_did_not_change_is_not_sent_again(busy: Ledger) -> None:
    client = browser(busy)
    tag = client.get("/").headers["etag"]
    assert client.get("/", headers={"If-None-Match": tag}).status_code == 304
    busy.set_sink_state("feed", "slow", "because")
    assert client.get("/", headers={"If-None-Match": tag}).status_code == 200
    tag = client.get("/").headers["etag"]
    busy.record(under_way(NOW))
    assert client.get("/", headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/feed", "/history?environment=production&service=web", "/stories/deploy:0000000f", "/stories/none"]
)
def test_nothing_inline_nothing_from_elsewhere(busy: Ledger, path: str) -> None:
    answer = browser(busy).get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag, attributes in Reader(answer.text).elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        if tag in ("script", "link"):
            assert (attributes.get("src") or attributes.get("href") or "").startswith("/static/")
            assert browser(busy).get(attributes.get("src") or attributes.get("href") or "").status_code == 200
        assert tag not in ("style", "iframe", "object", "form", "base")


@pytest.mark.parametrize("path", ["/", "/feed"])
def test_hostile_text_stays_text(ledger: Ledger, path: str) -> None:
    ledger.record(hostile(NOW))
    raw = page(ledger, path)
    found = Reader(raw)
    assert [attributes for tag, attributes in found.elements if tag in ("script", "img")] == [
        {"src": attributes["src"], "defer": None} for tag, attributes in found.elements if tag == "script"
    ]
    assert "<script>alert(1)</script>" in found.text
    assert "\u202e" not in raw
    for tag, attributes in found.elements:
        if tag == "a" and (target := attributes["href"] or "").startswith(("/stories/", "/history?")):
            answer = browser(ledger).get(target)
            assert answer.status_code == 200
            assert "<script>alert" not in answer.text.replace("&lt;", "")


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()}


@pytest.mark.parametrize(
    "path",
    ["/", "/feed", "/stories/deploy:0000000f", "/static/page.css", "/history?environment=production&service=web"],
)
def test_with_a_password_nothing_is_shown_without_it(busy: Ledger, path: str) -> None:
    client = browser(busy, host="ops.example.com", listen="0.0.0.0", page_password="päss:word")
    refused = client.get(path)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Basic ")
    assert "web" not in refused.text
    assert client.get(path, headers=basic("päss:word")).status_code == 200
    for wrong in ("", "päss", "päss:word2"):
        assert client.get(path, headers=basic(wrong)).status_code == 401
    for odd in ("Basic", "Basic !!!", "Bearer cMOkc3M=", "Basic w6Q=", "Basic  ", "\u00ff"):
        assert client.get(path, headers={"Authorization": odd.encode("latin-1")}).status_code == 401


@pytest.mark.parametrize("listen", ["0.0.0.0", "::", "10.0.0.5", "ops1"])
def test_without_a_password_the_network_sees_nothing(busy: Ledger, listen: str) -> None:
    answer = browser(busy, listen=listen).get("/")
    assert answer.status_code == 403
    assert "OPS_BOT_PAGE_PASSWORD" in answer.text
    assert "web" not in answer.text


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8765", 200),
        ("localhost:9999", 200),
        ("[::1]:8765", 200),
        ("ops.example.com", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
    ],
)
def test_without_a_password_the_page_has_no_other_name(busy: Ledger, host: str, status: int) -> None:
    assert browser(busy, host=host, page_url="https://ops.example.com").get("/").status_code == status


@pytest.mark.parametrize(
    ("address", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("ops1", False)],
)
def test_loopback(address: str, loopback: bool) -> None:
    assert is_loopback(address) is loopback


def lane(*stories: Story, before: str = "v1") -> data.Lane:
    return data.Lane("production", "web", list(stories), [], [], [], before)


def deploy(hours_ago: float, tag: str, **fields: Any) -> Story:
    return Story.of(rollout(int(hours_ago * 100), NOW - timedelta(hours=hours_ago), tag, "v0", **fields))


def test_the_timeline_shows_which_release_was_live_when() -> None:
    since = NOW - timedelta(hours=10)
    failed = deploy(3, "v3", state=State.FAILED)
    drawn = timeline.draw(lane(deploy(5, "v2"), failed, deploy(1, "v4")), since, NOW)
    assert [(bar.label, round(bar.left), round(bar.width)) for bar in drawn.bars] == [
        ("v1", 0, 50),
        ("v2", 50, 40),
        ("v4", 90, 10),
    ]
    assert [(mark.sort, round(mark.at)) for mark in drawn.marks] == [
        ("deploy", 50),
        ("deploy-failed", 70),
        ("deploy", 90),
    ]


def test_each_lane_begins_with_the_release_that_was_live_then(busy: Ledger) -> None:
    lanes = page(busy).split('class="name"')[1:]
    live = [re.findall(r"<title>(v\d+) was live</title>", lane) for lane in lanes]
    assert live == [["v14", "v15"], ["v61", "v62", "v63", "v65", "v63"], ["v14"], ["v61", "v62", "v63"]]


def test_marks_too_near_to_tell_apart_are_one_with_a_count() -> None:
    since = NOW - timedelta(days=30)
    drawn = timeline.draw(lane(*(deploy(number / 60, f"v{number}") for number in range(30, 0, -1))), since, NOW)
    assert [len(mark.stories) for mark in drawn.marks] == [30]


@pytest.mark.parametrize("span", timeline.SPANS.values(), ids=timeline.SPANS)
def test_everything_drawn_stands_within_the_lane(span: timedelta) -> None:
    begun, until = NOW - timedelta(days=90), NOW + timedelta(days=9)
    freeze = Story.of([event("freeze:1", Kind.FREEZE, State.STARTED, begun, until=until)])
    full = data.Lane("production", "web", [deploy(hours, "v2") for hours in (900, 5, 0)], [], [], [freeze], "v1")
    drawn = timeline.draw(full, NOW - span, NOW)
    assert drawn.bars
    for bar in drawn.bars:
        assert 0 <= bar.left <= bar.left + bar.width <= 100.001
    assert all(0 <= mark.at <= 100 for mark in drawn.marks)
    assert 2 <= len(timeline.ticks(NOW - span, NOW)) <= 8


def test_the_page_answers_at_once_over_a_long_history(ledger: Ledger) -> None:
    """The bench does this over a million events; here, that nothing reads them all."""
    told: dict[str, Any] = {"environment": "production", "title": "x"}
    ledger.record(
        [
            event(
                f"error:{n}:1",
                Kind.ERROR,
                State.RESOLVED,
                NOW - timedelta(minutes=n),
                service=f"service{n % 8}",
                **told,
            )
            for n in range(3000)
        ]
    )
    client = browser(ledger)
    client.get("/")
    started = time.process_time()
    assert client.get("/").status_code == 200
    assert time.process_time() - started < 0.3
