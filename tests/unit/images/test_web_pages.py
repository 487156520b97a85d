import base64
import hashlib
import re

import pytest
from app.lessons import Unavailable
from web_support import FakeStore, Get


def test_the_list_links_each_lesson(get: Get) -> None:
    answer = get("/")
    assert answer.status_code == 200
    assert '<a href="/lessons/ruler">Fractions on a ruler</a>' in answer.text
    assert "Why &lt;thirds&gt;" in answer.text


def test_an_empty_list_says_so(get: Get, store: FakeStore) -> None:
    store.lessons = []
    assert "No lessons yet." in get("/").text


def test_one_lesson(get: Get) -> None:
    answer = get("/lessons/ruler")
    assert answer.status_code == 200
    assert "<p>First part.</p>\n<p>Second part.</p>" in answer.text


@pytest.mark.parametrize("path", ["/lessons/none", "/nowhere"])
def test_an_unknown_address(get: Get, path: str) -> None:
    answer = get(path)
    assert answer.status_code == 404
    assert "There is no lesson at this address." in answer.text


def test_a_method_that_is_not_there(get: Get) -> None:
    assert get("/", method="POST").status_code == 405


def test_every_page_is_whole(get: Get) -> None:
    for path in ("/", "/lessons/ruler", "/nowhere"):
        text = get(path).text
        assert text.startswith('<!doctype html>\n<html lang="en">')
        assert "<footer>v7 on web1</footer>" in text
        assert text.count("<h1>") == 1
        assert "<script" not in text


def test_without_a_database(get: Get, store: FakeStore) -> None:
    store.fault = Unavailable("database: no connection to be had")
    answer = get("/")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "v7 on web1" in answer.text


def test_a_fault_shows_no_detail(get: Get, store: FakeStore) -> None:
    store.fault = RuntimeError("hunter2")
    answer = get("/", x_request_id="abc-1")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert "Request abc-1" in answer.text
    assert answer.headers["x-request-id"] == "abc-1"


def test_version(get: Get) -> None:
    assert get("/version").json() == {
        "service": "web",
        "tag": "v7",
        "digest": "sha256:abc",
        "revision": "0123abc",
        "slot": "b",
        "host": "web1",
        "environment": "staging",
    }


def test_version_needs_no_database(get: Get, store: FakeStore) -> None:
    store.fault = Unavailable("database: gone")
    assert get("/version").status_code == 200


def test_the_policy_allows_the_style_that_is_sent(get: Get) -> None:
    answer = get("/")
    style = re.search("<style>(.*)</style>", answer.text, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in answer.headers["content-security-policy"]
