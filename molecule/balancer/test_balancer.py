"""Hosts come and go behind the balancer; visitors do not notice while one is left."""

from collections.abc import Callable
from time import sleep
from typing import Any

import pytest

NAMES = {"web1", "web2"}


@pytest.fixture(autouse=True)
def web(
    hosts: Callable[[str], Any],
    program: Callable[[Any, int, str], None],
    everybody: Callable[[], set[str]],
    eventually: Callable[..., None],
) -> None:
    """Both hosts serve, and the balancer knows."""
    for name in NAMES:
        hosts(name).run("systemctl kill --signal=KILL program80; systemctl stop program80")
        program(hosts(name), 80, name)
    eventually(lambda: everybody() == NAMES)


@pytest.fixture
def url(address: Callable[[str], str]) -> str:
    return f"http://{address('lb1')}"


@pytest.fixture
def everybody(get: Callable[..., Any], url: str) -> Callable[[], set[str]]:
    """The names of all who answer."""

    def names() -> set[str]:
        answers = [get(url) for _ in range(8)]
        return {answer.seen["name"] if answer.status == 200 else str(answer.status) for answer in answers}

    return names


def test_a_host_that_does_not_exist_yet_holds_nobody_up(everybody: Callable[[], set[str]]) -> None:
    assert everybody() == NAMES


@pytest.mark.parametrize("end", ["systemctl stop program80", "systemctl kill --signal=KILL program80"])
def test_a_host_goes_away_unnoticed(hosts: Callable[[str], Any], everybody: Callable[[], set[str]], end: str) -> None:
    hosts("web1").check_output(end)
    seen = [everybody() for _ in range(10)]
    assert set().union(*seen) == {"web2"}


def test_a_host_that_returns_is_used_again(
    hosts: Callable[[str], Any],
    program: Callable[[Any, int, str], None],
    everybody: Callable[[], set[str]],
    eventually: Callable[..., None],
) -> None:
    hosts("web1").check_output("systemctl stop program80")
    assert everybody() == {"web2"}
    program(hosts("web1"), 80, "web1")
    eventually(lambda: everybody() == NAMES)


def test_a_host_that_hangs_is_taken_out(hosts: Callable[[str], Any], everybody: Callable[[], set[str]]) -> None:
    hosts("web1").check_output("systemctl kill --signal=STOP program80")
    sleep(4)  # two checks that get no answer
    assert everybody() == {"web2"}


def test_with_no_host_left_visitors_hear_so_at_once(
    hosts: Callable[[str], Any], get: Callable[..., Any], url: str
) -> None:
    for name in NAMES:
        hosts(name).check_output("systemctl stop program80")
    answer = get(url)
    assert answer.status == 503
    assert answer.headers["X-Request-Id"]


def test_dead_connections_are_given_up_soon(hosts: Callable[[str], Any]) -> None:
    assert hosts("lb1").check_output("cat /proc/sys/net/ipv4/tcp_retries2") == "5"
