"""What the ops bot's host has for people and for the night, before the bot itself is there and with it."""

from collections.abc import Callable
from typing import Any

import pytest

# Stands for the engine: one container, which writes a ledger where it is told to.
DOCKER = """#!/bin/sh
case "$1" in
ps) echo 0123abc ;;
exec)
    case "$*" in
    *"ops-bot status"*) echo "it runs" ;;
    *"ops-bot backup"*) echo ledger >/tmp/backup.db ;;
    esac ;;
cp) cp /tmp/backup.db "$3" ;;
esac
"""


@pytest.fixture(scope="module")
def host(hosts: Callable[[str], Any]) -> Any:
    return hosts("ops1")


def test_without_the_bot_the_command_says_so(host: Any) -> None:
    host.run("printf '#!/bin/sh\\n' >/usr/bin/docker && chmod 0755 /usr/bin/docker")  # an engine that runs nothing
    asked = host.run("ops-bot status")
    assert asked.rc == 1
    assert asked.stderr.startswith("The ops bot was never deployed on this host")


def test_the_backup_is_due_every_night(host: Any) -> None:
    timer = host.service("tagboat-ops-bot-backup.timer")
    assert timer.is_enabled
    assert timer.is_running
    assert "03:30:00" in host.check_output("systemctl cat tagboat-ops-bot-backup.timer")


def test_a_backup_is_kept_for_its_days_and_is_nobodys_business(host: Any) -> None:
    host.run(f"cat >/usr/bin/docker <<'END'\n{DOCKER}END\nchmod 0755 /usr/bin/docker")
    host.run("touch -d '10 days ago' /var/backups/ops_bot/ledger-2020-01-01.db")
    assert host.check_output("ops-bot status") == "it runs"
    assert host.run("systemctl start tagboat-ops-bot-backup.service").rc == 0
    (kept,) = host.check_output("ls /var/backups/ops_bot").split()
    backup = host.file(f"/var/backups/ops_bot/{kept}")
    assert backup.content_string == "ledger\n"
    assert backup.mode == 0o600
    assert host.file("/var/backups/ops_bot").mode == 0o700
