"""What users notice of a change of the proxy: nothing."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module")
def host(hosts: Callable[[str], Any]) -> Any:
    return hosts("host1")


@pytest.fixture(scope="module")
def url(address: Callable[[str], str]) -> str:
    return f"http://{address('host1')}:8080"


@pytest.fixture(autouse=True, scope="module")
def application(
    host: Any,
    url: str,
    program: Callable[[Any, int, str], None],
    get: Callable[..., Any],
    eventually: Callable[..., None],
) -> Iterator[None]:
    program(host, 8000, "demo")
    eventually(lambda: get(url).status == 200)
    yield
    host.run("systemctl stop program8000")


def test_the_application_learns_who_asks(get: Callable[..., Any], url: str) -> None:
    lies = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    seen = get(url, lies).seen["headers"]
    assert seen["x-forwarded-for"].startswith("10.214.")
    assert seen["x-forwarded-proto"] == "http"


def test_a_trusted_proxy_is_believed(host: Any) -> None:
    ask = (
        "from urllib.request import Request, urlopen;"
        "print(urlopen(Request('http://127.0.0.1:8080', headers={'X-Forwarded-For': '192.0.2.7'})).read())"
    )
    assert '"x-forwarded-for": "192.0.2.7"' in host.check_output("python3 -c %s", ask)


def test_one_request_id_goes_all_the_way(get: Callable[..., Any], url: str) -> None:
    given = get(url, {"X-Request-Id": "support-case-42"})
    assert given.seen["headers"]["x-request-id"] == given.headers["X-Request-Id"] == "support-case-42"
    made = get(url, {"X-Request-Id": "<script>"})
    assert made.seen["headers"]["x-request-id"] == made.headers["X-Request-Id"] != "<script>"


def test_the_log_has_the_request_but_not_its_query(get: Callable[..., Any], url: str, host: Any) -> None:
    get(f"{url}/orders?token=secret")
    log = host.check_output("journalctl --unit=haproxy --output=cat --since=-1min")
    assert "status=200" in log
    assert '"/orders"' in log
    assert "secret" not in log


def test_a_broken_configuration_never_lands(converge: Callable[..., Any], get: Callable[..., Any], url: str) -> None:
    run = converge("-e", "broken_line='no such directive'")
    assert not run.succeeded
    assert "/etc/haproxy/haproxy.cfg stays as it was" in run.output
    assert "unknown keyword" in run.output
    assert get(url).status == 200


@pytest.mark.parametrize("action", ["reload", "stop"])
def test_requests_in_flight_are_finished(
    get: Callable[..., Any], begin: Callable[[str], Any], url: str, host: Any, action: str
) -> None:
    with begin(f"{url}/slow?2") as slow:
        host.check_output(f"systemctl {action} haproxy")
        assert b"demo" in slow.read()
    host.check_output("systemctl start haproxy")
    assert get(url).status == 200


def test_only_root_may_steer_it(host: Any) -> None:
    socket = "import socket; socket.socket(socket.AF_UNIX).connect('/run/haproxy/admin.sock')"
    assert host.run("python3 -c %s", socket).succeeded
    assert "PermissionError" in host.run("runuser -u nobody -- python3 -c %s", socket).stderr
