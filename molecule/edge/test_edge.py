"""The switch of a release is one entry of a map. Here programs stand in for the containers of the two slots."""

import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from scenario import FLEET


@pytest.fixture(scope="module")
def host(hosts: Callable[[str], Any]) -> Any:
    return hosts("web1")


@pytest.fixture(autouse=True, scope="module")
def slots(host: Any, program: Callable[[Any, int, str], None]) -> Iterator[None]:
    program(host, 10080, "slot-a")
    program(host, 20080, "slot-b")
    yield
    host.run("systemctl stop 'program*'")


@pytest.fixture(scope="module")
def url(address: Callable[[str], str]) -> str:
    return f"http://{address('web1')}"


@pytest.fixture(scope="module")
def switch(host: Any) -> Callable[[str], None]:
    """Do what the service module does: the runtime API, and the file for the next start."""
    steer = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect('/run/haproxy/admin.sock');"
        "s.sendall(sys.argv[1].encode() + b'\\n'); sys.exit(s.recv(1000).strip().decode() or 0)"
    )

    def to(backend: str) -> None:
        verb = "set" if host.run("grep -q '^web ' /etc/haproxy/tagboat.map").succeeded else "add"
        commands = [f"{verb} map /etc/haproxy/tagboat.map web {backend}"]
        if backend in ("web-a", "web-b"):
            commands.insert(0, f"set server {backend}/{backend[-1]} health up")  # the edge's own check may be late
        host.check_output("echo web %s > /etc/haproxy/tagboat.map", backend)
        for command in commands:
            host.check_output("python3 -c %s %s", steer, command)

    return to


def test_before_the_first_release_visitors_are_told_when_to_return(get: Callable[..., Any], url: str) -> None:
    answer = get(f"{url}:8080")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "7")
    assert "No release of admin is live" in answer.text


def test_a_switch_under_load_fails_no_request(get: Callable[..., Any], url: str, switch: Callable[[str], None]) -> None:
    switch("web-a")
    assert get(url).seen["name"] == "slot-a"
    done = Event()

    def visit() -> list[Any]:
        answers = []
        while not done.is_set():
            answers.append(get(url))
        return answers

    with ThreadPoolExecutor() as pool:
        visitors = [pool.submit(visit) for _ in range(4)]
        try:
            for slot in ("b", "a", "b"):
                switch(f"web-{slot}")
                assert get(url).seen["name"] == f"slot-{slot}"
        finally:
            done.set()
    assert {answer.status for visitor in visitors for answer in visitor.result()} == {200}


def test_a_request_in_flight_stays_where_it_began(
    get: Callable[..., Any], begin: Callable[[str], Any], url: str, switch: Callable[[str], None]
) -> None:
    switch("web-a")
    with begin(f"{url}/slow?2") as slow:
        switch("web-b")
        assert get(url).seen["name"] == "slot-b"
        assert b"slot-a" in slow.read()


def test_maintenance_shows_its_page_and_touches_no_other_service(
    get: Callable[..., Any], url: str, switch: Callable[[str], None]
) -> None:
    switch("web-maintenance")
    answer = get(url)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "7")
    assert "<p>Back at noon.</p>" in answer.text
    assert "No release of admin" in get(f"{url}:8080").text
    switch("web-b")
    assert get(url).status == 200


def test_a_service_with_tls_proves_who_it_is(address: Callable[[str], str]) -> None:
    trust = ssl.create_default_context(cafile=FLEET / "pki" / "ca.pem")
    where = (address("web1"), 8443)
    with (
        socket.create_connection(where, 10) as line,
        trust.wrap_socket(line, server_hostname="inside.example.com") as safe,
    ):
        safe.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b"No release of inside" in b"".join(iter(lambda: safe.recv(4096), b""))
    with socket.create_connection(where, 10) as line, pytest.raises(ssl.SSLCertVerificationError):
        trust.wrap_socket(line, server_hostname="elsewhere.example.com")


def test_a_converged_host_keeps_its_live_slot(
    get: Callable[..., Any], url: str, switch: Callable[[str], None], converge: Callable[..., Any]
) -> None:
    switch("web-b")
    assert converge("-e", "edge_retry_after_seconds=9").changed
    assert get(url).seen["name"] == "slot-b"
    assert get(f"{url}:8080").headers["Retry-After"] == "9"


def test_a_restart_keeps_the_live_slot(
    host: Any, get: Callable[..., Any], url: str, switch: Callable[[str], None]
) -> None:
    switch("web-a")
    host.check_output("systemctl restart haproxy")
    assert get(url).seen["name"] == "slot-a"
