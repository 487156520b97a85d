"""Which lines say that they are errors, in the formats that services log in."""

import json
import time

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
    ("2026/11/21 12:00:00 [error] 7#7: *1 connect() failed", True, "7#7: *1 connect() failed"),
    ("2026/11/21 12:00:00 [warn] 7#7: *1 slow", False, "7#7: *1 slow"),
    ("E1121 12:00:00.123456       7 main.go:42] no", True, "no"),
    ("I1121 12:00:00.123456       7 main.go:42] no", False, "no"),
    ('time="2026-11-21T12:00:00Z" level=error msg="no such thing" id=7', True, "no such thing"),
    ("level=info msg=yes", False, "yes"),
    ("INFO:     Started server process [7]", False, "Started server process [7]"),
    ("WARNING:  error rate is high", False, "error rate is high"),
    ("[2026-11-21 12:00:00 +0000] [7] [ERROR] no", True, "no"),
    ("[2026-11-21 12:00:00,123: ERROR/MainProcess] no", True, "no"),
    ("E, [2026-11-21T12:00:00.123456 #7] ERROR -- : no", True, "no"),
    ("12:00:00.123 [http-nio-8080-exec-1] ERROR c.e.Foo - no", True, "c.e.Foo - no"),
    ("2026-11-21 12:00:00.123 | ERROR    | app.pages:lesson:41 - no", True, "app.pages:lesson:41 - no"),
    ("2026-11-21 12:00:00 [error    ] no   key=1", True, "no   key=1"),
    ("2026-11-21 12:00:00 [info     ] an error   key=1", False, "an error   key=1"),
    ("2026-11-21 12:00:00.123 UTC [42] web@web ERROR:  no", True, "no"),
    ("[Sat Nov 21 12:00:00.123 2026] [core:error] [pid 7] no", True, "[pid 7] no"),
    ("Nov 21 12:00:00 web1 app[7]: ERROR no", True, "no"),
    ("12:00PM ERR no", True, "no"),
    ("\x1b[31mERROR\x1b[0m: no", True, "no"),
    ("<3>no", True, "no"),
    ("<6>yes", False, "yes"),
    ("fail: Microsoft.AspNetCore.Server[13]", True, "Microsoft.AspNetCore.Server[13]"),
    ("thread 'main' panicked at src/main.rs:4:5:", True, "thread 'main' panicked at src/main.rs:4:5:"),
    ("PHP Fatal error:  no", True, "PHP Fatal error:  no"),
    ('{"@level": "error", "@message": "no"}', True, "no"),
    ('{"@l": "Error", "@mt": "no {x}"}', True, "no {x}"),
    ('{"severityText": "ERROR", "body": "no"}', True, "no"),
    ('{"severityNumber": 17, "body": "no"}', True, "no"),
    ('{"severity_number": 9, "body": "yes"}', False, "yes"),
    ('{"text": "all", "record": {"level": {"name": "ERROR"}, "message": "no"}}', True, "no"),
    # A logger of that name, an address, and sentences that begin like a level.
    ("12:00:00 uvicorn.error INFO Started", False, "Started"),
    ('10.0.0.1 - - [21/Nov/2026:12:00:00 +0000] "GET /error HTTP/1.1" 404', None, None),
    ("12:00:00 somebody reported an ERROR: no", None, None),
    ("3 errors, error 3 of them", None, None),
    ("error=none", None, None),
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
def test_levels(line: str, is_error: bool | None, message: str | None) -> None:
    found = read(line)
    assert (found.is_error, found.message) == (is_error, line if message is None else message)


@pytest.mark.parametrize(
    "unit", ["1", "1 ", "[", "[1 ", "error ", "1 error ", "a.", "ERR!", "level=", "\x1b[0m", 'msg="\\']
)
def test_no_line_makes_it_slow(unit: str) -> None:
    start = time.process_time()
    read(unit * 20_000)
    assert time.process_time() - start < 0.2


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
