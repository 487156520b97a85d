"""Bodies of requests: what is an event is read, what is not is refused in words, and no secret gets through."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops_bot.events import Event, Kind, State
from ops_bot.reading import MAX_EVENTS, MAX_LOG_CHARACTERS, read

TOLD = {"correlation": "deploy:1", "kind": "deploy", "state": "started", "at": "2026-11-21T03:00:00Z", "id": "12345678"}


def body(**fields: object) -> bytes:
    return json.dumps(TOLD | fields).encode()


def test_one_event_or_a_list() -> None:
    one = read(body())
    assert one.refused == []
    [event] = one.events
    assert (event.id, event.kind, event.state) == ("12345678", Kind.DEPLOY, State.STARTED)
    assert event.at == datetime(2026, 11, 21, 3, tzinfo=UTC)
    assert read(b"[" + body() + b"," + body(id="87654321") + b"]").events[1].id == "87654321"


def test_what_a_newer_sender_adds_is_kept() -> None:
    assert read(body(schema_version=7, colour={"of": ["the", 1]})).events[0].model_extra == {
        "colour": {"of": ["the", 1]}
    }


def test_one_that_is_wrong_does_not_take_the_others_with_it() -> None:
    told = read(b"[" + body() + b', 17, {"kind": "deploy"}]')
    assert [event.id for event in told.events] == ["12345678"]
    assert [(one.index, one.reason) for one in told.refused] == [
        (1, "an event is a JSON object"),
        (2, "correlation: Field required; state: Field required; at: Field required"),
    ]


def test_the_same_body_without_an_id_is_the_same_event() -> None:
    told = {key: value for key, value in TOLD.items() if key != "id"}
    first, again, another = (
        read(json.dumps(one).encode()).events[0].id
        for one in (told, dict(reversed(told.items())), told | {"reason": "other"})
    )
    assert first == again != another


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "this is not JSON"),
        (b"\xff\xfe{}", "this is not JSON"),
        (b'{"a": NaN}', "this is not JSON"),
        (b'{"a": "\\ud800"}', "this is not JSON"),
        (b"[" * 10_000, "this is not JSON"),
        (b"null", "an event is a JSON object"),
        (b"[]", "an empty list"),
        (body(kind="party"), "kind: Input should be 'build', 'deploy'"),
        (body(state=["started"]), "state: Input should be"),
        (body(at="2026-11-21T03:00:00"), "at: Input should have timezone info"),
        (body(at="0001-01-01T00:00:00+14:00"), "at: the year 1 is not meant"),
        (body(until="9999-12-31T23:59:59-12:00"), "until: the year 9999 is not meant"),
        (body(at=1e300), "at: "),
        (body(sequence=2**63), "sequence: Input should be less than"),
        (body(correlation=""), "correlation: "),
        (body(correlation="a\0b"), "correlation: String should match"),
        (body(id="short"), "id: "),
        (b"[" + b",".join([body()] * (MAX_EVENTS + 1)) + b"]", f"send at most {MAX_EVENTS}"),
    ],
)
def test_what_is_no_event_is_refused(sent: bytes, reason: str) -> None:
    told = read(sent)
    assert told.events == []
    assert reason in told.refused[0].reason


SECRET = "xoxb-1234567890-abcdefghijklmnop"


@pytest.mark.parametrize(
    "fields",
    [
        {"log_tail": f"connecting\nexport SLACK_TOKEN={SECRET}\nfailed"},
        {"reason": f"rotate {SECRET}"},
        {"hosts": [{"name": "web1", "message": f"said {SECRET}", "extra": {"deep": [SECRET]}}]},
        {"from_the_future": {"token": SECRET, "db_password": "correct horse " + SECRET}},
        {"kind": "party", "reason": SECRET},
    ],
)
def test_no_secret_gets_through(fields: dict[str, object]) -> None:
    told = read(body(**fields))
    kept = "".join(event.model_dump_json() for event in told.events) + "".join(map(str, told.refused))
    assert kept
    assert SECRET not in kept


def test_a_field_named_like_a_secret_is_one() -> None:
    [event] = read(body(extra={"db_password": "hunter2", "passengers": "hunter2"})).events
    assert event.model_extra == {"extra": {"db_password": "[removed]", "passengers": "hunter2"}}


def test_not_even_an_unreadable_body_keeps_its_secret() -> None:
    assert SECRET not in read(b'{"reason": "' + SECRET.encode() + b'"').refused[0].body


def test_what_things_are_found_by_stays() -> None:
    digest = "sha256:" + "0123456789abcdef" * 4
    [event] = read(body(digest=digest, revision="a1b2c3d" * 5, correlation="deploy:token=abcdef")).events
    assert (event.digest, event.revision, event.correlation) == (digest, "a1b2c3d" * 5, "deploy:token=abcdef")


def test_of_a_long_log_the_end_is_kept() -> None:
    [event] = read(body(log_tail="a line\n" * 10_000 + "the reason")).events
    assert len(event.log_tail) <= MAX_LOG_CHARACTERS
    assert event.log_tail.endswith("the reason")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.dictionaries(st.sampled_from(sorted(Event.model_fields)) | st.text(), JSON, max_size=6)


@given(FIELDS)
def test_whatever_the_fields_are_nothing_breaks(fields: dict[str, object]) -> None:
    told = read(json.dumps(TOLD | fields).encode())
    assert len(told.events) + len(told.refused) == 1
    for event in told.events:
        assert Event.model_validate_json(event.model_dump_json(exclude_unset=True)) == event


@given(st.binary(max_size=200))
def test_whatever_the_bytes_are_nothing_breaks(sent: bytes) -> None:
    told = read(sent)
    assert told.events or told.refused
