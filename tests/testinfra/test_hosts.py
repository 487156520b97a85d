"""What holds on each host: units, logins, secrets, SSH, the journal."""

from __future__ import annotations

from typing import Any

from environment import Environment


def test_units_are_up_and_start_at_boot(environment: Environment, host: Any, name: str) -> None:
    down = []
    for unit in sorted(set(environment.expected_of(name, "units"))):
        show = host.check_output("systemctl show --property=ActiveState,UnitFileState --value %s", unit)
        if show.split() != ["active", "enabled"]:
            journal = host.check_output("journalctl --unit=%s --lines=30 --no-pager --output=short-iso", unit)
            down.append(f"{unit} is {' and '.join(show.split())}; its journal:\n{journal}")
    assert not down, "\n\n".join(down)


def test_no_unit_has_failed(host: Any) -> None:
    failed = host.check_output("systemctl list-units --failed --plain --no-legend").splitlines()
    units = [line.split()[0] for line in failed]
    journal = "".join(host.run("journalctl --unit=%s --lines=30 --no-pager", unit).stdout for unit in units)
    assert not units, f"{units} failed:\n{journal}"


def test_ssh_lets_in_by_key_only_and_never_root(environment: Environment, host: Any) -> None:
    effective = dict(line.split(" ", 1) for line in host.check_output("sshd -T").splitlines() if " " in line)
    expected = environment.expected["sshd"]
    assert {key: effective.get(key) for key in expected} == expected


def test_nobody_has_a_password(host: Any) -> None:
    shadow = (line.split(":") for line in host.check_output("getent shadow").splitlines())
    assert [fields[0] for fields in shadow if fields[1][:1] not in ("!", "*")] == []


def test_only_admins_have_keys(environment: Environment, host: Any, name: str) -> None:
    people = [line.split(":") for line in host.check_output("getent passwd").splitlines()]
    homes = sorted({f"{fields[5]}/.ssh" for fields in people})
    found = host.run(" ".join(["find", *homes, "-name 'authorized_keys*' -size +0 2>/dev/null"])).stdout.split()
    with_keys = {fields[0] for fields in people if any(path.startswith(f"{fields[5]}/.ssh/") for path in found)}
    assert with_keys == set(environment.expected_of(name, "admins"))


def test_only_admins_become_root(environment: Environment, host: Any, name: str) -> None:
    people = host.check_output("getent passwd | awk -F: '$7 !~ /nologin|false|sync/ {print $1}'").split()
    rights = {person: host.run("sudo --list --other-user=%s", person).stdout for person in people if person != "root"}
    admins = set(environment.expected_of(name, "admins"))
    assert {person for person, right in rights.items() if "(ALL" in right} == admins
    assert all("NOPASSWD: ALL" in rights[admin] for admin in admins)


def test_secrets_are_nobodys_business(environment: Environment, host: Any, name: str) -> None:
    wrong = []
    for path, expected in environment.expected_of(name, "secrets").items():
        found = host.run(f"stat --format '%a %U:%G' {path}").stdout.splitlines()
        if any(mode != expected for mode in found) or (not found and "*" not in path):
            wrong.append(f"{path}: {found or 'missing'}, not {expected}")
    assert wrong == []


def test_the_journal_is_kept_and_bounded(environment: Environment, host: Any) -> None:
    lines = host.check_output("systemd-analyze cat-config systemd/journald.conf").splitlines()
    effective = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    expected = environment.expected["journald"]
    assert {key: effective.get(key) for key in expected} == expected
    assert host.run("ls /var/log/journal/*/system.journal").succeeded
