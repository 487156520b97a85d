"""What services can count on from the engine."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TINY_IMAGE = Path(__file__).parents[1] / "tiny_image.sh"


@pytest.fixture(autouse=True, scope="module")
def host(hosts: Callable[[str], Any]) -> Iterator[Any]:
    host = hosts("host1")
    host.check_output("sh -c %s tiny_image tiny", TINY_IMAGE.read_text())
    yield host
    host.run("docker ps --all --quiet | xargs --no-run-if-empty docker rm --force")


def test_a_container_runs_with_all_the_limits_of_a_service(host: Any) -> None:
    limits = "--memory=64m --pids-limit=32 --cpus=0.5 --read-only --tmpfs=/tmp --cap-drop=ALL"
    assert (
        host.check_output(
            f"docker run --rm {limits} --security-opt=no-new-privileges --network=tagboat tiny sh -c 'echo hello'"
        )
        == "hello"
    )


def test_containers_outlive_a_restart_of_the_engine(host: Any) -> None:
    started = "docker inspect --format '{{.State.Running}} {{.State.StartedAt}}' survivor"
    host.check_output("docker run --detach --name=survivor --network=tagboat tiny")
    before = host.check_output(started)
    host.check_output("systemctl restart docker")
    assert before.startswith("true ")
    assert host.check_output(started) == before


def test_containers_find_each_other_and_the_hosts_by_name(host: Any) -> None:
    host.check_output("docker run --detach --name=other --network=tagboat tiny")
    for name in ("other", "host1.tagboat-molecule-docker"):
        assert host.run(f"docker run --rm --network=tagboat tiny getent hosts {name}").succeeded, name


def test_what_a_container_says_is_in_the_journal_after_it_is_gone(host: Any) -> None:
    name = host.check_output("docker run --detach tiny sh -c 'echo last words'")[:12]
    host.check_output(f"docker wait {name} && docker rm {name}")
    assert host.check_output(f"journalctl --output=cat CONTAINER_ID={name}") == "last words"


def test_each_line_says_which_service_and_tag_it_is_of(host: Any) -> None:
    labels = "--label=tagboat.service=web --label=tagboat.tag=v65"
    host.check_output(f"docker run --rm {labels} tiny sh -c 'echo hello from v65'")
    assert host.check_output("journalctl --output=cat TAGBOAT_SERVICE=web TAGBOAT_TAG=v65") == "hello from v65"


def test_a_registry_without_tls_is_refused(
    host: Any, address: Callable[[str], str], eventually: Callable[..., None]
) -> None:
    host.check_output("systemd-run --collect --unit=plain python3 -m http.server 5000 --directory /run/lock")
    eventually(lambda: host.socket("tcp://0.0.0.0:5000").is_listening)
    pull = host.run(f"docker pull {address('host1')}:5000/web:v1")
    host.run("systemctl stop plain")
    # Where it may, the engine goes on without TLS, and this would be a plain 404.
    assert "TLS handshake" in pull.stderr or "HTTP response to HTTPS client" in pull.stderr


def test_a_published_port_refuses_while_nothing_listens_in_the_container(host: Any) -> None:
    """Docker's own proxy would accept and drop: an edge in front of it could not try elsewhere."""
    host.check_output("docker run --detach --publish=127.0.0.1:8000:8000 --network=tagboat tiny")
    knock = "import socket; socket.create_connection(('127.0.0.1', 8000), 2).recv(1)"
    assert "refused" in host.run("python3 -c %s", knock).stderr


def test_the_login_to_the_registry_is_roots_own(host: Any) -> None:
    login = host.file("/root/.docker/config.json")
    assert json.loads(login.content_string)["auths"]["host1:5000"]["auth"] == "cHVsbDpub3QtZm9yLWV2ZXJ5Ym9keQ=="
    assert "Permission denied" in host.run("runuser -u admin cat /root/.docker/config.json").stderr


def test_the_engine_starts_at_boot(host: Any) -> None:
    assert host.service("docker").is_enabled
