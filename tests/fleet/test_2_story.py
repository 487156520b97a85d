"""The main job, in order: build, ship, break, roll back."""

from __future__ import annotations

from faults import wait_for
from fleet import Fleet
from load import Visitors
from story import Tags, assert_serving, measured


def test_before_anything_is_built_a_deploy_says_what_to_do(fleet: Fleet) -> None:
    run = fleet.deploy("v1")
    assert not run.ok
    assert "make build IMAGE=web" in run.output


def test_first_deploy(fleet: Fleet, tags: Tags) -> None:
    run = fleet.deploy(tags.first)
    assert run.ok, run.tail
    assert_serving(fleet, tags.first)
    measured("deploy, first ever", run)


def test_hosts_know_the_visitor_behind_the_balancer(fleet: Fleet, tags: Tags) -> None:
    assert_serving(fleet, tags.first)
    visitor = fleet.host("data1", "hostname --all-ip-addresses").split()[0]
    ask = "import http.client as h; c = h.HTTPConnection('lb1'); c.request('GET', '/from-data1'); c.getresponse()"
    fleet.host("data1", f'python3 -c "{ask}"')
    seen = "journalctl --unit=haproxy --since=-5min --output=cat --grep=/from-data1"
    wait_for(lambda: any(visitor in fleet.host(host, f"{seen} || true") for host in ("web1", "web2")))


def test_same_tag_again_changes_nothing_and_says_so(fleet: Fleet, tags: Tags) -> None:
    run = fleet.deploy(tags.first)
    assert run.ok, run.tail
    assert "Nothing to do" in run.output
    assert set(run.changed.values()) == {0}


def test_dry_run_shows_the_deploy_and_changes_nothing(fleet: Fleet, tags: Tags) -> None:
    run = fleet.deploy(tags.second, "--check", "--diff")
    assert run.ok, run.tail
    assert f"+TAG={tags.second}" in run.output
    assert f"-TAG={tags.first}" in run.output
    assert "Dry run, nothing was changed" in run.output
    assert_serving(fleet, tags.first)


def test_nobody_notices_a_deploy(fleet: Fleet, tags: Tags) -> None:
    with Visitors(fleet.url) as visitors:
        run = fleet.deploy(tags.second, watch="foreground", environment_rollout={"watch_seconds": 3})
    assert run.ok, run.tail
    assert_serving(fleet, tags.second)
    assert "What would you like to learn today?" in fleet.get("/")[1]
    assert visitors.failed == {}
    assert visitors.answers["200"] > 100
    assert "watching for 3 s" in run.output
    measured("deploy of a built tag, under load, watched for 3 s", run)


def test_hosts_refuse_a_release_that_is_never_healthy(fleet: Fleet, tags: Tags) -> None:
    with Visitors(fleet.url) as visitors:
        run = fleet.deploy(tags.never_healthy)
    assert not run.ok
    assert "search index: no answer" in run.output  # the health answer
    assert f"Serving now: {tags.second} on web1, web2." in run.output
    assert "Next: " in run.output
    assert_serving(fleet, tags.second)
    assert visitors.failed == {}
    measured("deploy of a release that is never healthy", run)


def test_a_bad_tag_is_not_deployed_again(fleet: Fleet, tags: Tags) -> None:
    run = fleet.deploy(tags.never_healthy)
    assert not run.ok
    assert "is marked bad" in run.output
    assert "FORCE=1" in run.output


def test_roll_back(fleet: Fleet, tags: Tags) -> None:
    with Visitors(fleet.url) as visitors:
        run = fleet.play("rollback", service="web", tag=tags.first)
    assert run.ok, run.tail
    assert_serving(fleet, tags.first)
    assert visitors.failed == {}
    measured("rollback", run)


def test_status_shows_what_runs_and_the_history(fleet: Fleet, tags: Tags) -> None:
    run = fleet.play("status")
    assert run.ok, run.tail
    for words in (
        *((host, tags.first, "healthy") for host in fleet.web_hosts()),
        (tags.never_healthy, "failed"),
        (tags.second, "rolled_back"),
    ):
        assert any(all(word in line.split() for word in words) for line in run.output.splitlines()), words
    measured("status", run)


def test_site_leaves_the_release_alone(fleet: Fleet, tags: Tags) -> None:
    run = fleet.play("site")
    assert run.ok, run.tail
    assert set(run.changed.values()) == {0}, run.tail
    assert_serving(fleet, tags.first)
