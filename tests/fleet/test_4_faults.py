"""Things that break around a release."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from fleet import Fleet, Run, Source
from load import Visitors
from story import Tags, tags_built
from test_2_story import assert_serving


@pytest.fixture(autouse=True)
def at_first(fleet: Fleet, tags: Tags) -> None:
    """Every test begins with the first tag live everywhere."""
    run = fleet.play("deploy", service="web", tag=tags.first, force=True)
    assert run.ok, run.tail
    assert_serving(fleet, tags.first)


@contextmanager
def registry_down(fleet: Fleet) -> Iterator[None]:
    """The registry host answers nobody."""
    fleet.host("registry1", "systemctl stop nginx docker-registry")
    try:
        yield
    finally:
        fleet.host("registry1", "systemctl start docker-registry nginx")


def test_rollback_needs_no_registry(fleet: Fleet, tags: Tags) -> None:
    assert fleet.play("deploy", service="web", tag=tags.second, force=True).ok
    with registry_down(fleet):
        run = fleet.play("rollback", service="web")
    assert run.ok, run.tail
    assert_serving(fleet, tags.first)


def test_deploy_without_registry_is_refused(fleet: Fleet, tags: Tags) -> None:
    with registry_down(fleet):
        run = fleet.play("deploy", service="web", tag=tags.second)
    assert not run.ok
    assert_serving(fleet, tags.first)


def test_a_rebooted_host_comes_back_with_its_release(fleet: Fleet, tags: Tags) -> None:
    with registry_down(fleet), Visitors(fleet.url) as visitors:
        fleet.container("restart", "web1")
        wait_for(lambda: fleet.serving() == dict.fromkeys(fleet.web_hosts(), tags.first))
    assert visitors.failed == {}


def test_a_container_that_dies_is_started_again(fleet: Fleet, tags: Tags) -> None:
    fleet.host("web1", "docker kill $(docker ps -q --filter label=tagboat.service=web | head -1)")
    wait_for(lambda: fleet.serving() == dict.fromkeys(fleet.web_hosts(), tags.first))


def test_bad_on_the_second_host_only_the_fleet_ends_on_the_old_tag(fleet: Fleet, tags: Tags) -> None:
    with Visitors(fleet.url) as visitors:
        run = fleet.play("deploy", service="web", tag=tags.bad_on_web2)
    assert not run.ok
    assert "Switched hosts that went back: web1." in run.output
    assert_serving(fleet, tags.first)
    assert visitors.failed == {}


def test_two_deploys_at_once_one_wins_everywhere(fleet: Fleet, tags: Tags) -> None:
    runs = at_once(
        lambda: fleet.play("deploy", service="web", tag=tags.second, force=True),
        lambda: fleet.play("deploy", service="web", tag=tags.second, force=True),
    )
    assert sorted(run.ok for run in runs) == [False, True], [run.tail for run in runs]
    loser = next(run for run in runs if not run.ok)
    assert "holds the lease for web" in loser.output
    assert_serving(fleet, tags.second)


def test_two_builds_at_once_get_two_tags(fleet: Fleet, source: Source) -> None:
    runs = at_once(
        lambda: fleet.play("build", image="web", image_source_dir=str(source.folder)),
        lambda: fleet.play("build", image="web", image_source_dir=str(source.folder)),
    )
    assert all(run.ok for run in runs), [run.tail for run in runs]
    assert len({tags_built(run)[-1] for run in runs}) == 2


def at_once(*jobs: Callable[[], Run]) -> list[Run]:
    """Do several runs side by side."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result() for future in [pool.submit(job) for job in jobs]]


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until a condition holds; a look that fails counts as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
            if condition():
                return
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.5)
