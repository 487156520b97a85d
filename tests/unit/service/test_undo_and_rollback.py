"""The way back: by itself when another host refused, or because a person asked."""

from __future__ import annotations

import pytest
from ansible.module_utils.tagboat.lease import LeaseHeldError
from ansible.module_utils.tagboat.rollout import RolloutError
from fake_host import FakeHost, Image
from host_story import (
    HTTP,
    SECRETS,
    SINGLETON,
    assert_settled,
    deploy,
    prepared,
    record,
    release,
    results,
    rollout,
    undo,
)


def serving(*tags: str) -> FakeHost:
    host = prepared()
    for tag in tags:
        deploy(host, f"deploy-{tag}", release(tag, HTTP))
    host.effects.clear()
    return host


def started(host: FakeHost) -> list[str]:
    return [effect for effect in host.effects if effect.startswith("run systemctl restart")]


def back(host: FakeHost, name: str, tag: str, **how: object) -> bool:
    """What rollback.yml does: the host's own release of that tag."""
    own = next(entry for entry in record(host).releases if entry["tag"] == tag and entry["result"] != "failed")
    return deploy(host, name, own, left="rolled_back", reason="slow", **how)


def test_undo_goes_back_and_marks_the_tag_bad() -> None:
    host = serving("v1")
    rollout(host, "two").switch(release("v2", HTTP), SECRETS)
    host.effects.clear()
    assert undo(host, "two")
    assert results(host) == [("v1", "live"), ("v2", "rolled_back"), ("v1", "replaced")]
    assert record(host).releases[1]["reason"] == "web2 refused it"
    assert host.edge_points_to("web") == {"web-a"}
    assert started(host) == [], "the standby still ran"
    assert_settled(host, "v1")


def test_undo_changes_nothing_on_a_host_that_did_not_switch() -> None:
    host = serving("v1")
    rollout(host, "two").preflight(release("v2", HTTP), first=False, min_free_mb=0)
    assert undo(host, "two") is False
    assert results(host) == [("v1", "live")]
    assert "/run/tagboat/web.lease" not in host.files


def test_undo_changes_nothing_on_a_host_that_refused() -> None:
    host = serving("v1")
    host.registry["r1:5000/web@sha256:v2"] = Image(exits_after=0)
    with pytest.raises(RolloutError):
        rollout(host, "two").switch(release("v2", HTTP), SECRETS)
    assert undo(host, "two") is False
    assert results(host) == [("v2", "failed"), ("v1", "live")]


def test_undoing_twice_is_undoing_once() -> None:
    host = serving("v1")
    rollout(host, "two").switch(release("v2", HTTP), SECRETS)
    assert undo(host, "two")
    before = results(host)
    assert undo(host, "two") is False
    assert results(host) == before
    assert_settled(host, "v1")


def test_undo_waits_for_a_switch_that_a_broken_connection_left_at_work() -> None:
    """It must look at the record when that is done, not before: or the host ends on the new tag, alone."""
    host = serving("v1")
    rollout(host, "two").preflight(release("v2", HTTP), first=False, min_free_mb=0)
    late = rollout(host, "two")  # has looked at the record already
    alone: dict[str, bool] = {}

    def watch(host: FakeHost) -> None:
        alone[f"{len(host.effects)}"] = "/run/tagboat/web.lock" in host.locks

    host.effects.clear()
    host.watch = watch
    rollout(host, "two").switch(release("v2", HTTP), SECRETS)
    host.watch = None
    working = [str(number) for number, effect in enumerate(host.effects) if effect.startswith(("run", "haproxy"))]
    assert working
    assert all(alone[number] for number in working)
    assert late.undo(SECRETS, "lost")
    assert record(host).live_slot == "a"


def test_undo_of_the_first_release_ever_leaves_nothing_running() -> None:
    host = prepared()
    rollout(host, "one").switch(release("v1", HTTP), SECRETS)
    assert undo(host, "one")
    assert results(host) == [("v1", "rolled_back")]
    assert_settled(host, None)


def test_undo_of_a_rollback_goes_forward_again() -> None:
    host = serving("v1", "v2")
    back(host, "back", "v1")
    assert undo(host, "back")
    assert_settled(host, "v2")


