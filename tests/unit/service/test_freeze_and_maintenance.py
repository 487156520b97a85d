"""What people take from rollouts for a while: deploys by a freeze, visitors by maintenance."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils.tagboat import edge
from ansible.module_utils.tagboat.freeze import PATH, Freeze
from ansible.module_utils.tagboat.lease import Lease, LeaseHeldError
from ansible.module_utils.tagboat.rollout import Rollout, RolloutError
from fake_host import FakeHost, Image
from host_story import HTTP, SECRETS, deploy, prepared, record, release, rollout

V1, V2 = release("v1", HTTP), release("v2", HTTP)
MAINTENANCE = {"web-maintenance"}


class Noon(FakeHost):
    """A host with a clock on the wall."""

    hour = 12

    def now(self) -> str:
        return f"2026-01-01T{self.hour:02}:00:00Z"


def frozen(hours: float = 4) -> Noon:
    host = Noon()
    host.registry = prepared().registry
    Freeze(host).begin("release week", "bob", hours)
    return host


def forced(host: FakeHost, why: str) -> Rollout:
    return Rollout(host, "web", {"id": "r9", "by": "ann", "what": "deploy web v1", "forced": why}, "production", "web1")


class TestFreeze:
    def test_it_refuses_deploys_with_owner_reason_end_and_the_next_command(self) -> None:
        with pytest.raises(RolloutError) as refused:
            rollout(frozen(), "r1").preflight(V1, first=True, min_free_mb=0)
        for word in ("bob", "release week", "2026-01-01T16:00:00Z", "make thaw", "REASON="):
            assert word in str(refused.value)

    def test_it_takes_no_lease_from_the_next_one(self) -> None:
        host = frozen()
        with pytest.raises(RolloutError):
            rollout(host, "r1").preflight(V1, first=True, min_free_mb=0)
        assert Lease(host, "web", {"id": "r2"}).holder() is None

    def test_it_lets_rollbacks_pass(self) -> None:
        rollout(frozen(), "r1").preflight(None, first=True, min_free_mb=0)

    def test_a_reason_overrides_it_and_is_kept_in_the_record(self) -> None:
        host = frozen()
        forced(host, "customers are hurt").preflight(V1, first=True, min_free_mb=0)
        forced(host, "customers are hurt").switch(V1, SECRETS)
        live = record(host).live
        assert live is not None
        assert live["forced"] == "customers are hurt"

    def test_without_a_reason_force_overrides_nothing(self) -> None:
        with pytest.raises(RolloutError, match="frozen"):
            forced(frozen(), "").preflight(V1, first=True, min_free_mb=0)

    def test_it_ends_by_itself_and_is_removed_at_the_next_chance(self) -> None:
        host = frozen(hours=0.5)
        host.hour = 13
        assert Freeze(host).now() is None
        rollout(host, "r1").preflight(V1, first=True, min_free_mb=0)
        assert PATH not in host.files

    def test_the_host_s_own_clock_times_it_from_beginning_to_end(self) -> None:
        host = frozen(hours=1)
        assert json.loads(host.files[PATH])["since"] == "2026-01-01T12:00:00Z"
        assert json.loads(host.files[PATH])["until"] == "2026-01-01T13:00:00Z"

    def test_thawing_says_whether_anything_was_frozen(self) -> None:
        host = frozen()
        assert Freeze(host).end()
        assert not Freeze(host).end()


class TestMaintenance:
    def test_visitors_get_the_page_now_and_after_a_restart_of_the_edge(self) -> None:
        host = prepared()
        deploy(host, "r1", V1)
        assert rollout(host, "").maintain(on=True)
        assert host.edge_points_to("web") == MAINTENANCE
        assert not rollout(host, "").maintain(on=True)

    def test_a_deploy_goes_on_behind_it_and_the_end_of_it_shows_the_new_release(self) -> None:
        host = prepared()
        deploy(host, "r1", V1)
        rollout(host, "").maintain(on=True)
        assert deploy(host, "r2", V2)
        assert host.edge_points_to("web") == MAINTENANCE
        assert host.healthy("web-b")
        assert rollout(host, "").maintain(on=False)
        assert host.edge_points_to("web") == {"web-b"}

    def test_a_release_that_is_refused_behind_it_is_not_shown(self) -> None:
        host = prepared(v2=Image(exits_after=0.1, exit_code=3))
        deploy(host, "r1", V1)
        rollout(host, "").maintain(on=True)
        with pytest.raises(RolloutError):
            deploy(host, "r2", V2)
        assert host.edge_points_to("web") == MAINTENANCE
        rollout(host, "").maintain(on=False)
        assert host.edge_points_to("web") == {"web-a"}

    def test_it_can_begin_in_the_middle_of_a_rollout(self) -> None:
        host = prepared()
        deploy(host, "r1", V1)

        def begin(now: FakeHost) -> None:
            if now.healthy("web-b") and "web-maintenance" not in now.map.values():
                now.watch = None
                rollout(now, "").maintain(on=True)

        host.watch = begin
        deploy(host, "r2", V2)
        assert host.edge_points_to("web") == MAINTENANCE
        live = record(host).live
        assert live is not None
        assert live["tag"] == "v2"

    def test_an_entry_that_was_half_written_is_mended_by_the_next_rollout(self) -> None:
        host = prepared()
        deploy(host, "r1", V1)
        host.map["web"] = "web-maintenance"  # killed between the edge and its file
        deploy(host, "r2", V2)
        assert edge.lines(host.files[edge.MAP]) == {"web": "web-maintenance"}

    def test_without_a_release_the_end_of_it_says_so_to_visitors(self) -> None:
        host = prepared()
        rollout(host, "").maintain(on=True)
        rollout(host, "").maintain(on=False)
        assert host.edge_points_to("web") == {"web-none"}

    def test_an_edge_that_does_not_run_is_told_not_taken_for_done(self) -> None:
        host = prepared()
        host.edge_answers = False
        with pytest.raises(OSError, match="does not answer"):
            rollout(host, "").maintain(on=False)

    def test_status_shows_both(self) -> None:
        host = frozen()
        host.map["web"] = "web-maintenance"
        status = rollout(host, "").status()
        assert (status["maintenance"], status["freeze"]["by"]) == (True, "bob")


def holder(host: FakeHost, **more: Any) -> Lease:
    return Lease(host, "web", {"id": "prune", "by": "cron", "what": "prune", **more})


class TestBriefLeases:
    def test_a_rollout_waits_for_one(self) -> None:
        host = prepared()
        brief = holder(host, brief=True)
        brief.take(first=True)

        def let_go(now: FakeHost) -> None:
            if now.time > 1002:
                now.watch = None
                brief.release()

        host.watch = let_go
        rollout(host, "r1").preflight(V1, first=True, min_free_mb=0)
        assert rollout(host, "r1").lease.is_mine()

    def test_but_not_for_ever_and_not_for_another_rollout(self) -> None:
        for more, patience in (({"brief": True}, 9), ({}, 0)):
            host = prepared()
            holder(host, **more).take(first=True)
            begin = host.time
            with pytest.raises(LeaseHeldError, match="cron holds the lease"):
                rollout(host, "r1").preflight(V1, first=True, min_free_mb=0)
            assert patience <= host.time - begin <= patience + 2
