"""The real `Host`, as far as it can be tried on any machine: files, commands, background work."""

from __future__ import annotations

import errno
import functools
import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible.module_utils.tagboat import host as hosts
from ansible.module_utils.tagboat.host import CommandError, Host


@pytest.fixture
def host() -> Host:
    return Host()


def test_a_file_is_replaced_at_once_with_its_mode(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "new" / "secrets.env"
    assert host.write(str(path), "A=1\n", 0o600)
    before = path.stat().st_ino
    assert host.write(str(path), "A=2\n", 0o600)
    assert path.stat().st_ino != before, "whoever reads it sees the old file or the new one"
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("A=2\n", 0o600)
    assert [entry.name for entry in path.parent.iterdir()] == ["secrets.env"]


def test_an_unchanged_file_is_left_alone_but_for_its_mode(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert host.write(str(path), "text", 0o644)
    assert not host.write(str(path), "text", 0o644)
    assert host.write(str(path), "text", 0o600)


def test_a_write_that_fails_leaves_nothing(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*/file"):
        host.write(str(tmp_path / "file"), "text")
    assert list(tmp_path.iterdir()) == []


def test_reading_and_removing_what_is_not_there(host: Host, tmp_path: Path) -> None:
    assert host.read(str(tmp_path / "none")) is None
    host.remove(str(tmp_path / "none"))
    assert not host.exists(str(tmp_path / "none"))


def test_a_link_replaces_a_link_and_a_leftover(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "wants" / "web@a.service"
    host.link(str(path), "/one")
    path.with_name("web@a.service.tagboat-new").write_text("left by a killed process")
    host.link(str(path), "/two")
    assert str(path.readlink()) == "/two"
    assert host.exists(str(path)), "a dangling link is there too"
    assert [entry.name for entry in path.parent.iterdir()] == ["web@a.service"]


def test_a_command(host: Host) -> None:
    assert host.run(["sh", "-c", "echo out; echo err >&2"]) == "out\nerr"
    assert host.run(["sh", "-c", "exit 3"], check=False) == ""
    with pytest.raises(CommandError, match=r"^sh -c echo oops; exit 3 failed with 3: oops$"):
        host.run(["sh", "-c", "echo oops; exit 3"])


def test_a_command_that_hangs_or_is_missing(host: Host) -> None:
    with pytest.raises(CommandError, match=r"^sleep 5 took longer than 0 s$"):
        host.run(["sleep", "5"], timeout_seconds=0.05)
    with pytest.raises(CommandError, match=r"^no-such-program is not installed$"):
        host.run(["no-such-program"])


@pytest.fixture
def server() -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/healthz" else 404)
            self.end_headers()
            self.wfile.write(b" fine \n" + b"." * 1000)

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made.server_address[1]
        made.shutdown()
        thread.join()


def test_asking_for_health(host: Host, server: int) -> None:
    status, body = host.get(server, "/healthz", 1)
    assert (status, body[:5], len(body) <= 500) == (200, "fine ", True)
    assert host.get(server, "/nowhere", 1)[0] == 404


def test_nobody_answers(host: Host) -> None:
    with pytest.raises(OSError, match="refused"):
        host.get(1, "/healthz", 1)


def test_an_edge_that_does_not_run(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hosts, "HAPROXY_SOCKET", str(tmp_path / "admin.sock"))
    with pytest.raises(OSError, match=r"the edge \(haproxy\) does not answer: .*No such file"):
        host.haproxy("show stat")


def test_a_lock_is_waited_for(host: Host, tmp_path: Path) -> None:
    path = str(tmp_path / "run" / "web.lock")
    order: list[str] = []

    def other() -> None:
        with host.lock(path):
            order.append("second")

    with host.lock(path):
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(0.05)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]


def test_background_work_ends_with_the_work_it_goes_with(host: Host) -> None:
    done: list[int] = []

    def action() -> bool:
        done.append(1)
        return True

    with host.meanwhile(action, 0.005):
        deadline = time.monotonic() + 5
        while len(done) < 3 and time.monotonic() < deadline:
            time.sleep(0.005)
    count = len(done)
    assert count >= 3
    time.sleep(0.03)
    assert len(done) == count


def test_background_work_that_says_no_is_over(host: Host) -> None:
    done: list[int] = []

    def action() -> bool:
        done.append(1)
        return False

    with host.meanwhile(action, 0.005):
        time.sleep(0.05)
    assert len(done) == 1


def test_a_process_knows_whether_anybody_still_waits_for_what_it_prints() -> None:
    code = "import sys; from tagboat.host import Host; sys.stdin.readline(); sys.exit(Host().is_waited_for())"
    process = functools.partial(
        subprocess.Popen,
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(Path(hosts.__file__).resolve().parents[1])},
    )
    with process() as listened_to:
        assert listened_to.stdin
        listened_to.stdin.close()
        assert listened_to.wait(timeout=30) == 1
    with process() as deserted:
        assert deserted.stdin
        assert deserted.stdout
        deserted.stdout.close()
        deserted.stdin.close()
        assert deserted.wait(timeout=30) == 0


def test_the_clock_is_uptime(host: Host) -> None:
    assert abs(host.clock() - float(Path("/proc/uptime").read_text().split()[0])) < 1
