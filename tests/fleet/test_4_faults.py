"""Things that break around a release."""

from __future__ import annotations

import pytest
from faults import at_once, recovers, registry_down, tag_everywhere, wait_for
from fleet import Fleet, Source
from load import Visitors
from story import Tags, assert_serving, tags_built


@pytest.fixture(autouse=True)
def at_first(fleet: Fleet, tags: Tags) -> None:
    """Every test begins with the first tag live everywhere."""
    if tag_everywhere(fleet) != tags.first:
        recovers(fleet, tags.first)


def test_rollback_needs_no_registry(fleet: Fleet, tags: Tags) -> None:
    assert fleet.deploy(tags.second, force=True).ok
    with registry_down(fleet):
        run = fleet.play("rollback", service="web")
    assert run.ok, run.tail
    assert_serving(fleet, tags.first)


def test_deploy_without_registry_is_refused(fleet: Fleet, tags: Tags) -> None:
    with registry_down(fleet):
        run = fleet.deploy(tags.second)
    assert not run.ok
    assert "Nothing was changed, and a rollback needs no registry. Next: make status" in run.output
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
        run = fleet.deploy(tags.bad_on_web2)
    assert not run.ok
    assert "Switched hosts that went back: web1." in run.output
    assert_serving(fleet, tags.first)
    assert visitors.failed == {}


def test_two_builds_at_once_get_two_tags(fleet: Fleet, source: Source) -> None:
    runs = at_once(
        lambda: fleet.play("build", image="web", image_source_dir=str(source.folder)),
        lambda: fleet.play("build", image="web", image_source_dir=str(source.folder)),
    )
    assert all(run.ok for run in runs), [run.tail for run in runs]
    assert len({tags_built(run)[-1] for run in runs}) == 2
