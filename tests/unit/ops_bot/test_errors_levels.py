"""Which lines say that they are errors, in the formats that services log in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops_bot.errors.levels import read

LINES = [
    # (line, is it an error, what it says)
    ('{"level": "error", "message": "no"}', True, "no"),
    ('{"level": "ERROR", "msg": "no"}', True, "no"),
    ('{"severity": "CRITICAL", "message": "no"}', True, "no"),
    ('{"level": "warning", "message": "no"}', False, "no"),
    ('{"level": "info", "message": "error while talking"}', False, "error while talking"),
    ('{"level": 50, "msg": "no"}', True, "no"),
    ('{"level": 30, "msg": "no"}', False, "no"),
    ('{"level": 3, "msg": "no"}', True, "no"),
    ('{"level": 6, "msg": "no"}', False, "no"),
    ('{"level": "60", "msg": "no"}', True, "no"),
    ('{"level": true, "msg": "no"}', None, "no"),
    ('{"level": null, "levelname": "ERROR", "msg": "no"}', True, "no"),
    ('{"log": {"level": "error"}, "message": "no"}', True, "no"),
    ('{"log.level": "error", "message": "no"}', True, "no"),
    ('{"level": "error", "error": {"message": "no", "type": "X"}}', True, "no"),
    ('{"level": "fatal"}', True, '{"level": "fatal"}'),
    ('{"message": "no level at all"}', None, "no level at all"),
    ('{"level": "error", "message": "cut', None, '{"level": "error", "message": "cut'),
    ("[1, 2]", None, "[1, 2]"),
    ("ERROR: no", True, "no"),
    ("ERROR no", True, "no"),
    ("[ERROR] no", True, "no"),
    ("<error> no", True, "no"),
    ("CRITICAL:root:no", True, "root:no"),
    ("error: no", True, "no"),
    ("2026-11-21 12:00:00,123 ERROR no", True, "no"),
    ("2026-11-21T12:00:00.123Z error no", True, "no"),
    ("2026-11-21 12:00:00 [ERROR] app: no", True, "app: no"),
    ("2026-11-21 12:00:00,123 - app.pages - ERROR - no", True, "no"),
    ("2026-11-21 12:00:00.123 UTC [42] ERROR:  relation does not exist", True, "relation does not exist"),
    ("2026-11-21 12:00:00.123 UTC [42] LOG:  checkpoint complete", False, "checkpoint complete"),
    ("FATAL:  password authentication failed", True, "password authentication failed"),
    ("2026/11/21 12:00:00 [error] 7#7: *1 connect() failed", True, "connect() failed"),
    ("2026/11/21 12:00:00 [warn] 7#7: *1 slow", False, "slow"),
    ("E1121 12:00:00.123456       7 main.go:42] no", True, "no"),
    ("I1121 12:00:00.123456       7 main.go:42] no", False, "no"),
    ('time="2026-11-21T12:00:00Z" level=error msg="no such thing" id=7', True, "no such thing"),
    ("level=info msg=yes", False, "yes"),
    ("INFO:     Started server process [7]", False, "Started server process [7]"),
    ("WARNING:  error rate is high", False, "error rate is high"),
    # Sentences that begin like a level, and are none.
    ("error handler registered", None, "error handler registered"),
    ("Errors were found", None, "Errors were found"),
    ("information is power", None, "information is power"),
    ("fatal blow to the dragon", None, "fatal blow to the dragon"),
    ("the ERROR in the middle", None, "the ERROR in the middle"),
    ("Log rotated", None, "Log rotated"),
    ("", None, ""),
    ("   ", None, ""),
]


@pytest.mark.parametrize(("line", "is_error", "message"), LINES)
def test_levels(line: str, is_error: bool | None, message: str) -> None:
    found = read(line)
    assert (found.is_error, found.message) == (is_error, message)


@pytest.mark.parametrize(
    "fields",
    [
        {"exception": "Traceback…\nValueError: no"},
        {"exc_info": "Traceback…\nValueError: no"},
        {"error": {"stack_trace": "Traceback…\nValueError: no"}},
        {"err": {"stack": "Traceback…\nValueError: no"}},
        {"stack": ["Traceback…", "ValueError: no"]},
    ],
)
def test_a_structured_line_carries_its_stack(fields: dict[str, object]) -> None:
    assert read(json.dumps({"level": "error", "message": "no", **fields})).stack == "Traceback…\nValueError: no"


def test_who_wrote_it_is_read_too() -> None:
    line = read('{"level": "error", "message": "no", "service": "web", "tag": "v65", "logger": "app.pages"}')
    assert (line.tag, line.logger) == ("v65", "app.pages")


@given(st.text() | st.recursive(st.none() | st.text() | st.integers() | st.floats(), st.lists).map(json.dumps))
def test_anything_at_all_is_taken(line: str) -> None:
    read(line)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["level", "message", "exception", "error", "stack", "tag", "service", "logger", "log", "Level", "err"]


@given(st.dictionaries(st.sampled_from(KEYS), json_values))
def test_any_value_of_a_known_field_is_taken(fields: dict[str, object]) -> None:
    found = read(json.dumps(fields))
    assert isinstance(found.message, str)
    assert isinstance(found.stack, str)