def test_undo_of_a_forced_restart_keeps_the_release() -> None:
    host = serving("v1")
    deploy(host, "again", release("v1", HTTP), force=True)
    undo(host, "again")
    assert record(host).live is not None
    assert_settled(host, "v1")


def test_undo_of_a_singleton_starts_the_old_one_again() -> None:
    host = prepared()
    deploy(host, "one", release("v1", SINGLETON))
    deploy(host, "two", release("v2", SINGLETON))
    assert undo(host, "two")
    host.pass_time(1)
    assert_settled(host, "v1")


def test_undo_does_not_disturb_the_rollout_that_won_the_host() -> None:
    host = serving("v1")
    rollout(host, "winner").preflight(release("v2", HTTP), first=True, min_free_mb=0)
    host.effects.clear()
    assert undo(host, "loser") is False
    assert not [effect for effect in host.effects if effect.startswith(("lock", "write", "run docker", "engine"))]
    rollout(host, "winner").switch(release("v2", HTTP), SECRETS)


def test_undo_of_a_host_that_another_rollout_has_taken_over_is_refused() -> None:
    host = serving("v1")
    rollout(host, "two").switch(release("v2", HTTP), SECRETS)
    host.pass_time(61)
    rollout(host, "three").preflight(release("v3", HTTP), first=True, min_free_mb=0)
    with pytest.raises(LeaseHeldError):
        rollout(host, "two").undo(SECRETS, "web2 refused it")


def test_a_rollback_within_standby_seconds_starts_nothing() -> None:
    host = serving("v1", "v2")
    begin = host.time
    assert back(host, "back", "v1")
    assert started(host) == []
    assert host.time - begin < 1
    assert results(host) == [("v1", "live"), ("v2", "rolled_back"), ("v1", "replaced")]
    assert record(host).releases[1]["reason"] == "slow"
    assert not host.timers, "what was rolled back is no standby"
    assert not host.running("web-b")


def test_a_rollback_after_standby_seconds_starts_the_old_image_again() -> None:
    host = serving("v1", "v2")
    host.pass_time(601)
    host.registry.clear()
    assert back(host, "back", "v1")
    assert len(started(host)) == 1
    assert_settled(host, "v1")


def test_a_rollback_restores_the_configuration_with_current_secrets() -> None:
    host = prepared()
    deploy(host, "one", release("v1", HTTP, memory_mb=128, env={"MODE": "old"}), secrets={"DATABASE_URL": "before"})
    deploy(host, "two", release("v2", HTTP, memory_mb=512, env={"MODE": "new"}))
    assert back(host, "back", "v1")
    container = host.containers["web-a"]
    assert container.image.endswith("@sha256:v1")
    assert "--memory=128m" in container.arguments
    assert container.env["MODE"] == "old"
    assert container.env["DATABASE_URL"] == SECRETS["DATABASE_URL"]


def test_secrets_that_changed_meanwhile_restart_even_a_standby() -> None:
    host = serving("v1", "v2")
    assert back(host, "back", "v1", secrets={"DATABASE_URL": "rotated"})
    assert len(started(host)) == 1
    assert host.containers["web-a"].env["DATABASE_URL"] == "rotated"


def test_a_standby_whose_slot_a_failed_deploy_took_is_started_again() -> None:
    host = serving("v1", "v2")
    host.registry["r1:5000/web@sha256:v3"] = Image(exits_after=0)
    with pytest.raises(RolloutError):
        deploy(host, "three", release("v3", HTTP))
    host.pass_time(61)
    assert results(host) == [("v3", "failed"), ("v2", "live"), ("v1", "replaced")]
    assert back(host, "back", "v1")
    assert_settled(host, "v1")


def test_the_record_forgets_old_releases_but_never_a_live_one() -> None:
    host = serving("v1")
    host.registry["r1:5000/web@sha256:v2"] = Image(exits_after=0)
    for number in range(25):
        with pytest.raises(RolloutError):
            deploy(host, f"try-{number}", release("v2", HTTP))
        host.pass_time(61)
    assert len(results(host)) == 21
    assert results(host)[-1] == ("v1", "live")
