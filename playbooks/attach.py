#!/usr/bin/env python3
"""Attach this terminal to a service: follow its log on all hosts at once, or run a command in its live container.

`make logs SERVICE=web FOLLOW=1` and `make exec SERVICE=web CMD='…'` run this. A playbook cannot: it shows output when a
task is done, and has exit codes of its own. Hosts are reached as Ansible reaches them, with what the inventory says.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLAYBOOKS = Path(__file__).resolve().parent
COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)

# What Ansible is asked: every host of the service, and how it reaches it. Jinja, for Ansible's action `say`.
QUESTION = """attach {"services": {{ services | list | to_json }},
"ssh_args": {{ lookup('config', 'ssh_args', plugin_type='connection', plugin_name='ssh') | to_json }}, "hosts": [
{%- for host in groups[(services[service] | default({})).hosts | default('')] | default([]) %}
{%- set own = hostvars[host] %}
{{- {
  'name': host,
  'address': own.ansible_host | default(host),
  'port': own.ansible_port | default(''),
  'user': own.ansible_user | default(''),
  'key': own.ansible_ssh_private_key_file | default(''),
  'args': [own.ansible_ssh_common_args | default(''), own.ansible_ssh_extra_args | default('')],
  'become': own.ansible_become | default(false)} | to_json }}{{ '' if loop.last else ',' }}
{%- endfor %}]}"""

# What runs on a host. The release record says which slot is live.
EXEC = """
import json, os, sys
record = "/etc/ansible/facts.d/tagboat.fact"
try:
    with open(record) as file:
        slot = json.load(file)["services"].get(sys.argv[1], {}).get("live")
except FileNotFoundError:
    slot = None
except (ValueError, LookupError, AttributeError, TypeError):
    sys.exit("the release record " + record + " of this host cannot be read. Next: docs/runbooks.md")
if not slot:
    sys.exit("no release of " + sys.argv[1] + " is live on this host")
os.execvp("docker", ["docker", "exec", sys.argv[1] + "-" + slot, *sys.argv[2:]])
"""
# sshd leaves behind what it started without a terminal: the end of stdin is what tells that the connection ended.
UNTIL_STDIN_ENDS = "{command} & pid=$!; cat >/dev/null; kill $pid"


class AttachError(Exception):
    """Nothing was run. The message says why."""


@dataclass(frozen=True)
class Target:
    """A host, and the beginning of the line that runs a command on it."""

    name: str
    ssh: tuple[str, ...]
    become: bool

    def line(self, argv: Sequence[str]) -> str:
        """Return `argv` as the shell on the host reads it."""
        return shlex.join(["sudo", "--non-interactive", *argv] if self.become else argv)


def target(told: Mapping[str, Any], ssh_args: str) -> Target:
    """Build the ssh line of a host from what Ansible told of it, in the order Ansible's own connection uses."""
    words = ["ssh", *shlex.split(ssh_args)]
    for flag, key in {"-p": "port", "-i": "key", "-l": "user"}.items():
        words += [flag, str(told[key])] if told[key] else []
    words += [word for arguments in told["args"] for word in shlex.split(arguments)]
    return Target(told["name"], (*words, "-o", "BatchMode=yes", told["address"]), str(told["become"]).lower() == "true")


def targets(answer: str, service: str) -> list[Target]:
    """Read the hosts of a service from what Ansible answered to QUESTION.

    Raises:
        AttachError: it has none.
    """
    begin = answer.find('attach {"services"')
    if begin < 0:
        raise AttachError(answer.strip())
    told, _ = json.JSONDecoder().raw_decode(answer, begin + len("attach "))
    if service not in told["services"]:
        raise AttachError(f"there is no service {service}. Known: {', '.join(told['services'])}.")
    if not told["hosts"]:
        raise AttachError(f"{service} has no hosts in this environment")
    return [target(host, told["ssh_args"] or "") for host in told["hosts"]]


