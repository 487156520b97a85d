"""What happened, told by the lines of a journal."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from journal_lines import Journal, traceback

from ops_bot.errors import units
from ops_bot.errors.assemble import SETTLE, Assembler
from ops_bot.errors.fingerprint import Occurrence
from ops_bot.errors.journal import parse


def errors(journal: Journal, lines: list[str]) -> list[Occurrence]:
    """Feed lines to an assembler that is stopped and started between any two of them."""
    assembler, found = Assembler(), []
    for line in lines:
        entry = parse(line)
        assert entry
        found += assembler.feed(entry, entry.at)
        assembler = Assembler.loaded(json.loads(json.dumps(assembler.dump())))
    found += assembler.settle(journal.now + timedelta(hours=1))
    assert not assembler.waits
    return found


def titles(journal: Journal, lines: list[str]) -> list[str]:
    return [one.title for one in errors(journal, lines)]


@pytest.fixture
def journal() -> Journal:
    return Journal()


def test_a_structured_error(journal: Journal) -> None:
    (found,) = errors(journal, [journal.structured("error", "no such lesson: 81", host="web2")])
    assert (found.title, found.service, found.host, found.tag) == ("no such lesson: 81", "web", "web2", "v65")
    assert found.culprit == "app"


def test_what_an_access_log_calls_an_error_says_what_was_asked(journal: Journal) -> None:
    asked = [("/lessons/81", 500), ("/lessons/82", 500), ("/lessons/81", 503)]
    lines = [journal.structured("error", "request", method="GET", path=path, status=code) for path, code in asked]
    one, two, other = errors(journal, lines)
    assert one.title == "request (method GET, path /lessons/81, status 500)"
    assert one.identity == two.identity != other.identity


def test_a_structured_error_with_its_traceback(journal: Journal) -> None:
    (found,) = errors(journal, [journal.structured("error", "request failed", exception=traceback())])
    assert (found.title, found.culprit) == ("ValueError: no such lesson: tides", "app/pages.py in render")
    assert found.sample == f"request failed\n{traceback()}"


def test_the_tag_that_docker_knows_wins(journal: Journal) -> None:
    line = journal.log('{"level": "error", "message": "no", "tag": "dev"}', TAGBOAT_TAG="v65", TAGBOAT_SERVICE="web")
    assert [one.tag for one in errors(journal, [line])] == ["v65"]


def test_what_is_no_error_is_none(journal: Journal) -> None:
    lines = [
        journal.structured("info", "request"),
        journal.structured("warning", "slow", exception=traceback()),
        journal.log("to standard error go all sorts of lines", stderr=True),
        journal.log("ERROR: of a build", container="web-smoke-81"),
        journal.entry("error: kex_exchange_identification", PRIORITY="3", _SYSTEMD_UNIT="ssh.service"),
    ]
    assert titles(journal, lines) == []


def test_a_traceback_over_many_lines_is_one_error(journal: Journal) -> None:
    lines = [journal.log(line, stderr=True) for line in traceback().splitlines()]
    (found,) = errors(journal, [*lines, journal.structured("info", "next")])
    assert found.title == "ValueError: no such lesson: tides"
    assert found.sample == traceback()


def test_a_line_with_a_level_and_the_traceback_below_it_are_one_error(journal: Journal) -> None:
    text = f"ERROR: request 81 failed\n{traceback()}"
    (found,) = errors(journal, [journal.log(line, stderr=True) for line in text.splitlines()])
    assert (found.title, found.sample) == ("ValueError: no such lesson: tides", text)


def test_two_errors_in_a_row_are_two(journal: Journal) -> None:
    lines = [journal.log("ERROR: one"), journal.log("ERROR: two"), journal.log("INFO: three")]
    assert titles(journal, lines) == ["one", "two"]


def test_two_tracebacks_in_a_row_are_two(journal: Journal) -> None:
    lines = [journal.log(line) for word in ("one", "two") for line in traceback(word=word).splitlines()]
    assert titles(journal, lines) == ["ValueError: no such lesson: one", "ValueError: no such lesson: two"]


def test_lines_of_two_containers_are_not_mixed(journal: Journal) -> None:
    here = traceback(word="here").splitlines()
    there = traceback(word="there").splitlines()
    lines = []
    for one, two in zip(here, there, strict=True):
        lines += [journal.log(one, CONTAINER_ID="a"), journal.log(two, host="web2", CONTAINER_ID="b")]
    assert [(one.host, one.title.split()[-1]) for one in errors(journal, lines)] == [
        ("web1", "here"),
        ("web2", "there"),
    ]


def test_a_line_that_docker_cut_is_one_line(journal: Journal) -> None:
    whole = json.dumps({"level": "error", "message": "no", "exception": traceback(), "padding": "x" * 40_000})
    parts = [whole[start : start + 16_384] for start in range(0, len(whole), 16_384)]
    lines = [journal.log(part, CONTAINER_PARTIAL_MESSAGE="true") for part in parts[:-1]] + [journal.log(parts[-1])]
    assert titles(journal, lines) == ["ValueError: no such lesson: tides"]


def test_a_traceback_whose_end_never_comes_is_told_after_a_while(journal: Journal) -> None:
    assembler = Assembler()
    for line in traceback().splitlines()[:3]:
        entry = parse(journal.log(line))
        assert entry
        assert assembler.feed(entry, journal.now) == []
    assert assembler.settle(journal.now + SETTLE / 2) == []
    (found,) = assembler.settle(journal.now + SETTLE)
    assert found.culprit == "app/pages.py in lesson"


def test_a_line_of_bytes_is_text(journal: Journal) -> None:
    assert titles(journal, [journal.log(list("ERROR: ñandú \xff".encode("latin-1")))]) == ["�and� �"]


def test_no_secret_is_kept(journal: Journal) -> None:
    secret = "hunter2-hunter2-hunter2"
    line = f"ERROR: cannot connect to postgresql://web:{secret}@data1/web"
    (found,) = errors(journal, [journal.log(line)])
    assert secret not in str(found)
    assembler, entry = Assembler(), parse(journal.log(line))
    assert entry
    assembler.feed(entry, journal.now)
    assert secret not in json.dumps(assembler.dump())


# Units.


def test_a_container_that_died_and_was_started_again(journal: Journal) -> None:
    lines = [
        journal.structured("info", "request"),
        journal.log("bad configuration: DATABASE_URL is missing", stderr=True),
        journal.exited(2),
        journal.systemd("web@a.service", units.RESTART_SCHEDULED, "Scheduled restart job", N_RESTARTS="1"),
    ]
    (found,) = errors(journal, lines)
    assert found.title == "web ended with 2 and was started again: bad configuration: DATABASE_URL is missing"
    assert (found.service, found.tag) == ("web", "v65")


@pytest.mark.parametrize(
    ("code", "title"),
    [
        (0, "web ended by itself and was started again"),
        (137, "web was killed (137: out of memory, or by hand) and was started again"),
    ],
)
def test_how_it_ended_is_told(journal: Journal, code: int, title: str) -> None:
    lines = [journal.exited(code), journal.systemd("web@a.service", units.RESTART_SCHEDULED)]
    assert titles(journal, lines) == [title]


def test_old_words_are_not_the_last_ones(journal: Journal) -> None:
    lines = [journal.log("an hour ago", stderr=True)]
    journal.seconds = 3600
    lines += [journal.exited(1), journal.systemd("web@a.service", units.RESTART_SCHEDULED)]
    assert titles(journal, lines) == ["web ended with 1 and was started again"]


def test_a_container_that_cannot_be_started(journal: Journal) -> None:
    said = journal.entry("docker: no such image", _SYSTEMD_UNIT="web@a.service", SYSLOG_IDENTIFIER="sh")
    failed = journal.systemd("web@a.service", units.UNIT_FAILED, "Failed with result", UNIT_RESULT="exit-code")
    lines = [said, failed, journal.systemd("web@a.service", units.RESTART_SCHEDULED)]
    assert titles(journal, lines) == ["web cannot be started (exit-code): docker: no such image"]


def test_a_rollout_over_an_old_container_is_no_error(journal: Journal) -> None:
    # As seen on a host: the container of the idle slot is removed, its unit finds nothing to stop, and is started.
    lines = [
        journal.exited(137),
        journal.entry("Error response from daemon: No such container: web-a", _SYSTEMD_UNIT="web@a.service"),
        journal.systemd("web@a.service", "98e322203f7a4ed290d09fe03c09fe15", "Control process exited", PRIORITY="5"),
        journal.systemd("web@a.service", units.UNIT_FAILED, UNIT_RESULT="exit-code", PRIORITY="4"),
        journal.systemd("web@a.service", "9d1aaa27d60140bd96365438aad20286", "Stopped web in slot a."),
    ]
    assert titles(journal, lines) == []


def test_a_failed_unit_of_the_host(journal: Journal) -> None:
    lines = [
        journal.systemd("haproxy.service", units.UNIT_FAILED, "haproxy.service: Failed", UNIT_RESULT="exit-code"),
        journal.systemd("haproxy.service", units.START_FAILED, "Failed to start haproxy", JOB_RESULT="failed"),
        journal.systemd("docker.service", units.START_FAILED, "Dependency failed", JOB_RESULT="dependency"),
    ]
    assert titles(journal, lines) == ["haproxy.service failed (exit-code)", "docker.service failed (dependency)"]


def test_transient_units_of_one_kind_are_one_group(journal: Journal) -> None:
    lines = [journal.systemd(f"run-u{n}.service", units.UNIT_FAILED, UNIT_RESULT="signal") for n in (71, 182)]
    one, two = errors(journal, lines)
    assert one.identity == two.identity


KILLED = "Memory cgroup out of memory: Killed process 4242 (python) total-vm:1024kB, anon-rss:512kB, UID:0"


def test_an_out_of_memory_kill_names_the_service(journal: Journal) -> None:
    context = (
        f"oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/system.slice/docker-{'38c31cd92d7d' * 5}.scope,pid=4242"
    )
    lines = [
        journal.structured("info", "request"),
        journal.entry(context, _TRANSPORT="kernel"),
        journal.entry(KILLED, _TRANSPORT="kernel"),
        journal.systemd(f"docker-{'38c31cd92d7d' * 5}.scope", units.UNIT_OUT_OF_MEMORY),
    ]
    (found,) = errors(journal, lines)
    assert (found.title, found.service, found.tag) == ("web ran out of memory and was killed", "web", "v65")


def test_an_out_of_memory_kill_that_only_systemd_tells_of(journal: Journal) -> None:
    scope = f"docker-{'38c31cd92d7d' * 5}.scope"
    lines = [journal.structured("info", "request"), journal.systemd(scope, units.UNIT_OUT_OF_MEMORY)]
    assert titles(journal, lines) == ["web ran out of memory and was killed"]


def test_an_out_of_memory_kill_of_a_program_of_the_host(journal: Journal) -> None:
    line = journal.entry("Out of memory: Killed process 7 (postgres) total-vm:1kB", _TRANSPORT="kernel")
    assert titles(journal, [line]) == ["postgres ran out of memory and was killed"]


def test_what_a_unit_of_the_host_calls_critical(journal: Journal) -> None:
    line = journal.entry("no space left on device", PRIORITY="2", _SYSTEMD_UNIT="docker.service", _COMM="dockerd")
    assert titles(journal, [line]) == ["no space left on device"]


@pytest.mark.parametrize("line", ["", "no JSON", "[]", "{}", '{"__CURSOR": "s=1"}', '{"__CURSOR": "", "MESSAGE": "x"}'])
def test_what_is_no_entry_is_none(line: str) -> None:
    assert parse(line) is None


@pytest.mark.parametrize("value", [None, 7, [], [[]], {"a": 1}, "\ud800", [300, -1], "\0"])
@pytest.mark.parametrize(
    "field", ["MESSAGE", "PRIORITY", "CONTAINER_NAME", "UNIT", "_HOSTNAME", "CONTAINER_ID", "TAGBOAT_TAG"]
)
def test_no_value_of_a_field_is_too_odd(journal: Journal, field: str, value: object) -> None:
    for fields in ({"MESSAGE_ID": units.UNIT_FAILED, "UNIT": "x.service"}, {"CONTAINER_NAME": "web-a"}):
        entry = parse(journal.entry("ERROR: x", **{**fields, field: value} if field != "MESSAGE" else fields))
        assert entry
        for found in Assembler().feed(entry, journal.now):
            found.fingerprint("local").encode()
