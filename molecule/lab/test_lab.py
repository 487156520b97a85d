"""Hosts like any other, reached over SSH with their keys checked; and nothing of them is left when they go."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import reach
from scenario import FLEET


def docker(*words: str) -> list[str]:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.splitlines()


def test_hosts_are_machines_with_an_init_system_of_their_own(hosts: Callable[[str], Any]) -> None:
    for name in ("host1", "host2"):
        host = hosts(name)
        assert host.check_output("hostname") == name
        assert host.check_output("ps -p 1 -o comm=") == "systemd"
        assert host.check_output("systemctl list-units --failed --no-legend") == ""
        assert host.check_output("cat /etc/machine-id") not in ("", "uninitialized")


def test_hosts_reach_each_other_by_name(hosts: Callable[[str], Any]) -> None:
    for door in (("host2", 22), ("host2.tagboat-molecule-lab", 22)):
        assert reach.reaches(hosts("host1"), [door])


def test_no_two_hosts_share_a_key(hosts: Callable[[str], Any]) -> None:
    key = "cat /etc/ssh/ssh_host_ed25519_key.pub | cut -d' ' -f2; cat /etc/machine-id"
    assert hosts("host1").check_output(key) != hosts("host2").check_output(key)


def test_a_host_with_another_key_is_not_spoken_to(tmp_path: Path) -> None:
    swapped = tmp_path / "known_hosts"
    lines = (FLEET / "known_hosts").read_text().splitlines()
    (_, *first), (_, *second) = (line.split() for line in lines)
    swapped.write_text(f"host1 {' '.join(second)}\nhost2 {' '.join(first)}\n")
    options = ["-F", f"{FLEET}/ssh_config", "-o", "BatchMode=yes", "-o", "ControlPath=none"]
    assert subprocess.run(["ssh", *options, "host1", "true"], check=False).returncode == 0
    impostor = ["ssh", *options, "-o", f"UserKnownHostsFile={swapped}", "host1", "true"]
    refused = subprocess.run(impostor, capture_output=True, text=True, check=False)
    assert "Host key verification failed" in refused.stderr


def test_only_the_fleets_key_opens_a_host() -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{FLEET}/ssh/strange"], check=True)
    stranger = FLEET / "ssh_config.stranger"
    stranger.write_text((FLEET / "ssh_config").read_text().replace("/ssh/id_ed25519", "/ssh/strange"))
    ssh = ["ssh", "-F", str(stranger), "-o", "BatchMode=yes", "-o", "ControlPath=none", "host1", "true"]
    refused = subprocess.run(ssh, capture_output=True, text=True, check=False)
    assert "Permission denied" in refused.stderr
    assert (FLEET / "ssh/id_ed25519").stat().st_mode & 0o077 == 0


def test_ports_are_published_on_loopback_only() -> None:
    published = docker("ps", "--filter", "label=tagboat.fleet=molecule-lab", "--format", "{{.Ports}}")
    ports = [port for line in published for port in line.split(", ")]
    assert len(ports) == 3
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_a_stopped_host_is_started_and_keeps_its_key(play: Callable[..., Any], hosts: Callable[[str], Any]) -> None:
    known = (FLEET / "known_hosts").read_text()
    docker("stop", "tagboat-molecule-lab-host2")
    run = play("create")
    assert run.succeeded, run.output
    assert (FLEET / "known_hosts").read_text() == known
    assert hosts("host2").check_output("hostname") == "host2"


def test_nothing_is_left_of_a_fleet_that_is_taken_down(play: Callable[..., Any]) -> None:
    """The last test, for it ends the hosts."""
    run = play("destroy")
    assert run.succeeded, run.output
    for kind, all_of_them in (("container", ["--all"]), ("volume", []), ("network", [])):
        assert docker(kind, "ls", "--quiet", *all_of_them, "--filter", "name=tagboat-molecule-lab") == []
    assert not FLEET.exists()
