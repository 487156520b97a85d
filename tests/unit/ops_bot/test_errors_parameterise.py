"""Which values in a message are parameters, and of what kind."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops_bot.errors.parameterise import LONGEST, parameterise

ROWS = [
    # uuids
    ("lesson 7f3c2a10-9b1e-4c55-8a6d-0f1e2d3c4b5a is gone", "lesson <uuid> is gone"),
    ("7F3C2A10-9B1E-4C55-8A6D-0F1E2D3C4B5A", "<uuid>"),
    ("id=7f3c2a10-9b1e-4c55-8a6d-0f1e2d3c4b5a,", "id=<uuid>,"),
    ("{7f3c2a10-9b1e-4c55-8a6d-0f1e2d3c4b5a}", "{<uuid>}"),
    # addresses
    ("connect to 10.213.0.12 refused", "connect to <ip> refused"),
    ("connect to 10.213.0.12:5432 refused", "connect to <ip> refused"),
    ("route 10.213.0.0/24 unreachable", "route <ip> unreachable"),
    ("(127.0.0.1)", "(<ip>)"),
    ("peer 255.255.255.255 said no.", "peer <ip> said no."),
    ("peer ::1 said no", "peer <ip> said no"),
    ("peer 2001:db8::8a2e:370:7334 said no", "peer <ip> said no"),
    ("peer fe80::1%eth0 said no", "peer <ip> said no"),
    ("peer [2001:db8::1]:5432 said no", "peer <ip> said no"),
    ("peer 2001:0db8:0000:0000:0000:ff00:0042:8329 said no", "peer <ip> said no"),
    ("peer ::ffff:10.0.0.1 said no", "peer <ip> said no"),
    ("nic 02:42:ac:11:00:02 down", "nic <mac> down"),
    ("nic 02-42-AC-11-00-02 down", "nic <mac> down"),
    # hexadecimal numbers and hashes
    ("segfault at 0x7ffd5e8c", "segfault at <hex>"),
    ("object at 0x7F12AB>", "object at <hex>>"),
    ("bad flags 0X1f,", "bad flags <hex>,"),
    ("commit 3f2a91c not found", "commit <hash> not found"),
    ("commit 3f2a91c8e4b5d6f7a8b9c0d1e2f3a4b5c6d7e8f9 not found", "commit <hash> not found"),
    ("md5 d41d8cd98f00b204e9800998ecf8427e differs", "md5 <hash> differs"),
    ("web@sha256:c68a7985f5d4670b019146e1cfdbc76d9332ab08752f5b771b0ee87e73660c46", "web@<hash>"),
    ("container 38c31cd92d7d died", "container <hash> died"),
    ("session eyJhbGciOi9JIUzI1NiIsInR5cCI6 expired", "session <hash> expired"),
    ("request req_9s8df7g6s9d8f7g6s9d8 failed", "request <hash> failed"),
    # numbers
    ("user 81 not found", "user <number> not found"),
    ("took 3.5 of 4", "took <number> of <number>"),
    ("balance -12", "balance <number>"),
    ("delta +0.25!", "delta <number>!"),
    ("1,234,567 rows", "<number> rows"),
    ("1_000 rows", "<number> rows"),
    ("factor 1.5e-10", "factor <number>"),
    ("disk 97% full", "disk <number> full"),
    ("status=503", "status=<number>"),
    ("[42]", "[<number>]"),
    ("retry #3", "retry #<number>"),
    ("worker-7 died", "worker-<number> died"),
    ("shard_12 lost", "shard_<number> lost"),
    ("thread12 lost", "thread<number> lost"),
    ("the 3rd try", "the <number>rd try"),
    ("0", "<number>"),
    ("expected 2, got 3", "expected <number>, got <number>"),
    ("line 12, column 7", "line <number>, column <number>"),
    ("x=1;y=2", "x=<number>;y=<number>"),
    ("exit code: 137", "exit code: <number>"),
    ("items 5 in queue", "items <number> in queue"),
    # what has digits and is a name
    ("utf8 codec", "utf8 codec"),
    ("no psycopg2.errors", "no psycopg2.errors"),
    ("md5sum failed", "md5sum failed"),
    ("an e2e test", "an e2e test"),
    # dates and times
    ("at 2026-11-21", "at <date>"),
    ("at 2026-11-21T21:11:52", "at <date>"),
    ("at 2026-11-21T21:11:52Z it broke", "at <date> it broke"),
    ("at 2026-11-21T21:11:52.613Z", "at <date>"),
    ("at 2026-11-21 21:11:52,613 it broke", "at <date> it broke"),
    ("at 2026-11-21T21:11:52+01:00", "at <date>"),
    ("at 2026-11-21 21:11:52.123456 UTC", "at <date>"),
    ("at 2026/11/21 21:11:52", "at <date>"),
    ("at 21.11.2026", "at <date>"),
    ("at 11/21/2026", "at <date>"),
    ("at 21/Nov/2026:21:11:52 +0000", "at <date>"),
    ("on Sat, 21 Nov 2026 21:11:52 GMT", "on <date>"),
    ("on Sat Nov 21 21:11:52 2026", "on <date>"),
    ("on Nov 21 21:11:52", "on <date>"),
    ("on November 21, 2026", "on <date>"),
    ("on 21 November 2026", "on <date>"),
    ("since 21:11", "since <date>"),
    ("since 21:11:52.5", "since <date>"),
    ("since 9:11 PM", "since <date>"),
    ("file 20261121T211152Z", "file <date>"),
    # durations and sizes
    ("after 30s", "after <duration>"),
    ("after 30 s", "after <duration>"),
    ("after 1.5 seconds", "after <duration>"),
    ("after 250ms.", "after <duration>."),
    ("after 12 µs", "after <duration>"),
    ("after 5 minutes", "after <duration>"),
    ("after 1h30m", "after <duration>"),
    ("after 2 hours 10 minutes", "after <duration>"),
    ("after PT1H30M", "after <duration>"),
    ("kept 3 days", "kept <duration>"),
    ("wrote 17 MB", "wrote <size>"),
    ("wrote 4096 bytes", "wrote <size>"),
    ("wrote 1.5GiB of 2GiB", "wrote <size> of <size>"),
    # quoted strings
    ("KeyError: 'slug'", "KeyError: <quoted>"),
    ('relation "lessons" does not exist', "relation <quoted> does not exist"),
    ("use `make site`", "use <quoted>"),
    ("said “no” twice", "said <quoted> twice"),
    (r'got "a \"b\" c" here', "got <quoted> here"),
    ("can't open 'x y'", "can't open <quoted>"),
    ("it's the user's", "it's the user's"),
    ("''", "<quoted>"),
    # paths
    ("cannot open /etc/tagboat/web/a.env", "cannot open <path>"),
    ("cannot open /srv/data/", "cannot open <path>"),
    ("cannot open ~/.ssh/id_ed25519:", "cannot open <path>:"),
    ("cannot open ../up/one.txt", "cannot open <path>"),
    ("cannot open ./here.txt", "cannot open <path>"),
    (r"cannot open C:\Users\ann\x.txt", "cannot open <path>"),
    ("GET /lessons/81 failed", "GET <path> failed"),
    ("and/or", "and/or"),
    ("read/write", "read/write"),
    # addresses of mail and web
    ("mail to ann@example.com bounced", "mail to <email> bounced"),
    ("mail to <ann.b+c@mail.example.co.uk>", "mail to <<email>>"),
    ("GET https://example.com/a?b=1#c failed", "GET <url> failed"),
    ("at postgresql://web:secret@data1:5432/web", "at <url>"),
    ("see (http://127.0.0.1:8000/).", "see (<url>)."),
    ("redis://data1:6379/0 refused", "<url> refused"),
    # blanks
    ("two  blanks\tand\na line", "two blanks and a line"),
    ("", ""),
]


@pytest.mark.parametrize(("message", "expected"), ROWS)
def test_parameters_are_named_after_their_kind(message: str, expected: str) -> None:
    assert parameterise(message) == expected


@pytest.mark.parametrize(("message", "expected"), [row for row in ROWS if row[0]])
def test_parameters_are_found_in_the_middle_of_a_message(message: str, expected: str) -> None:
    assert parameterise(f"could not: {message} (again)") == f"could not: {expected} (again)"
    assert parameterise(f"prefix {message} suffix") == f"prefix {expected} suffix"


@pytest.mark.parametrize(("message", "_expected"), ROWS)
def test_a_second_time_changes_nothing(message: str, _expected: str) -> None:
    once = parameterise(message)
    assert parameterise(once) == once


VALUES = {
    "uuid": st.uuids().map(str),
    "ip": st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str),
    "number": st.integers().map(str),
    "hex": st.integers(min_value=0).map(hex),
    "date": st.datetimes().map(lambda moment: moment.isoformat()),
    "duration": st.integers(0, 10**6).map(lambda number: f"{number}ms"),
    "quoted": st.text(st.characters(codec="ascii", exclude_characters="'\\\n", categories=["L", "N", "Zs"])).map(
        lambda text: f"'{text}'"
    ),
    "path": st.lists(st.from_regex(r"[a-z0-9_.-]*[a-z0-9_]", fullmatch=True), min_size=1).map(
        lambda parts: "/" + "/".join(parts)
    ),
    "email": st.from_regex(r"[a-z][a-z0-9.]{0,9}[a-z0-9]@[a-z]{1,9}\.(com|org)", fullmatch=True),
    "hash": st.binary(min_size=20, max_size=32).map(bytes.hex).filter(lambda text: re.search("[0-9][a-f]", text)),
}
TEMPLATES = ["no {} here", "value: {}", "{} is bad", "cannot use {}, giving up", "a {} and ({})"]


@given(st.sampled_from(TEMPLATES), st.sampled_from(sorted(VALUES)), st.data())
def test_the_same_template_with_other_values_is_the_same_message(template: str, kind: str, data: st.DataObject) -> None:
    filled = [template.format(*data.draw(st.tuples(VALUES[kind], VALUES[kind]))) for _ in range(2)]
    assert parameterise(filled[0]) == parameterise(filled[1]) == template.replace("{}", f"<{kind}>")


WORDS = st.lists(st.from_regex(r"[a-z]{1,12}", fullmatch=True), min_size=1, max_size=8).map(" ".join)


@given(WORDS)
def test_words_are_left_as_they_are(message: str) -> None:
    assert parameterise(message) == message


@given(st.text())
def test_anything_at_all_is_taken(message: str) -> None:
    assert len(parameterise(message)) <= 10 * LONGEST


@pytest.mark.parametrize(
    "unit", ["1:", "a.", "0-", "'", "/a", "1 ", "2026-", "::", "@a", "1.1.", "x1_", "1h ", "\\", "(1"]
)
def test_no_text_makes_it_slow(unit: str) -> None:
    start = time.process_time()
    parameterise(unit * 10_000)
    assert time.process_time() - start < 0.2
