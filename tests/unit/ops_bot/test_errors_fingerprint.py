"""Which errors are of one group, and which are not."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal_lines import NOON, traceback

from ops_bot.errors.fingerprint import Occurrence, by_message, by_stack, short
from ops_bot.errors.stack import Failure, Frame, parse


def of_stack(text: str, service: str = "web") -> str:
    identity, title, culprit = by_stack(parse(text))
    return Occurrence(NOON, "web1", service, identity, title, culprit).fingerprint("local")


def of_message(message: str, service: str = "web", environment: str = "local", logger: str = "") -> str:
    identity, title = by_message(message, logger)
    return Occurrence(NOON, "web1", service, identity, title).fingerprint(environment)


names = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
frames = st.builds(Frame, names.map(lambda name: f"/srv/app/{name}.py"), names)
libraries = st.builds(Frame, names.map(lambda name: f"/usr/lib/python3.11/site-packages/{name}.py"), names)
failures = st.builds(
    Failure, names.map(lambda name: f"{name}Error"), st.text(max_size=30), st.lists(frames, min_size=1, max_size=6)
)


def fingerprint(chain: list[Failure]) -> str:
    return Occurrence(NOON, "web1", "web", by_stack(chain)[0], "").fingerprint("local")


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.text(st.characters(categories=["L"]), min_size=1))
def test_line_numbers_and_messages_do_not_matter_where_there_is_a_stack(line: int, library: int, word: str) -> None:
    assert of_stack(traceback(line, library, word)) == of_stack(traceback())


@given(failures, st.text(max_size=30), st.lists(libraries, max_size=3))
def test_messages_and_frames_of_libraries_do_not_matter(one: Failure, message: str, inner: list[Frame]) -> None:
    other = Failure(one.type, message, [*inner, *one.frames, *inner])
    assert fingerprint([one]) == fingerprint([other])


@given(failures, failures)
def test_other_frames_or_another_type_are_another_group(one: Failure, other: Failure) -> None:
    same = (one.type, one.frames) == (other.type, other.frames)
    assert (fingerprint([one]) == fingerprint([other])) is same


@given(failures, failures)
def test_what_an_exception_was_caused_by_matters(one: Failure, cause: Failure) -> None:
    assert fingerprint([cause, one]) != fingerprint([one])


@given(failures, frames)
def test_one_frame_more_is_another_group(one: Failure, frame: Frame) -> None:
    assert fingerprint([one]) != fingerprint([Failure(one.type, one.message, [*one.frames, frame])])


templates = st.lists(st.from_regex(r"[a-z]{2,9}", fullmatch=True), min_size=2, max_size=6).map(" ".join)
values = st.one_of(st.integers(0).map(str), st.uuids().map(str), st.ip_addresses().map(str), st.datetimes().map(str))


@given(templates, values, values)
def test_the_same_template_with_other_parameters_of_a_kind_is_the_same_group(template: str, one: str, two: str) -> None:
    assert of_message(f"{template} {one}") == of_message(f"{template} {one}")
    if one.isdigit() and two.isdigit():
        assert of_message(f"{template} {one}, again") == of_message(f"{template} {two}, again")


@given(templates, templates, st.integers(0))
def test_another_template_is_another_group(one: str, two: str, number: int) -> None:
    assert (of_message(f"{one} {number}") == of_message(f"{two} {number}")) is (one == two)


def test_the_same_error_elsewhere_is_another_group() -> None:
    assert (
        len({of_message("no"), of_message("no", service="eval_worker"), of_message("no", environment="staging")}) == 3
    )
    assert of_stack(traceback()) != of_stack(traceback(), service="eval_worker")
    assert of_message("no") != of_message("no", logger="app.pages")


def test_when_and_where_it_happened_do_not_matter() -> None:
    identity, title = by_message("no")
    here = Occurrence(NOON, "web1", "web", identity, title, tag="v65")
    there = Occurrence(NOON + timedelta(days=3), "web2", "web", identity, title, tag="v66", sample="other")
    assert here.fingerprint("local") == there.fingerprint("local")


def test_it_is_the_same_for_ever() -> None:
    # Groups live in ledgers: a fingerprint that changes makes every known error a new one.
    assert of_stack(traceback()) == "ddc2bfba4eb17420"
    assert of_message("user 81 not found") == "374467524614103e"


def test_where_a_release_is_unpacked_does_not_matter() -> None:
    here = Failure("ValueError", "no", [Frame("/srv/app/pages.py", "lesson")])
    there = Failure("ValueError", "no", [Frame("/releases/20261121/app/pages.py", "lesson")])
    assert fingerprint([here]) == fingerprint([there])


def test_a_title_is_one_short_line() -> None:
    assert by_stack(parse(traceback()))[1:] == ("ValueError: no such lesson: tides", "app/pages.py in render")
    assert short("\n\n first \nsecond") == "first"
    assert short("") == "an error without a message"
    assert len(short("x" * 1000)) == 200


@pytest.mark.parametrize("depth", [1, 500, 5_000])
def test_a_deep_stack_is_a_group_like_any_other(depth: int) -> None:
    deep = Failure("ValueError", "", [Frame("/srv/app/a.py", f"f{number}") for number in range(depth)])
    assert len(fingerprint([deep])) == 16
