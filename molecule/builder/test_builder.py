"""What a build needs: a Debian to start from that reaches its packages, and credentials that stay put."""

import json
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="module")
def host(hosts: Callable[[str], Any]) -> Any:
    return hosts("build1")


def test_the_debian_image_is_the_build_servers_own_debian(host: Any) -> None:
    release = ". /etc/os-release; echo $ID $VERSION_CODENAME"
    assert host.check_output("docker run --rm tagboat/debian sh -c %s", release) == host.check_output(release)


def test_a_build_from_it_installs_packages(host: Any) -> None:
    dockerfile = "FROM tagboat/debian\nRUN apt-get update -qq && apt-get install -qq --no-install-recommends ed\n"
    build = host.run("printf %s | DOCKER_BUILDKIT=1 docker build --network=host --tag=built -", dockerfile)
    assert build.succeeded, build.stderr
    assert host.run("docker run --rm built ed --version").succeeded


def test_what_it_pushes_with_is_nobodys_business(host: Any) -> None:
    file = "/var/lib/tagboat/build/docker/config.json"
    assert json.loads(host.file(file).content_string)["auths"]["registry1:5000"]["auth"]
    assert "Permission denied" in host.run(f"runuser -u admin cat {file}").stderr


def test_builds_and_people_may_read_what_was_built(host: Any) -> None:
    assert host.run("runuser -u admin ls /var/lib/tagboat/builds").succeeded


def test_git_is_there_for_sources_elsewhere(host: Any) -> None:
    assert host.run("git --version && ssh -V").succeeded
