"""What a real machine does to the bot: disks that fill, ledgers that break, senders that are no senders."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import resource
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from bot_process import until
from bot_team import BOT_TOKEN, Team
from fakes.server import status

from ops_bot.cli import main
from ops_bot.events import State
from ops_bot.ledger import Ledger
from ops_bot.ledger.backup import restore


def health(team: Team) -> int:
    """The status of `/healthz`; 0 when nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", team.port, timeout=10)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def test_a_disk_that_fills_and_is_freed_loses_nothing(team: Team) -> None:
    bot = team.start()
    until(lambda: health(team) == 200, "it serves")
    team.tell(State.STARTED)
    until(team.flush, "recorded")
    until(team.settled, "told")
    # No file of this process may grow beyond what its largest is now: to it, the disk is full.
    largest = max(path.stat().st_size for path in team.folder.glob("ledger.db*"))
    _, hard = resource.prlimit(bot.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(bot.pid, resource.RLIMIT_FSIZE, (largest, hard))
    for number in range(2, 60):
        team.tell(State.STARTED, State.FAILED, number=number)
    until(lambda: not team.flush() and health(team) == 503, "it says that it can record nothing")
    assert bot.alive
    resource.prlimit(bot.pid, resource.RLIMIT_FSIZE, (hard, hard))
    until(team.flush, "what was not taken is sent again")
    until(lambda: health(team) == 200, "it is well again")
    until(team.settled, f"told\n{team.logs()}", 120)
    team.assert_told()


@contextlib.contextmanager
def disk_that_cannot_be_sure(pid: int) -> Iterator[None]:
    """Every fsync of a process fails, as on a disk that loses its connection: strace answers in the kernel's place."""
    command = ["strace", "--follow-forks", "--quiet=all", "--trace=fsync,fdatasync", f"--attach={pid}"]
    strace = subprocess.Popen(
        [*command, "--inject=fsync,fdatasync:error=EIO", "--output=/dev/null"], stderr=subprocess.PIPE, text=True
    )
    try:
        until(lambda: traced(pid) or strace.poll() is not None, "strace watches it")
        assert strace.poll() is None, strace.communicate()[1]
        yield
    finally:
        strace.terminate()
        strace.communicate(timeout=10)


def traced(pid: int) -> bool:
    """Whether every thread of a process has a tracer (proc(5))."""
    threads = Path(f"/proc/{pid}/task").glob("*/status")
    try:
        return all("TracerPid:\t0\n" not in thread.read_text() for thread in threads)
    except OSError:
        return False  # one that ended while it was looked at


@pytest.mark.skipif(
    not shutil.which("strace") and "TAGBOAT_ALL_TESTS" not in os.environ,
    reason="strace is not installed: apt install strace",
)
def test_what_the_disk_is_not_sure_of_is_not_acknowledged(team: Team) -> None:
    bot = team.start()
    team.tell(State.STARTED)
    until(team.flush, "recorded")
    until(team.settled, "told")
    with disk_that_cannot_be_sure(bot.pid):
        for number in range(2, 6):
            team.tell(State.STARTED, number=number)
            assert not team.flush(), "acknowledged, though it is on no disk"
        assert bot.alive
    until(team.flush, "what was not taken is sent again")
    until(team.settled, f"told\n{team.logs()}", 60)
    team.assert_told()


def test_a_ledger_that_somebody_locks_for_long_is_waited_for(team: Team) -> None:
    team.start()
    team.tell(State.STARTED)
    until(team.flush, "recorded")
    with contextlib.closing(sqlite3.connect(team.folder / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        team.tell(State.FINISHED)
        until(lambda: not team.flush(), "it does not claim to have recorded what it could not")
        other.execute("ROLLBACK")
    until(team.flush, "recorded")
    until(team.settled, "told")
    team.assert_told()


def test_a_broken_ledger_is_said_in_one_line(team: Team) -> None:
    (team.folder / "ledger.db").write_bytes(b"this is no ledger\n" * 500)
    bot = team.start()
    assert bot.wait() == 1
    assert bot.log.read_text() == (
        "ops-bot: this file is no ledger: check OPS_BOT_LEDGER_URL (file is not a database)\n"
    )


def test_a_port_that_is_taken_ends_it(team: Team) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", team.port))
        taken.listen()
        bot = team.start()
        assert bot.wait() == 1
    assert bot.log.read_text() == f"ops-bot: 127.0.0.1:{team.port}: Address already in use\n"


def test_a_backup_of_the_running_bot_put_back_tells_nothing_twice(
    team: Team, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{team.folder}/ledger.db"
    monkeypatch.setenv("OPS_BOT_LEDGER_URL", url)
    bot = team.start()
    team.tell(State.STARTED, number=1)
    until(team.flush, "recorded")
    until(team.settled, "told")
    team.slack.outage = team.datadog.outage = lambda _request: status(503)
    team.tell(State.STARTED, State.FAILED, number=2)
    until(team.flush, "recorded, not told")
    assert main(["backup", str(team.folder / "backup")]) == 0
    team.slack.heal()
    team.datadog.heal()
    until(team.settled, "told after the backup was made", 60)
    assert main(["restore", str(team.folder / "backup")]) == 1
    assert "stop the bot first" in capsys.readouterr().err
    bot.kill()
    restore(url, team.folder / "backup")
    with contextlib.closing(Ledger.open(url)) as ledger:
        assert ledger.counts()["waiting"] > 0, "the backup does not know that they were told"
    team.start()
    until(team.settled, f"looked, and found\n{team.logs()}", 60)
    team.assert_told()


GARBAGE = [
    b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # somebody speaks TLS
    b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: nonsense\r\n\r\n{}",
    b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    b"POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    b"POST /events HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nAuthorization: b\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /events HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    b"POST /%ff%00/../events HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
]


def test_senders_that_are_no_senders_get_no_error_of_ours(team: Team) -> None:
    team.start()
    until(lambda: health(team) == 200, "it serves")
    for garbage in GARBAGE:
        with socket.create_connection(("127.0.0.1", team.port), timeout=10) as connection:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                said = connection.makefile("rb").readline()
                assert said.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")) or said == b"", garbage
    assert health(team) == 200
    with contextlib.closing(Ledger.open(f"sqlite:///{team.folder}/ledger.db")) as ledger:
        assert ledger.counts() == {"events": 0, "stories": 0, "waiting": 0, "parked": 0, "quarantined": 0}


def test_senders_that_never_end_hold_up_nobody(team: Team) -> None:
    team.start()
    until(lambda: health(team) == 200, "it serves")
    head = f"POST /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {BOT_TOKEN}\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", team.port), timeout=10))
            connection.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{".encode())
        team.tell(State.STARTED)
        until(team.flush, "others are served meanwhile", 10)
        assert connection.recv(100).startswith(b"HTTP/1.1 408"), "and the slow are told, in the end"


def test_ten_thousand_events_at_once_are_few_messages(team: Team) -> None:
    """A burst is recorded whole and told as its newest state: once a thing, whatever the number of its steps."""
    team.start()
    until(lambda: health(team) == 200, "it serves")
    connection = http.client.HTTPConnection("127.0.0.1", team.port, timeout=60)
    headers = {"Authorization": f"Bearer {BOT_TOKEN}", "Content-Type": "application/json"}
    at = "2026-11-21T03:00:00Z"
    for part in range(10):
        events = [
            {
                "id": f"burst-{part}-{number}",
                "correlation": f"deploy:{number % 4}",
                "sequence": part * 1000 + number,
                "kind": "deploy",
                "state": "progress",
                "at": at,
            }
            for number in range(1000)
        ]
        while True:
            connection.request("POST", "/events", json.dumps(events), headers)
            response = connection.getresponse()
            said = json.loads(response.read())
            if response.status != HTTPStatus.TOO_MANY_REQUESTS:
                break
            time.sleep(float(response.headers["Retry-After"]))  # what a good sender does
        assert (response.status, said["recorded"]) == (200, 1000)
    connection.close()
    until(team.settled, f"told\n{team.logs()}", 60)
    assert sorted(one.key for one in team.slack.seen()) == [f"deploy:{number}" for number in range(4)]
    assert team.slack.count("chat.postMessage") + team.slack.count("chat.update") <= 40
    with contextlib.closing(Ledger.open(f"sqlite:///{team.folder}/ledger.db")) as ledger:
        assert ledger.counts()["events"] == 10_000
