"""Who gets in, as whom, and what the host keeps."""

import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import reach
import testinfra
from scenario import FLEET

FOR_FRIENDS, FOR_ALL, FOR_NOBODY, UNNAMED, FOR_ITSELF = 7001, 7002, 7003, 7005, 7006
PORTS = (FOR_FRIENDS, FOR_ALL, FOR_NOBODY, UNNAMED, FOR_ITSELF)


@pytest.fixture(autouse=True, scope="module")
def programs(hosts: Callable[[str], Any], eventually: Callable[..., None]) -> Iterator[None]:
    """Somebody listens on every port: a closed one is closed by the firewall."""
    host = hosts("host1")
    for port in PORTS:
        host.run(f"systemd-run --collect --unit=listen{port} python3 -m http.server {port} --directory /run/lock")
    eventually(lambda: all(host.socket(f"tcp://0.0.0.0:{port}").is_listening for port in PORTS))
    yield
    host.run("systemctl stop 'listen*'")


def doors_open_to(source: Any) -> set[int]:
    return {port for _, port in reach.reaches(source, [("host1", port) for port in (22, *PORTS)])}


def ssh(*arguments: str) -> subprocess.CompletedProcess[str]:
    options = ["-F", f"{FLEET}/ssh_config", "-o", "BatchMode=yes", "-o", "ControlPath=none"]
    return subprocess.run(["ssh", *options, *arguments, "true"], capture_output=True, text=True, check=False)


def test_hosts_of_a_named_group_come_in_where_they_may(hosts: Callable[[str], Any]) -> None:
    assert doors_open_to(hosts("friend1")) == {22, FOR_FRIENDS, FOR_ALL}


def test_everybody_else_only_where_all_may(address: Callable[[str], str]) -> None:
    control_node = testinfra.get_host("local://")
    doors = [(address("host1"), port) for port in (22, *PORTS)]
    assert {port for _, port in reach.reaches(control_node, doors)} == {22, FOR_ALL}


def test_the_host_reaches_itself_and_out(hosts: Callable[[str], Any]) -> None:
    doors = {("127.0.0.1", UNNAMED), ("friend1", 22)}
    assert set(reach.reaches(hosts("host1"), doors)) == doors


def test_containers_of_the_host_come_in_where_it_may_itself(hosts: Callable[[str], Any]) -> None:
    host = hosts("host1")
    host.check_output(
        "ip link add tagboat0 type bridge && ip address add 172.31.250.1/24 dev tagboat0 && ip link set tagboat0 up"
        " && ip netns add container && ip link add inside type veth peer name outside"
        " && ip link set inside netns container && ip link set outside master tagboat0 up"
        " && ip -n container address add 172.31.250.2/24 dev inside && ip -n container link set inside up"
        " && ip -n container route add default via 172.31.250.1"
    )
    try:
        own = host.check_output("hostname --ip-address").split()[0]
        knock = "timeout 3 ip netns exec container bash -c 'echo > /dev/tcp/%s/%d'"
        doors = {port for port in (22, *PORTS) if host.run(knock % (own, port)).succeeded}
    finally:
        host.check_output("ip netns delete container && ip link delete tagboat0")
    assert doors == {22, FOR_ALL, FOR_ITSELF}


def test_loading_the_rules_again_leaves_other_tables_alone(hosts: Callable[[str], Any]) -> None:
    host = hosts("host1")
    host.run("nft add table ip somebody_elses")
    host.check_output("systemctl reload tagboat-firewall")
    assert host.run("nft list table ip somebody_elses").succeeded
    assert host.run("getent hosts friend1").succeeded  # name lookups in the fleet go through the engine's own table
    assert doors_open_to(hosts("friend1")) == {22, FOR_FRIENDS, FOR_ALL}


def test_an_admin_becomes_root_without_a_password(hosts: Callable[[str], Any]) -> None:
    assert ssh("host1").returncode == 0
    # Only this role's rule counts here, not the one the host was born with.
    hosts("host1").check_output("rm -f /etc/sudoers.d/admin")
    assert hosts("host1").check_output("runuser -u admin -- sudo --non-interactive id --user --name") == "root"


def test_root_does_not_get_in_even_with_a_good_key(hosts: Callable[[str], Any]) -> None:
    hosts("host1").check_output("install -D -m 0600 ~admin/.ssh/authorized_keys /root/.ssh/authorized_keys")
    assert "Permission denied" in ssh("-o", "User=root", "host1").stderr


def test_passwords_are_not_asked_for() -> None:
    ask = "PreferredAuthentications=password,keyboard-interactive"
    refused = ssh("-o", "PubkeyAuthentication=no", "-o", ask, "host1")
    assert "Permission denied (publickey)" in refused.stderr


def test_who_left_has_no_login(hosts: Callable[[str], Any]) -> None:
    assert not hosts("host1").user("leaver").exists


def test_programs_trust_the_authority(hosts: Callable[[str], Any]) -> None:
    read = "import ssl; print(*(ca['subject'] for ca in ssl.create_default_context().get_ca_certs()))"
    assert "Tagboat environment CA" in hosts("host1").check_output("python3 -c %s", read)


def test_the_journal_is_kept_and_bounded(hosts: Callable[[str], Any]) -> None:
    host = hosts("host1")
    assert host.run("ls /var/log/journal/*/system.journal").succeeded
    said = host.check_output("journalctl --unit=systemd-journald --output=cat | grep 'System Journal'")
    assert "max 48.0M" in said.splitlines()[-1]


def test_the_firewall_can_be_switched_off(hosts: Callable[[str], Any], converge: Callable[..., Any]) -> None:
    assert UNNAMED not in doors_open_to(hosts("friend1"))
    assert converge("-e", '{"common_firewall_enabled": false}').succeeded
    assert UNNAMED in doors_open_to(hosts("friend1"))
