"""A service that was taken out of the data: it is seen as long as it is there, and it can be taken off."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.tagboat.lease import LeaseHeldError
from ansible.module_utils.tagboat.record import PATH
from ansible.module_utils.tagboat.steps import statuses, take
from fake_host import FakeHost, KilledError
from host_story import HTTP, WORKER, deploy, prepared, release, rollout

INITS = pytest.mark.parametrize("init", ["systemd", "upstart"])


def remove(host: FakeHost) -> None:
    rollout(host, "r9").remove()
    rollout(host, "r9").finish()


def traces(host: FakeHost) -> list[str]:
    """Whatever a person would find of the service."""
    files = [path for path in host.files if "web" in path and not path.startswith("/run/")]
    known = [name for name in json.loads(host.files.get(PATH, '{"services": {}}'))["services"] if name == "web"]
    return [*files, *host.links, *host.containers, *host.images, *host.map, *host.timers, *known]


@INITS
def test_nothing_is_left(init: str) -> None:
    host = prepared(init)
    deploy(host, "r1", release("v1", HTTP))
    deploy(host, "r2", release("v2", HTTP))
    remove(host)
    assert traces(host) == []
    assert host.folders("/etc/tagboat") == []
    assert host.edge_points_to_nothing("web")


def test_a_worker_too() -> None:
    host = prepared()
    deploy(host, "r1", release("v1", WORKER))
    remove(host)
    assert list(host.containers) == []


def test_killed_anywhere_it_is_still_seen_and_can_be_repeated() -> None:
    host = prepared()
    deploy(host, "r1", release("v1", HTTP))
    begun = len(host.effects)
    whole = host.copy()
    remove(whole)
    for at in range(begun + 1, len(whole.effects) + 1):
        broken = host.copy()
        broken.effects = list(host.effects)
        broken.kill_at = at
        with pytest.raises(KilledError):
            remove(broken)
        broken.dead, broken.kill_at = False, None
        broken.locks.clear()
        broken.pass_time(61)
        if traces(broken):
            assert statuses(broken, "web1", [], [])["orphans"] == ["web"]
        remove(broken)
        assert traces(broken) == []


def test_not_under_a_rollout() -> None:
    host = prepared()
    deploy(host, "r1", release("v1", HTTP))
    rollout(host, "r2").preflight(release("v2", HTTP), first=True, min_free_mb=0)
    with pytest.raises(LeaseHeldError):
        remove(host)
    assert host.healthy("web-a")


def test_a_dry_run_removes_nothing() -> None:
    host = prepared()
    deploy(host, "r1", release("v1", HTTP))
    before = host.fingerprint()
    result = take({"step": "remove", "service": "web", "host_name": "web1", "rollout": {"id": "r"}}, True, host)
    assert result["changed"]
    assert host.fingerprint() == before


def test_what_is_here_and_does_not_belong_is_an_orphan() -> None:
    host = prepared()
    deploy(host, "r1", release("v1", HTTP))
    told = statuses(host, "web1", ["api"], [])
    assert told["orphans"] == ["web"]
    assert told["statuses"]["web"]["live"]["tag"] == "v1"
    assert told["statuses"]["api"]["live"] is None
    assert statuses(host, "web1", ["web"], [])["orphans"] == []
    assert statuses(host, "web1", ["web", "api"], ["api"])["statuses"].keys() == {"api"}
