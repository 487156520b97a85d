"""What a queue needs: nobody else reads it, and no job is lost."""

from collections.abc import Callable
from typing import Any

import pytest

Redis = Callable[..., str]


@pytest.fixture
def redis(hosts: Callable[[str], Any], address: Callable[[str], str]) -> Redis:
    """Call a command over the network."""

    def call(*words: str, password: str = "redis-password") -> str:
        login = f"REDISCLI_AUTH={password}" if password else ""
        done = hosts("data1").run(f"{login} redis-cli -h {address('data1')} {' '.join(words)} 2>&1")
        return str(done.stdout).strip()

    return call


def test_with_the_password_jobs_go_in_and_out(redis: Redis) -> None:
    assert redis("lpush", "jobs", "one") == "1"
    assert redis("rpop", "jobs") == "one"


@pytest.mark.parametrize("password", ["", "wrong"])
def test_without_the_password_nothing_works(redis: Redis, password: str) -> None:
    assert "NOAUTH" in redis("get", "jobs", password=password)


@pytest.mark.parametrize("command", ["debug sleep 0", "module list", "shutdown", "replicaof no one", "slaveof no one"])
def test_dangerous_commands_do_not_exist(redis: Redis, command: str) -> None:
    assert "unknown command" in redis(command)


def test_a_full_queue_refuses_jobs_instead_of_losing_some(redis: Redis) -> None:
    assert redis("set", "kept", "yes") == "OK"
    fill = "for i = 1, 10 do redis.call('set', KEYS[1] .. i, string.rep('x', 1000000)) end"
    answers = [redis("eval", f'"{fill}"', "1", f"filler{number}-") for number in range(3)]
    assert "OOM" in answers[-1]
    assert "OOM" in redis("lpush", "jobs", "one too many")
    assert redis("get", "kept") == "yes"
    assert redis("flushall") == "OK"


def test_jobs_outlive_a_crash(redis: Redis, hosts: Callable[[str], Any], eventually: Callable[..., None]) -> None:
    redis("lpush", "work", "unfinished")
    hosts("data1").check_output("sleep 1.5; kill -KILL $(pidof redis-server)")
    eventually(lambda: redis("lrange", "work", "0", "-1") == "unfinished")


def test_the_password_is_nobodys_business(hosts: Callable[[str], Any]) -> None:
    assert "Permission denied" in hosts("data1").run("runuser -u admin cat /etc/redis/redis.conf").stderr
    assert "redis-password" not in hosts("data1").check_output("ps -e -o args")


def test_it_starts_at_boot(hosts: Callable[[str], Any]) -> None:
    assert hosts("data1").service("redis-server").is_enabled
