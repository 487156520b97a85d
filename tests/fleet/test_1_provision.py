"""A fresh fleet: dry run, converge, and nothing left to change."""

from __future__ import annotations

from fleet import Fleet
from story import measured


def test_dry_run_on_bare_hosts_changes_nothing(fleet: Fleet) -> None:
    before = fleet.host("web1", "dpkg -l | sha256sum; ls /etc | sha256sum")
    run = fleet.play("site", "--check", "--diff")
    assert run.ok, run.tail
    assert fleet.host("web1", "dpkg -l | sha256sum; ls /etc | sha256sum") == before


def test_site_converges(fleet: Fleet) -> None:
    run = fleet.play("site")
    assert run.ok, run.tail
    measured("provision the fleet from bare hosts", run)


def test_site_again_changes_nothing(fleet: Fleet) -> None:
    run = fleet.play("site")
    assert run.ok, run.tail
    assert set(run.changed.values()) == {0}, run.tail
    measured("provision again, nothing to change", run)


def test_dry_run_on_a_converged_fleet_finds_nothing(fleet: Fleet) -> None:
    run = fleet.play("site", "--check", "--diff")
    assert run.ok, run.tail
    assert set(run.changed.values()) == {0}, run.tail


def test_lab_again_changes_nothing(fleet: Fleet) -> None:
    run = fleet.play("lab")
    assert run.ok, run.tail
    assert set(run.changed.values()) == {0}, run.tail
