"""What an on-call engineer relies on: every line of every host is on the collecting one, and nobody else's."""

import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from scenario import FLEET

Hosts = Callable[[str], Any]
REMOTE = "/var/log/journal/remote"


def said(hosts: Hosts, word: str) -> list[str]:
    """Which lines with this word have arrived, as `host line`."""
    fields = "--output=json --output-fields=_HOSTNAME,MESSAGE"
    read = f"journalctl --directory={REMOTE} --quiet {fields} SYSLOG_IDENTIFIER={word}"
    convert = "import json,sys; [print(e['_HOSTNAME'], e['MESSAGE']) for e in map(json.loads, sys.stdin)]"
    return str(hosts("ops1").check_output(f'{read} | python3 -c "{convert}"')).splitlines()


@pytest.fixture
def word() -> str:
    return f"word-{uuid4().hex}"


@pytest.mark.parametrize("host", ["web1", "ops1"])
def test_what_a_host_logs_arrives(hosts: Hosts, eventually: Callable[..., None], word: str, host: str) -> None:
    hosts(host).check_output(f"logger --tag {word} hello")
    eventually(lambda: said(hosts, word) == [f"{host} hello"])


def test_nothing_is_lost_while_the_collecting_host_is_away(
    hosts: Hosts, eventually: Callable[..., None], word: str
) -> None:
    hosts("ops1").check_output("systemctl stop tagboat-journal-tls")
    hosts("web1").check_output(f"for n in $(seq 200); do logger --tag {word} line $n; done")
    # Long enough to be refused a few times, which must not make it give up.
    eventually(
        lambda: "auto-restart" in hosts("web1").check_output("systemctl show systemd-journal-upload -p SubState")
    )
    hosts("ops1").check_output("systemctl start tagboat-journal-tls")
    eventually(lambda: set(said(hosts, word)) == {f"web1 line {n}" for n in range(1, 201)}, seconds=30)


def test_nothing_is_lost_when_either_side_is_killed(hosts: Hosts, eventually: Callable[..., None], word: str) -> None:
    for n in range(6):
        hosts("web1").check_output(f"logger --tag {word} line {n}")
        victim, unit = (("web1", "upload"), ("ops1", "remote"))[n % 2]
        hosts(victim).run(f"systemctl kill --signal=KILL systemd-journal-{unit}.service")
    eventually(lambda: set(said(hosts, word)) == {f"web1 line {n}" for n in range(6)}, seconds=30)


@pytest.mark.parametrize("host", ["web1", "stranger"])
def test_no_other_host_listens(hosts: Hosts, host: str) -> None:
    assert not hosts(host).socket("tcp://19532").is_listening


def knock(address: str, certificate: str) -> int:
    """Offer an entry as a program on the control node with one of the authority's certificates; return the status."""
    context = ssl.create_default_context(cafile=FLEET / "pki/ca.pem")
    context.check_hostname = False  # the certificate is for the collecting host's name, and this asks its address
    if certificate:
        context.load_cert_chain(FLEET / f"pki/hosts/{certificate}.pem", FLEET / f"pki/hosts/{certificate}.key")
    entry = b"__REALTIME_TIMESTAMP=1700000000000000\n__MONOTONIC_TIMESTAMP=1\n_HOSTNAME=knock\nMESSAGE=let me in\n\n"
    question = urllib.request.Request(
        f"https://{address}:19532/upload",
        method="POST",
        data=entry,
        headers={"Content-Type": "application/vnd.fdo.journal"},
    )
    with urllib.request.urlopen(question, context=context, timeout=10) as answer:  # noqa: S310 - https
        return int(answer.status)


def test_a_host_with_its_certificate_is_let_in(address: Callable[[str], str]) -> None:
    assert knock(address("ops1"), "web1-journal") == 202


# The second one is signed by the right authority, but says that it is for servers.
@pytest.mark.parametrize("certificate", ["", "ops1-journal-collector"])
def test_nobody_else_is_let_in(address: Callable[[str], str], certificate: str) -> None:
    with pytest.raises(OSError, match=r"alert|reset|EOF|closed|certificate"):
        knock(address("ops1"), certificate)


def test_nobody_on_the_collecting_host_gets_past_the_check(hosts: Hosts) -> None:
    assert not hosts("ops1").socket("tcp://127.0.0.1:19531").is_listening
    write = "runuser -u admin -- python3 -c %s"
    program = "import socket; socket.socket(socket.AF_UNIX).connect('/run/tagboat-journal.sock')"
    assert "Permission" in hosts("ops1").run(write, program).stderr


def test_only_readers_read(hosts: Hosts) -> None:
    host = hosts("ops1")
    assert "Permission denied" in host.run(f"runuser -u admin ls {REMOTE}").stderr
    assert "Permission denied" in host.run("runuser -u admin cat /etc/systemd/journal-remote/collector.key").stderr
    read = "setpriv --reuid=nobody --regid=19532 --clear-groups journalctl"
    assert host.check_output(f"{read} --directory={REMOTE} --quiet --lines=1")
    assert "Permission denied" in hosts("web1").run("runuser -u admin cat /etc/systemd/journal-upload/host.key").stderr


@pytest.mark.parametrize(
    ("host", "unit"),
    [
        ("ops1", "systemd-journal-remote"),
        ("ops1", "tagboat-journal-tls"),
        ("ops1", "systemd-journal-upload"),
        ("web1", "systemd-journal-upload"),
    ],
)
def test_nothing_of_it_runs_as_root(hosts: Hosts, host: str, unit: str) -> None:
    process = hosts(host).check_output(f"systemctl show {unit} --property=MainPID --value")
    assert int(hosts(host).check_output(f"stat --format=%u /proc/{process}")) > 0


def test_old_journals_go(hosts: Hosts) -> None:
    host = hosts("ops1")
    host.check_output("systemctl start tagboat-journal-vacuum.service")
    assert host.check_output("systemctl show tagboat-journal-vacuum.service -p Result") == "Result=success"
    assert host.service("tagboat-journal-vacuum.timer").is_running
    assert "--vacuum-size=4096M" in host.check_output("systemctl cat tagboat-journal-vacuum.service")


def test_it_starts_at_boot(hosts: Hosts) -> None:
    assert hosts("ops1").service("systemd-journal-remote.socket").is_enabled
    assert hosts("ops1").service("tagboat-journal-tls").is_enabled
    assert hosts("web1").service("systemd-journal-upload").is_enabled
    assert not hosts("web1").service("systemd-journal-remote.socket").is_enabled
