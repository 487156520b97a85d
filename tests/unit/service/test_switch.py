"""One host is taken from one release to another: what changes, what is said, and what is left alone."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from ansible.module_utils.tagboat import edge
from ansible.module_utils.tagboat.host import CommandError, CommandTimeoutError
from ansible.module_utils.tagboat.record import PATH
from ansible.module_utils.tagboat.rollout import Rollout, RolloutError
from ansible.module_utils.tagboat.steps import take
from fake_host import NEVER, FakeHost, Image
from host_story import (
    HTTP,
    SECRETS,
    SINGLETON,
    WORKER,
    assert_settled,
    at_boot,
    deploy,
    prepared,
    record,
    release,
    results,
    rollout,
    undo,
)

each_init = pytest.mark.parametrize("init", ["systemd", "upstart"])
CHANGES = ("write", "link", "remove", "engine DELETE", "run systemctl", "run systemd-run", "run docker pull")


def changes(host: FakeHost) -> list[str]:
    """The effects that changed something, apart from the lease."""
    return [effect for effect in host.effects if effect.startswith(CHANGES) and ".lease" not in effect]


def full_disk(*_arguments: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def serving(*tags: str) -> FakeHost:
    """A host on which these were deployed, one after the other."""
    host = prepared()
    for tag in tags:
        deploy(host, f"deploy-{tag}", release(tag, HTTP))
    host.effects.clear()
    return host


# Good releases


@each_init
def test_the_first_release_serves_from_slot_a(init: str) -> None:
    host = prepared(init)
    assert deploy(host, "one", release("v1", HTTP))
    assert host.edge_points_to("web") == {"web-a"}
    assert (record(host).live_slot, results(host), at_boot(host)) == ("a", [("v1", "live")], {"a"})
    assert host.marked_up == ["web-a/a"]


def test_the_second_release_serves_from_the_other_slot_with_the_first_as_standby() -> None:
    host = serving("v1", "v2")
    assert host.edge_points_to("web") == {"web-b"}
    assert results(host) == [("v2", "live"), ("v1", "standby")]
    assert host.running("web-a")
    host.pass_time(599)
    assert host.running("web-a")
    host.pass_time(2)
    assert not host.running("web-a"), "the standby is stopped after standby_seconds"
    assert host.running("web-b")


def test_a_standby_costs_nothing_where_it_is_not_wanted() -> None:
    host = prepared()
    deploy(host, "one", release("v1", HTTP, standby_seconds=0))
    deploy(host, "two", release("v2", HTTP, standby_seconds=0))
    assert not host.running("web-a") or not host.timers


def test_a_third_release_takes_the_standbys_slot() -> None:
    host = serving("v1", "v2", "v3")
    assert results(host) == [("v3", "live"), ("v2", "standby"), ("v1", "replaced")]
    assert host.edge_points_to("web") == {"web-a"}
    assert_settled(host, "v3")


def test_the_same_again_changes_nothing() -> None:
    host = serving("v1")
    assert deploy(host, "again", release("v1", HTTP)) is False
    assert [effect for effect in changes(host) if effect.startswith("run")] == []
    assert results(host) == [("v1", "live")]
    assert record(host).live is not None
    assert record(host).releases[0]["rollout"] == "deploy-v1"


def test_forced_the_same_is_started_again() -> None:
    host = serving("v1")
    assert deploy(host, "again", release("v1", HTTP), force=True)
    assert host.edge_points_to("web") == {"web-b"}
    assert results(host) == [("v1", "live"), ("v1", "standby")]


def test_the_same_tag_with_another_configuration_is_another_release() -> None:
    host = serving("v1")
    assert deploy(host, "new", release("v1", HTTP, memory_mb=512, env={"LOG_FORMAT": "json"}))
    container = host.containers["web-b"]
    assert "--memory=512m" in container.arguments
    assert container.env["LOG_FORMAT"] == "json"
    assert results(host) == [("v1", "live"), ("v1", "standby")]


def test_requests_in_flight_end_on_the_old_release_within_drain_seconds() -> None:
    host = serving("v1")
    host.busy_until["web-a"] = host.time + 5
    step = rollout(host, "two")
    step.switch(release("v2", HTTP, drain_seconds=30), SECRETS)
    assert 3 < step.timings["drain"] < 6


def test_a_request_that_never_ends_holds_nobody_up_for_longer_than_drain_seconds() -> None:
    host = prepared()
    deploy(host, "one", release("v1", HTTP, drain_seconds=7))
    host.busy_until["web-a"] = NEVER
    step = rollout(host, "two")
    step.switch(release("v2", HTTP), SECRETS)
    assert 7 <= step.timings["drain"] < 8


def test_a_slow_release_has_until_its_deadline() -> None:
    host = prepared(v1=Image(healthy_after=29))
    assert deploy(host, "slow", release("v1", HTTP))


def test_maintenance_is_ended_by_a_person_not_by_a_rollout() -> None:
    host = serving("v1")
    host.map["web"] = "web-maintenance"
    host.files[edge.MAP] = "web web-maintenance\n"
    rollout(host, "two").settle(http=True)
    assert host.edge_points_to("web") == {"web-maintenance"}


def test_two_services_rolled_out_on_one_host_at_once_keep_both_records() -> None:
    host = FakeHost(services=("web", "admin"))
    for tag in ("v1", "v2"):
        host.registry[f"r1:5000/web@sha256:{tag}"] = Image()
    # It looked before the other one changed anything.
    early = Rollout(host, "admin", {"id": "admin-one", "by": "bob", "what": "deploy admin"}, "production", "web1")
    deploy(host, "one", release("v1", HTTP))
    early.switch(release("v2", HTTP, public_port=81), SECRETS)
    assert results(host) == [("v1", "live")]
    assert host.edge_points_to("web") == {"web-a"}
    assert host.edge_points_to("admin") == {"admin-a"}
    assert rollout(host, "look").status()["live"]["tag"] == "v1"


# Bad releases


def test_an_unhealthy_release_leaves_the_old_one_alone_and_says_what_it_answered() -> None:
    host = serving("v1")
    host.registry["r1:5000/web@sha256:v2"] = Image(healthy_after=NEVER, says="starting\nno route to data1")
    with pytest.raises(RolloutError) as refused:
        deploy(host, "two", release("v2", HTTP))
    assert str(refused.value) == (
        "v2 was refused: not healthy within 30 s, last: 503 no database; web1 still serves v1"
    )
    assert refused.value.log == "starting\nno route to data1"
    assert results(host) == [("v2", "failed"), ("v1", "live")]
    assert record(host).releases[0]["reason"] == "not healthy within 30 s, last: 503 no database"
    assert host.edge_points_to("web") == {"web-a"}
    assert not host.running("web-b")


def test_the_farewell_of_a_refused_release_is_not_waited_for() -> None:
    host = serving("v1")
    host.lingers = 8
    host.registry["r1:5000/web@sha256:v2"] = Image(healthy_after=NEVER)
    with pytest.raises(RolloutError, match="not healthy"):
        deploy(host, "bad", release("v2", HTTP))
    assert host.running("web-b")
    host.pass_time(8)
    assert not host.running("web-b")


def test_a_refused_worker_has_ended_before_the_next_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    host = prepared()
    deploy(host, "one", release("v1", WORKER))
    host.lingers = 8
    again = rollout(host, "bad")
    again.preflight(release("v2", WORKER), first=True, min_free_mb=0)
    monkeypatch.setattr(again.init, "enable", full_disk)
    with pytest.raises(RolloutError, match="No space left"):
        again.switch(release("v2", WORKER), SECRETS)
    assert not host.running("web-b")
    assert host.running("web-a")


@each_init
def test_a_slot_whose_stop_has_only_begun_is_used_again_and_stays(init: str) -> None:
    host = prepared(init)
    host.lingers = 8
    deploy(host, "one", release("v1", HTTP))
    deploy(host, "two", release("v2", HTTP))
    deploy(host, "back", release("v1", HTTP), left="rolled_back", reason="worse")
    assert host.edge_points_to("web") == {"web-a"}
    deploy(host, "again", release("v2", HTTP), force=True)  # into the slot that was just left
    host.pass_time(60)
    assert host.edge_points_to("web") == {"web-b"}
    assert host.healthy("web-b")


@each_init
def test_a_rollback_right_after_a_deploy_lasts(init: str) -> None:
    host = prepared(init)
    host.lingers = 8
    deploy(host, "one", release("v1", HTTP))
    deploy(host, "two", release("v2", HTTP))
    undo(host, "two")
    host.pass_time(60)
    assert host.edge_points_to("web") == {"web-a"}
    assert host.healthy("web-a")


@each_init
def test_a_singleton_whose_stop_hangs_is_started_again_behind(init: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host = prepared(init)
    deploy(host, "one", release("v1", SINGLETON))
    again = rollout(host, "two")
    again.preflight(release("v2", SINGLETON), first=True, min_free_mb=0)
    stop = again.init.stop

    def hangs(service: str, slot: str, timeout_seconds: float) -> None:
        monkeypatch.setattr(again.init, "stop", stop)
        raise CommandTimeoutError(f"the stop of {service} in {slot} took longer than {timeout_seconds:.0f} s")

    monkeypatch.setattr(again.init, "stop", hangs)
    with pytest.raises(RolloutError, match="the stop of web in a took longer than 130 s") as refused:
        again.switch(release("v2", SINGLETON), SECRETS)
    assert not refused.value.blames
    begun = {"systemd": "systemctl start --no-block web@a.service", "upstart": "initctl start --no-wait web SLOT=a"}
    assert f"run {begun[init]}" in host.effects
    assert not host.running("web-b")


def test_a_port_that_something_else_holds_blames_no_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    host = serving("v1")
    again = rollout(host, "two")
    again.preflight(release("v2", HTTP), first=True, min_free_mb=0)

    def port_taken(service: str, slot: str) -> None:
        host.last_words = ["docker: Error: listen tcp4 127.0.0.1:20080: bind: address already in use."]
        raise CommandError(f"systemctl restart {service}@{slot} failed with 1")

    monkeypatch.setattr(again.init, "start", port_taken)
    with pytest.raises(RolloutError, match="address already in use") as refused:
        again.switch(release("v2", HTTP), SECRETS)
    assert not refused.value.blames


def test_a_release_that_exits_is_refused_at_once_with_its_exit_code() -> None:
    host = serving("v1")
    host.registry["r1:5000/web@sha256:v2"] = Image(exits_after=0.1, exit_code=3)
    begin = host.time
    with pytest.raises(RolloutError, match="v2 was refused: the container exited with 3; web1 still serves v1"):
        deploy(host, "two", release("v2", HTTP))
    assert host.time - begin < 2


def test_running_out_of_memory_is_said() -> None:
    host = serving("v1")
    host.registry["r1:5000/web@sha256:v2"] = Image(exits_after=0.1, exit_code=137)
    with pytest.raises(RolloutError, match="exited with 137, out of memory;"):
        deploy(host, "two", release("v2", HTTP))


def test_a_first_release_that_fails_leaves_no_release() -> None:
    host = prepared(v1=Image(healthy_after=NEVER))
    with pytest.raises(RolloutError, match="; web1 serves no release"):
        deploy(host, "one", release("v1", HTTP))
    assert host.edge_points_to("web") == {"web-none"}
    assert_settled_without_lease(host)


def assert_settled_without_lease(host: FakeHost) -> None:
    host.files.pop("/run/tagboat/web.lease", None)
    assert_settled(host, None)


def test_an_image_that_cannot_be_had_touches_nothing() -> None:
    host = serving("v1")
    host.effects.clear()
    with pytest.raises(RolloutError, match=r"v9 could not be pulled: .*manifest unknown; web1 still serves v1"):
        rollout(host, "nine").switch(release("v9", HTTP), SECRETS)
    assert results(host) == [("v1", "live")], "no fault of the tag"


def test_an_edge_that_refuses_keeps_the_old_release_and_blames_no_tag() -> None:
    host = serving("v1")
    host.edge_refuses = "map is locked"
    with pytest.raises(RolloutError, match="the edge refused to switch: map is locked; web1 still serves v1"):
        deploy(host, "two", release("v2", HTTP))
    assert results(host)[-1] == ("v1", "live")
    assert ("v2", "failed") not in results(host)
    assert host.edge_points_to("web") == {"web-a"}
    assert not host.running("web-b")


@pytest.mark.parametrize("wanted", [release("v2", HTTP), None])
def test_a_host_without_a_running_edge_refuses_before_any_host_changes(wanted: dict[str, Any] | None) -> None:
    host = serving("v1")
    host.edge_answers = False
    with pytest.raises(RolloutError, match="the edge does not answer; web1 still serves v1"):
        rollout(host, "two").preflight(wanted, first=True, min_free_mb=0)
    assert rollout(host, "two").status()["health"] == "the edge does not answer"


@each_init
def test_a_container_that_cannot_be_started_is_told_in_the_engines_words(init: str) -> None:
    host = prepared(init)
    deploy(host, "one", release("v1", HTTP))
    again = rollout(host, "two")
    again.preflight(release("v2", HTTP), first=True, min_free_mb=0)
    original = again.init.start

    def with_the_image_gone(service: str, slot: str) -> None:
        host.images.pop("r1:5000/web@sha256:v2", None)
        original(service, slot)

    again.init.start = with_the_image_gone  # type: ignore[method-assign]
    with pytest.raises(RolloutError, match="v2 was refused: docker: Error response from daemon: No such image: r1"):
        again.switch(release("v2", HTTP), SECRETS)
    assert host.edge_points_to("web") == {"web-a"}


@pytest.mark.parametrize("damaged", ["{ broken", "[]", '{"services": {"web": null}}', '{"services": {"web": {}}}'])
def test_a_record_that_cannot_be_read_is_said_and_nothing_is_touched(damaged: str) -> None:
    host = serving("v1")
    host.files[PATH] = damaged
    told = take({"step": "preflight", "service": "web", "host_name": "web1", "release": release("v2", HTTP)}, host=host)
    assert told["failed"]
    assert "its release record /etc/ansible/facts.d/tagboat.fact cannot be read" in told["msg"]
    assert "Next: " in told["msg"]
    assert host.files[PATH] == damaged
    assert changes(host) == []


def test_a_host_without_a_running_edge_is_told_so_before_anything_starts() -> None:
    host = serving("v1")
    host.edge_answers = False
    with pytest.raises((RolloutError, OSError), match="the edge does not answer"):
        rollout(host, "two").switch(release("v2", HTTP), SECRETS)
    assert "web-b" not in host.containers


# Workers


def test_a_new_worker_works_before_the_old_one_is_stopped() -> None:
    host = prepared()
    deploy(host, "one", release("v1", WORKER))
    together = []
    host.watch = lambda host: together.append(bool(host.running("web-a") and host.running("web-b")))
    deploy(host, "two", release("v2", WORKER))
    host.watch = None
    assert any(together)
    assert not host.running("web-a")
    assert results(host) == [("v2", "live"), ("v1", "standby")]


def test_a_worker_counts_as_healthy_only_when_it_ran_for_ready_seconds() -> None:
    host = prepared()
    deploy(host, "one", release("v1", WORKER))
    host.registry["r1:5000/web@sha256:v2"] = Image(exits_after=2.5, exit_code=1)
    with pytest.raises(RolloutError, match="the container exited with 1"):
        deploy(host, "two", release("v2", WORKER))
    assert host.running("web-a")


def test_a_singleton_never_runs_twice() -> None:
    host = prepared()
    deploy(host, "one", release("v1", SINGLETON))

    def alone(host: FakeHost) -> None:
        assert not (host.running("web-a") and host.running("web-b"))

    host.watch = alone
    deploy(host, "two", release("v2", SINGLETON))
    assert host.running("web-b")


@each_init
def test_a_singleton_that_fails_gives_its_place_back(init: str) -> None:
    host = prepared(init, v2=Image(exits_after=1, exit_code=1))
    deploy(host, "one", release("v1", SINGLETON))
    with pytest.raises(RolloutError, match="; web1 still serves v1"):
        deploy(host, "two", release("v2", SINGLETON))
    assert host.running("web-a")
    assert not host.running("web-b")


# Interrupted before


def test_a_live_release_that_was_stopped_is_started_by_deploying_it_again() -> None:
    host = serving("v1")
    host.containers["web-a"].stopped = True
    assert deploy(host, "again", release("v1", HTTP)) is True
    assert_settled(host, "v1")


def test_an_engine_that_restarts_during_a_start_is_no_fault_of_the_release(monkeypatch: pytest.MonkeyPatch) -> None:
    host = prepared(v2=Image(healthy_after=5))
    deploy(host, "one", release("v1", HTTP))
    ask, once = host.engine, iter([True])

    def engine(method: str, path: str, timeout_seconds: float = 120) -> dict[str, Any] | None:
        if method == "GET" and host.running("web-b") and next(once, False):
            raise OSError("no Docker engine answers (connection reset)")
        return ask(method, path, timeout_seconds)

    monkeypatch.setattr(host, "engine", engine)
    with pytest.raises(RolloutError, match="no Docker engine answers") as refused:
        deploy(host, "two", release("v2", HTTP))
    assert not refused.value.blames
    assert results(host) == [("v1", "live")]
    assert host.healthy("web-a")


def test_a_start_that_hangs_is_no_fault_of_the_release(monkeypatch: pytest.MonkeyPatch) -> None:
    host = serving("v1")
    original = host.run

    def hangs(argv: list[str], timeout_seconds: float = 120, check: bool = True) -> str:
        if argv[:2] == ["systemctl", "restart"]:
            raise CommandTimeoutError("systemctl restart took longer than 120 s")
        return original(argv, timeout_seconds, check)

    monkeypatch.setattr(host, "run", hangs)
    with pytest.raises(RolloutError, match="took longer than 120 s; web1 still serves v1") as refused:
        deploy(host, "two", release("v2", HTTP))
    assert not refused.value.blames
    assert results(host) == [("v1", "live")], "v2 is not marked"


def test_the_engine_is_not_asked_at_every_look_at_the_page() -> None:
    """On a host whose processors are busy with a start, the questions would be what it waits for."""
    host = prepared(v2=Image(healthy_after=5))
    deploy(host, "one", release("v1", HTTP))
    host.effects.clear()
    deploy(host, "two", release("v2", HTTP, health={"interval_seconds": 0.05}))
    looks = len([effect for effect in host.effects if effect.endswith("/healthz")])
    assert looks > 50
    assert len([effect for effect in host.effects if effect == "engine GET /containers/web-b/json"]) < 20


def test_a_live_release_is_left_alone_when_the_engine_does_not_say_that_it_stopped() -> None:
    host = serving("v1")
    container = host.containers["web-a"]
    host.engine_answers = False
    with pytest.raises((RolloutError, OSError)):
        rollout(host, "two").switch(release("v2", HTTP), SECRETS)
    host.engine_answers = True
    assert host.containers["web-a"] is container
    assert host.running("web-a")


def test_an_edge_that_disagrees_with_the_record_is_put_right() -> None:
    host = serving("v1", "v2")
    host.map["web"] = "web-a"
    told = rollout(host, "look").status()["health"]
    assert told == "healthy, but the edge sends requests elsewhere: make deploy of v2 mends it"
    deploy(host, "again", release("v2", HTTP))
    assert host.edge_points_to("web") == {"web-b"}
    assert rollout(host, "look").status()["health"] == "healthy"


def test_a_map_file_that_disagrees_with_the_edge_is_put_right() -> None:
    host = serving("v1", "v2")
    host.files[edge.MAP] = "web web-a\n"
    deploy(host, "again", release("v2", HTTP))
    assert host.edge_points_to("web") == {"web-b"}
