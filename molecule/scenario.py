"""The scenario under test: its fleet, its hosts, its playbooks, and programs that stand in for what would run there."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
FLEET = REPOSITORY / ".lab" / f"molecule-{os.environ['MOLECULE_SCENARIO_NAME']}"

sys.path.insert(0, str(REPOSITORY / "tests/testinfra"))

import reach  # noqa: E402 - lies with the suite that looks at whole environments


@functools.cache
def connect(name: str) -> Any:
    return reach.connect(name, f"-F {FLEET}/ssh_config")


@functools.cache
def address_of(name: str) -> str:
    return str(connect(name).check_output("hostname --ip-address")).split()[0]


def start_program(host: Any, port: int, name: str) -> None:
    program = (REPOSITORY / "molecule/program.py").read_text()
    host.check_output(f"systemd-run --collect --unit=program{port} python3 -c %s {port} {name}", program)
    host.check_output(f"timeout 10 sh -c 'until ss -Hltn | grep -q :{port}; do sleep 0.1; done'")


class Answer:
    """What came back from a web server."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        question = urllib.request.Request(url, headers=headers or {})  # noqa: S310 - http, to our own hosts
        try:
            with urllib.request.urlopen(question, timeout=10) as answer:  # noqa: S310
                self.status, self.headers, self.text = answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            self.status, self.headers, self.text = error.code, error.headers, error.read().decode()

    @property
    def seen(self) -> dict[str, Any]:
        """What the program says about itself and the request."""
        return dict(json.loads(self.text))


class Run:
    """One run of a playbook of the scenario: create, converge or destroy."""

    def __init__(self, playbook: str, *arguments: str) -> None:
        scenario = yaml.safe_load(Path(os.environ["MOLECULE_FILE"]).read_text(encoding="utf-8"))
        path = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"]) / scenario["ansible"]["playbooks"][playbook]
        inventory = Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent
        settings = {
            "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
            "ANSIBLE_FORCE_COLOR": "false",
        }
        done = subprocess.run(
            ["ansible-playbook", "--inventory", str(inventory), "--diff", *arguments, str(path)],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
        )
        self.output = done.stdout + done.stderr
        self.succeeded = done.returncode == 0
        recap = re.findall(r"\bchanged=(\d+)", self.output)
        assert recap, f"no host was told of:\n{self.output}"
        self.changed = sum(int(count) for count in recap)
