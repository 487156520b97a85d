"""The lines that playbooks/attach.py runs, exactly, and how it ends them."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import plugin_loading
import pytest

attach = plugin_loading.load("playbooks/attach.py")
SSH_ARGS = "-o ControlMaster=auto"


def told(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "address": name,
        "port": "",
        "user": "",
        "key": "",
        "args": ["", ""],
        "become": False,
        **changes,
    }


def answer(*hosts: dict[str, Any]) -> str:
    reply = {"services": ["web"], "ssh_args": SSH_ARGS, "hosts": hosts}
    return f"[WARNING]: something\nattach {json.dumps(reply)}\nlocalhost | SUCCESS => {{}}\n"


class TestHowHostsAreReached:
    def test_as_the_inventory_says(self) -> None:
        own = {"address": "10.0.0.7", "port": 2222, "user": "ops", "key": "~/id", "args": ['-F "/a b/config"', "-v"]}
        (host,) = attach.targets(answer(told("web1", become=True, **own)), "web")
        assert host.ssh == (
            *("ssh", "-o", "ControlMaster=auto", "-p", "2222", "-i", "~/id", "-l", "ops"),
            *("-F", "/a b/config", "-v", "-o", "BatchMode=yes", "10.0.0.7"),
        )
        assert host.line(["journalctl"]) == "sudo --non-interactive journalctl"

    def test_without_become_no_sudo(self) -> None:
        (host,) = attach.targets(answer(told("web1", become="False")), "web")
        assert host.line(["ls", "a b"]) == "ls 'a b'"

    @pytest.mark.parametrize(
        ("reply", "service", "message"),
        [
            (answer(told("web1")), "wbe", "there is no service wbe. Known: web."),
            (answer(), "web", "web has no hosts in this environment"),
            ("ERROR! the vault is locked\n", "web", "ERROR! the vault is locked"),
        ],
    )
    def test_a_refusal_says_why(self, reply: str, service: str, message: str) -> None:
        with pytest.raises(attach.AttachError) as refused:
            attach.targets(reply, service)
        assert str(refused.value) == message


class TestExec:
    HOSTS = attach.targets(answer(told("web1", become=True), told("web2")), "web")

    def test_on_the_first_host_unless_named_with_every_word_kept(self) -> None:
        line = attach.execute(self.HOSTS, "web", "", ["echo", "a b", "$HOME"])
        assert line[-3:-1] == ["web1", "-T"]
        assert shlex.split(line[-1])[2:] == ["python3", "-c", attach.EXEC, "web", "echo", "a b", "$HOME"]
        assert attach.execute(self.HOSTS, "web", "web2", ["ls"])[-3] == "web2"

    @pytest.mark.parametrize(
        ("record", "said"),
        [
            (None, "no release of web is live on this host"),
            ('{"services": {"eval": {"live": "a"}}}', "no release of web is live on this host"),
            ('{"services": ', "cannot be read. Next: docs/runbooks.md"),
            ("[]", "cannot be read. Next: docs/runbooks.md"),
        ],
    )
    def test_on_the_host_a_sentence_says_why_there_is_nothing_to_run_in(
        self, record: str | None, said: str, tmp_path: Path
    ) -> None:
        if record is not None:
            (tmp_path / "record").write_text(record)
        code = attach.EXEC.replace("/etc/ansible/facts.d/tagboat.fact", str(tmp_path / "record"))
        ran = subprocess.run([sys.executable, "-c", code, "web", "ls"], capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stdout) == (1, "")
        assert len(ran.stderr.splitlines()) == 1
        assert said in ran.stderr

    def test_an_unknown_host_is_refused_with_those_there_are(self) -> None:
        with pytest.raises(attach.AttachError, match=r"no host web9. Its hosts: web1, web2\."):
            attach.execute(self.HOSTS, "web", "web9", ["ls"])


class TestFollow:
    def test_colour_is_for_terminals(self) -> None:
        assert attach.prefix("web1", 5, 0, colour=False) == "web1  | "
        assert attach.prefix("web1", 5, 0, colour=True) == "\033[36mweb1  | \033[0m"

    def test_all_hosts_at_once_until_ctrl_c_and_nothing_stays_behind(self, tmp_path: Path) -> None:
        """`ssh` is a shell here: the command on the host must end with the connection."""
        ssh = tmp_path / "ssh"
        # A host that writes a line, then nothing for ever. Its pid tells whether it was left behind.
        ssh.write_text(
            f'#!/bin/sh\nfor last; do :; done\nexec sh -c "$(echo "$last" | sed s,journalctl,{tmp_path}/j,)"\n'
        )
        journal = tmp_path / "j"
        journal.write_text(f"#!/bin/sh\necho $$ >> {tmp_path}/pids\necho line of $$\nexec sleep 600\n")
        for script in (ssh, journal):
            script.chmod(0o755)
        code = "import attach, sys; hosts = [attach.Target(n, ('ssh', n), False) for n in ('web1', 'web2')]"
        # As a terminal starts it: the background job of a script, which a test may run in, ignores SIGINT.
        code = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {code}"
        follower = subprocess.Popen(
            [sys.executable, "-c", f"{code}; sys.exit(attach.follow(hosts, 'web', 5))"],
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(attach.PLAYBOOKS)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert follower.stdout
        lines = sorted(follower.stdout.readline().split(" of ")[0] for _ in range(2))
        assert lines == ["web1 | line", "web2 | line"]
        follower.send_signal(signal.SIGINT)
        assert follower.wait(timeout=10) == 0
        pids = (tmp_path / "pids").read_text().split()
        assert len(pids) == 2
        deadline = time.monotonic() + 5
        while left := [pid for pid in pids if is_running(pid)]:
            assert time.monotonic() < deadline, f"{left} still run on the hosts"
            time.sleep(0.05)


def is_running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except FileNotFoundError:
        return False
