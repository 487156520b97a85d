"""A service as its host keeps it: through crashes, a restart of the engine and a reboot, without asking anybody."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="module")
def host(hosts: Callable[[str], Any]) -> Any:
    return hosts("host1")


def running(host: Any) -> dict[str, str]:
    """Slot -> tag of the containers that run."""
    rows = host.check_output("docker ps --format '{{.Names}} {{.Label \"tagboat.tag\"}}'").splitlines()
    return {row.split()[0]: row.split()[1] for row in rows}


def test_the_unit_runs_the_release_locked_down(host: Any) -> None:
    assert running(host) == {"clock-a": "v1"}
    assert host.service("clock@a").is_enabled
    settings = json.loads(host.check_output("docker inspect clock-a --format '{{json .HostConfig}}'"))
    assert settings["ReadonlyRootfs"]
    assert settings["CapDrop"] == ["ALL"]
    assert "no-new-privileges" in settings["SecurityOpt"][0]
    assert (settings["Memory"], settings["PidsLimit"]) == (256 * 2**20, 256)


def test_the_container_knows_what_it_is_and_its_secrets(host: Any) -> None:
    environment = host.check_output("docker exec clock-a sh -c 'cat /proc/1/environ'").split("\0")
    told = dict(line.split("=", 1) for line in environment if line)
    expected = {"SERVICE": "clock", "TAG": "v1", "SLOT": "a", "HOST": "host1", "ENVIRONMENT": "molecule", "ZONE": "utc"}
    assert {key: told.get(key) for key in expected} == expected
    assert told["TOKEN"] == "not-for-everybody"


def test_its_secrets_are_nobodys_business(host: Any) -> None:
    assert host.run("runuser -u admin cat /etc/tagboat/clock/secrets.env").failed
    public = "ps -e -o args; systemctl cat clock@a; cat /etc/ansible/facts.d/*"
    assert "not-for-everybody" not in host.check_output(public)


@pytest.mark.parametrize(
    "death", ["docker kill clock-a", "kill -KILL $(docker inspect --format '{{.State.Pid}}' clock-a)"]
)
def test_a_container_that_dies_is_started_again(host: Any, eventually: Callable[..., None], death: str) -> None:
    before = host.check_output("docker inspect --format '{{.Id}}' clock-a")
    host.check_output(death)
    eventually(lambda: host.run("docker inspect --format '{{.Id}}' clock-a").stdout.strip() not in ("", before), 20)
    eventually(lambda: running(host) == {"clock-a": "v1"} and host.service("clock@a").is_running, 20)


def test_a_restart_of_the_engine_leaves_it_running(host: Any, eventually: Callable[..., None]) -> None:
    started = "docker inspect --format '{{.State.StartedAt}}' clock-a"
    before = host.check_output(started)
    host.check_output("systemctl restart docker")
    eventually(lambda: host.service("clock@a").is_running)
    assert host.check_output(started) == before


def test_a_release_that_dies_at_once_is_refused_and_the_old_one_stays(host: Any, converge: Callable[..., Any]) -> None:
    run = converge("-e", '{"tag": "v2", "command": ["ls", "/no/such/file"]}')
    assert not run.succeeded
    assert "v2 was refused" in run.output
    assert "host1 still serves v1" in run.output
    assert running(host) == {"clock-a": "v1"}


def test_the_next_release_takes_the_other_slot(host: Any, converge: Callable[..., Any]) -> None:
    run = converge("-e", "tag=v3")
    assert run.succeeded, run.output
    assert running(host) == {"clock-b": "v3"}
    record = json.loads(host.file("/etc/ansible/facts.d/tagboat.fact").content_string)
    results = [(release["tag"], release["result"]) for release in record["services"]["clock"]["releases"]]
    assert set(results) == {("v3", "live"), ("v2", "failed"), ("v1", "standby")}


def test_after_a_reboot_the_live_release_runs_again(host: Any, eventually: Callable[..., None]) -> None:
    before = set(running(host))
    subprocess.run(["docker", "restart", "tagboat-molecule-service-host1"], check=True, capture_output=True)

    def back() -> bool:
        try:
            return set(running(host)) == before
        except (AssertionError, RuntimeError):  # SSH is not back yet, or the engine
            return False

    eventually(back, 60)
    assert host.service("clock@b").is_enabled
    assert not host.service("clock@a").is_enabled
