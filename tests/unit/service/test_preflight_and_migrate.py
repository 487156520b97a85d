"""Before anything changes: can this host take the release, and does its migration succeed?"""

from __future__ import annotations

import pytest
from ansible.module_utils.tagboat.host import CommandError
from ansible.module_utils.tagboat.lease import LeaseHeldError
from ansible.module_utils.tagboat.rollout import RolloutError
from fake_host import FakeHost
from host_story import HTTP, SECRETS, deploy, prepared, release, results, rollout


def preflight(host: FakeHost, tag: str = "v2", first: bool = True) -> None:
    rollout(host, f"deploy-{tag}").preflight(release(tag, HTTP), first, min_free_mb=1000)


@pytest.fixture
def host() -> FakeHost:
    host = prepared()
    deploy(host, "one", release("v1", HTTP))
    host.effects.clear()
    return host


def test_preflight_pulls_and_changes_nothing_that_users_see(host: FakeHost) -> None:
    before = (dict(host.map), results(host), dict(host.containers), dict(host.links))
    preflight(host)
    assert "r1:5000/web@sha256:v2" in host.images
    assert (dict(host.map), results(host), dict(host.containers), dict(host.links)) == before


def test_a_rollback_needs_no_registry(host: FakeHost) -> None:
    rollout(host, "back").preflight(None, first=True, min_free_mb=1000)
    assert not [effect for effect in host.effects if "pull" in effect]


def test_a_host_that_was_never_prepared_says_how_to(host: FakeHost) -> None:
    del host.files["/etc/systemd/system/web@.service"]
    with pytest.raises(RolloutError, match="this host is not prepared for web: make site"):
        preflight(host)
    assert "/run/tagboat/web.lease" not in host.files


def test_without_an_engine(host: FakeHost) -> None:
    host.engine_answers = False
    with pytest.raises(RolloutError, match=r"no Docker engine answers .*refused.; web1 still serves v1"):
        preflight(host)


def test_a_full_disk_is_refused_before_anything_is_pulled(host: FakeHost) -> None:
    host.free_mb = 999
    message = "only 999 MB are free, 1000 MB are needed: make prune; web1 still serves v1"
    with pytest.raises(RolloutError, match=message):
        preflight(host)
    assert "r1:5000/web@sha256:v2" not in host.images


def test_a_pull_that_is_refused(host: FakeHost) -> None:
    with pytest.raises(RolloutError, match=r"v9 could not be pulled: .*manifest unknown; web1 still serves v1"):
        preflight(host, "v9")


def test_a_host_that_another_rollout_holds_says_whose_and_since_when(host: FakeHost) -> None:
    preflight(host)
    host.pass_time(7)
    with pytest.raises(LeaseHeldError, match=r"ann holds the lease for web since 7 s: deploy web \(deploy-v2\)"):
        preflight(host, "v3")


# Migrations


def migrate(host: FakeHost) -> str:
    return rollout(host, "two").migrate(release("v2", HTTP, memory_mb=128, env={"MODE": "new"}), SECRETS, 600)


def test_a_migration_runs_the_new_image_once_as_restricted_as_the_service(host: FakeHost) -> None:
    assert migrate(host) == "migrated"
    ((words, env),) = host.migrations
    assert " ".join(words) == (
        "run --rm --name web-migrate --network=tagboat --pull=never --cap-drop=ALL --security-opt=no-new-privileges"
        " --memory=128m --memory-swap=128m --pids-limit=256 --read-only --tmpfs=/tmp"
        " --env-file=/etc/tagboat/web/migrate.env --env-file=/etc/tagboat/web/secrets.env"
        " r1:5000/web@sha256:v2 python -m app migrate"
    )
    assert env == SECRETS | {
        **{"SERVICE": "web", "TAG": "v2", "DIGEST": "sha256:v2", "REVISION": "", "SLOT": "migrate"},
        **{"HOST": "web1", "ENVIRONMENT": "production", "MODE": "new"},
    }


def test_a_migration_that_fails_switches_nothing_and_shows_what_it_printed(host: FakeHost) -> None:
    host.migration = CommandError("docker run --rm failed with 1: column exists")
    with pytest.raises(RolloutError, match="the migration of v2 failed; nothing was switched") as failed:
        migrate(host)
    assert failed.value.log == "docker run --rm failed with 1: column exists"
    assert results(host) == [("v1", "live")]


def test_a_migration_that_takes_too_long_is_ended(host: FakeHost) -> None:
    host.migration = TimeoutError()
    with pytest.raises(RolloutError, match="the migration of v2 failed") as failed:
        migrate(host)
    assert failed.value.log == "docker run --rm took longer than 600 s"
    assert "web-migrate" not in host.containers


def test_a_migration_is_refused_when_another_rollout_took_the_host_meanwhile(host: FakeHost) -> None:
    rollout(host, "two").preflight(release("v2", HTTP), first=True, min_free_mb=0)
    host.pass_time(61)  # another host's pull took long
    rollout(host, "three").preflight(release("v3", HTTP), first=True, min_free_mb=0)
    with pytest.raises(LeaseHeldError):
        migrate(host)
    assert host.migrations == []


def test_secrets_are_readable_by_root_alone(host: FakeHost) -> None:
    migrate(host)
    assert host.modes["/etc/tagboat/web/secrets.env"] == 0o600
    for path, text in host.files.items():
        assert "hunter2" not in text or path == "/etc/tagboat/web/secrets.env", path


def test_no_secret_is_ever_on_a_command_line() -> None:
    host = prepared()
    deploy(host, "one", release("v1", HTTP))
    migrate(host)
    assert not [effect for effect in host.effects if "hunter2" in effect]


# Status


def test_status_says_what_runs_and_changes_nothing(host: FakeHost) -> None:
    status = rollout(host, "look").status()
    assert (status["live"]["tag"], status["slot"], status["health"], status["lease"]) == ("v1", "a", "healthy", None)
    assert not [effect for effect in host.effects if effect.startswith(("write", "run systemctl", "remove"))]


def test_status_of_a_release_that_died_says_how() -> None:
    host = prepared()
    deploy(host, "one", release("v1", HTTP))
    host.containers["web-a"].behaviour.exits_after = 1
    host.containers["web-a"].behaviour.exit_code = 9
    host.pass_time(2)
    assert rollout(host, "look").status()["health"] == "the container exited with 9"


def test_status_of_a_host_whose_engine_is_stopped_says_so(host: FakeHost) -> None:
    host.engine_answers = False
    assert rollout(host, "look").status()["health"] == "no Docker engine answers ([Errno 111] Connection refused)"


def test_status_of_a_host_without_a_release() -> None:
    status = rollout(prepared(), "look").status()
    assert (status["live"], status["slot"], status["health"]) == (None, None, "nothing runs")


def test_a_dry_run_shows_what_would_change_in_environment_and_unit() -> None:
    host = prepared()
    deploy(host, "one", release("v1", HTTP))
    host.effects.clear()
    shown = rollout(host, "dry").preview(release("v2", HTTP, memory_mb=512))["prepared"].splitlines()
    assert shown[0] == "web on web1: v1 -> v2"
    assert {"-TAG=v1", "+TAG=v2", "-SLOT=a", "+SLOT=b"} <= set(shown)
    assert any("--memory=512m" in line for line in shown)
    assert not any("LOG_FORMAT" in line or "DATABASE_URL" in line for line in shown)
    assert host.effects == ["exists /run/systemd/system", "read /etc/ansible/facts.d/tagboat.fact"]
