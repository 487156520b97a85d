"""Two rollouts at once: one wins on every host, the other is refused at once and told who holds the lease."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils.tagboat.lease import Lease, LeaseHeldError
from ansible.module_utils.tagboat.steps import take
from fake_host import FakeHost, Image
from host_story import HTTP, SECRETS, deploy, prepared, release, rollout


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


def lease(host: FakeHost, name: str) -> Lease:
    return Lease(host, "web", {"id": name, "by": name, "what": f"deploy web by {name}"})


def test_the_first_to_come_holds_it(host: FakeHost) -> None:
    lease(host, "ann").take(first=True)
    assert lease(host, "bob").holder() is not None
    assert lease(host, "ann").is_mine()
    assert not lease(host, "bob").is_mine()


def test_whoever_loses_the_first_host_gives_up_at_once(host: FakeHost) -> None:
    lease(host, "ann").take(first=True)
    begin = host.time
    with pytest.raises(LeaseHeldError, match="ann holds the lease for web since 0 s: deploy web by ann"):
        lease(host, "bob").take(first=True)
    assert host.time == begin


def test_whoever_won_the_first_host_waits_on_the_others_for_the_loser_to_let_go(host: FakeHost) -> None:
    loser = lease(host, "bob")
    loser.take(first=False)
    begin = host.time

    def let_go(host: FakeHost) -> None:
        if host.time > begin + 3 and not host.locks:
            host.watch = None
            loser.release()

    host.watch = let_go
    lease(host, "ann").take(first=False)
    assert 3 < host.time - begin < 4


def test_nobody_waits_for_ever(host: FakeHost) -> None:
    lease(host, "bob").take(first=False)
    begin = host.time
    with pytest.raises(LeaseHeldError):
        lease(host, "ann").take(first=False)
    assert 10 <= host.time - begin < 11


def test_a_change_under_way_is_not_waited_for(host: FakeHost) -> None:
    lease(host, "bob").confirm()
    begin = host.time
    with pytest.raises(LeaseHeldError):
        lease(host, "ann").take(first=False)
    assert host.time == begin


def test_it_expires_by_itself_within_60_seconds(host: FakeHost) -> None:
    lease(host, "ann").confirm()
    host.pass_time(59)
    assert lease(host, "bob").holder() is not None
    host.pass_time(1.1)
    assert lease(host, "bob").holder() is None
    lease(host, "bob").take(first=True)


def test_it_is_timed_by_uptime_so_that_no_clock_prolongs_it(host: FakeHost) -> None:
    lease(host, "ann").take(first=True)
    assert "now" not in host.effects
    assert json.loads(host.files["/run/tagboat/web.lease"])["until"] == host.time + 60


def test_a_reboot_ends_it(host: FakeHost) -> None:
    lease(host, "ann").confirm()
    host.reboot()
    assert lease(host, "bob").holder() is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"until": "tomorrow"}'])
def test_a_file_that_no_rollout_wrote_locks_nobody_out(host: FakeHost, text: str) -> None:
    host.write("/run/tagboat/web.lease", text)
    lease(host, "ann").take(first=True)
    assert lease(host, "ann").is_mine()


def test_an_expired_lease_that_nobody_took_goes_on(host: FakeHost) -> None:
    mine = lease(host, "ann")
    mine.take(first=True)
    host.pass_time(300)
    mine.confirm()
    assert mine.is_mine()


def test_an_expired_lease_that_another_took_is_lost(host: FakeHost) -> None:
    mine = lease(host, "ann")
    mine.take(first=True)
    host.pass_time(61)
    lease(host, "bob").take(first=True)
    with pytest.raises(LeaseHeldError, match="bob took the lease for web over: deploy web by bob"):
        mine.confirm()


def test_releasing_takes_nothing_from_another(host: FakeHost) -> None:
    lease(host, "ann").take(first=True)
    lease(host, "bob").release()
    assert lease(host, "ann").is_mine()
    lease(host, "ann").release()
    assert lease(host, "ann").holder() is None


def test_leases_of_other_services_do_not_matter(host: FakeHost) -> None:
    lease(host, "ann").confirm()
    Lease(host, "eval_worker", {"id": "bob", "by": "bob", "what": "x"}).take(first=True)


def test_looking_and_taking_is_one_step(host: FakeHost) -> None:
    """Between two rollouts that look at the same instant, the lock decides: it is held from the look to the writing."""
    held: dict[str, bool] = {}

    def watch(host: FakeHost) -> None:
        held[str(len(host.effects))] = "/run/tagboat/web.lease.lock" in host.locks

    host.watch = watch
    lease(host, "ann").take(first=True)
    looks = [number for number, effect in enumerate(host.effects) if effect.endswith("web.lease")]
    assert len(looks) == 2
    assert all(held[str(number)] for number in looks)


def until_of(host: FakeHost) -> Any:
    return json.loads(host.files["/run/tagboat/web.lease"])["until"]


def test_it_is_renewed_while_work_goes_on_and_expires_after(host: FakeHost) -> None:
    mine = lease(host, "ann")
    mine.confirm()
    with mine:
        host.pass_time(3000)
        assert mine.is_mine()
    host.pass_time(61)
    assert lease(host, "bob").holder() is None


def test_renewing_does_not_confirm(host: FakeHost) -> None:
    mine = lease(host, "ann")
    mine.take(first=False)
    with mine:
        host.pass_time(100)
    held = mine.holder()
    assert held is not None
    assert held["confirmed"] is False


def test_renewing_keeps_what_was_confirmed(host: FakeHost) -> None:
    mine = lease(host, "ann")
    mine.confirm()
    with mine:
        host.pass_time(100)
    held = mine.holder()
    assert held is not None
    assert held["confirmed"] is True


def test_a_lease_that_was_lost_is_not_renewed(host: FakeHost) -> None:
    mine = lease(host, "ann")
    mine.confirm()
    with mine:
        host.time += 61  # the whole machine slept
        lease(host, "bob").confirm()
        until = until_of(host)
        host.pass_time(50)
        assert until_of(host) == until
    assert lease(host, "bob").is_mine()


def test_it_is_not_renewed_for_a_control_node_that_is_gone(host: FakeHost) -> None:
    mine = lease(host, "ann")
    mine.confirm()
    with mine:
        host.waited_for = False
        host.pass_time(60)
        assert lease(host, "bob").holder() is None


def test_a_last_step_lets_the_lease_go_also_when_it_was_refused() -> None:
    host = prepared(v2=Image(exits_after=0.0))
    deploy(host, "r1", release("v1", HTTP))
    step = {"step": "switch", "service": "web", "host_name": "web1", "secrets": SECRETS, "last": True}
    wanted = {"rollout": {"id": "r2", "by": "ann", "what": "join"}, "release": release("v2", HTTP)}
    assert take(step | wanted, host=host)["failed"]
    assert rollout(host, "r3").lease.holder() is None