def ask_ansible(inventory: str, service: str) -> str:
    """Let Ansible read inventory and variables: nobody else knows all the places they come from."""
    command = ["ansible", "--inventory", inventory, "--playbook-dir", str(PLAYBOOKS), "localhost", "-m", "say"]
    given = ["--extra-vars", json.dumps({"service": service}), "--args", json.dumps({"text": QUESTION})]
    done = subprocess.run([*command, *given], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else done.stdout + done.stderr


def prefix(name: str, width: int, number: int, colour: bool) -> str:
    """Return what stands before every line of a host."""
    text = f"{name:{width}} | "
    return f"\033[{COLOURS[number % len(COLOURS)]}m{text}\033[0m" if colour else text


def follow(hosts: Sequence[Target], service: str, lines: int) -> int:
    """Print what the service writes on all hosts, as it comes, until Ctrl-C.

    Returns:
        0 after Ctrl-C; 1 when the connection to any host ended by itself.
    """
    argv = ["journalctl", "--follow", "--output=cat", f"--lines={lines}"]
    argv += [f"CONTAINER_NAME={service}-a", f"CONTAINER_NAME={service}-b"]
    width = max(len(host.name) for host in hosts)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    printing = threading.Lock()
    stopped = threading.Event()
    lost: list[str] = []

    def pump(ssh: subprocess.Popen[str], name: str, before: str) -> None:
        for line in ssh.stdout or []:
            with printing:
                print(before + line.rstrip("\n"), flush=True)
        if not stopped.is_set():
            lost.append(name)
            print(f"{name}: the connection ended", file=sys.stderr)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    started: list[subprocess.Popen[str]] = []
    threads: list[threading.Thread] = []
    try:
        for number, host in enumerate(hosts):
            # A session of its own: Ctrl-C reaches this process only, and it ends its children itself.
            ssh = subprocess.Popen(
                [*host.ssh, UNTIL_STDIN_ENDS.format(command=host.line(argv))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            started.append(ssh)
            before = prefix(host.name, width, number, colour)
            threads.append(threading.Thread(target=pump, args=(ssh, host.name, before), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join()
    except (KeyboardInterrupt, BrokenPipeError):
        stopped.set()
    finally:
        stopped.set()
        for ssh in started:
            if ssh.stdin:
                ssh.stdin.close()  # ends the command on the host
        for ssh in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                ssh.wait(timeout=2)
            ssh.kill()
    return 1 if lost else 0


def execute(hosts: Sequence[Target], service: str, host: str, command: Sequence[str]) -> list[str]:
    """Return the line that runs a command in the live container of one host, the first unless told otherwise.

    Raises:
        AttachError: the service does not run on that host.
    """
    chosen = [one for one in hosts if not host or one.name == host]
    if not chosen:
        raise AttachError(f"{service} has no host {host}. Its hosts: {', '.join(one.name for one in hosts)}.")
    # -T: no terminal is asked for, so that output is what the command wrote.
    return [*chosen[0].ssh, "-T", chosen[0].line(["python3", "-c", EXEC, service, *command])]


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--inventory", required=True, help="folder of the environment: inventories/local")
    verbs = parser.add_subparsers(dest="verb", required=True)
    following = verbs.add_parser("follow", help="print the log of all hosts as it is written, until Ctrl-C")
    following.add_argument("service")
    following.add_argument("--lines", type=int, default=10, help="lines of each host to begin with")
    executing = verbs.add_parser("exec", help="run a command in the live container of one host; its exit code is ours")
    executing.add_argument("--host", default="", help="the first of the service, unless named")
    executing.add_argument("service")
    executing.add_argument("command", nargs="+", help="after --")
    return parser


def main() -> int:
    """Exit codes: the command's own; 255 when ssh failed; 2 when nothing was run."""
    given = arguments().parse_args()
    try:
        hosts = targets(ask_ansible(given.inventory, given.service), given.service)
        if given.verb == "follow":
            return follow(hosts, given.service, given.lines)
        line = execute(hosts, given.service, given.host, given.command)
    except AttachError as error:
        print(error, file=sys.stderr)
        return 2
    return os.execvp(line[0], line)  # noqa: S606  an argument list; ssh's exit code becomes ours


if __name__ == "__main__":
    sys.exit(main())
