"""An environment: its hosts and variables as Ansible sees them, and what we expect of it."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import reach
import yaml

TESTS = Path(__file__).resolve().parent
REPOSITORY = TESTS.parents[1]

# Of each host, all that the tests need. Ansible fills it in: vaults, templates and all.
_QUESTION = """{{ {
  "groups": ["all"] + group_names,
  "ssh": ansible_ssh_common_args | default(""),
  "user": ansible_user | default(""),
  "registry": registry_address,
  "registry_here": registry_control_address | default(registry_address),
  "ca_file": ca_file,
  "login": registry_pull_user ~ ":" ~ registry_pull_password,
} }}"""


def merged(base: Any, over: Any) -> Any:
    """Put `over` on top of `base`: tables key by key, everything else as a whole."""
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        return {**base, **{key: merged(base.get(key), value) for key, value in over.items()}}
    return over


class Environment:
    """One directory under inventories/."""

    def __init__(self, name: str) -> None:
        self.name = name
        expectations = TESTS / "expectations"
        self.expected: dict[str, Any] = merged(
            *(yaml.safe_load((expectations / file).read_text(encoding="utf-8")) for file in ("all.yml", f"{name}.yml"))
        )
        self._facts = self._ask_ansible()

    def _ask_ansible(self) -> dict[str, dict[str, Any]]:
        command = ["ansible", "all", "--inventory", f"inventories/{self.name}", "--playbook-dir", "playbooks"]
        settings = {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_LOAD_CALLBACK_PLUGINS": "true"}
        done = subprocess.run(
            [*command, "--module-name", "ansible.builtin.debug", "--args", json.dumps({"msg": _QUESTION})],
            cwd=REPOSITORY,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"Ansible cannot read inventories/{self.name}:\n{done.stdout}{done.stderr}")
        answers = json.loads(done.stdout)["plays"][0]["tasks"][0]["hosts"]
        return {host: answer["msg"] for host, answer in answers.items() if host != "localhost"}

    @property
    def hosts(self) -> list[str]:
        return sorted(self._facts)

    def fact(self, name: str) -> str:
        """A variable that is the same on every host."""
        return str(next(iter(self._facts.values()))[name])

    def in_group(self, *groups: str) -> list[str]:
        return [host for host in self.hosts if set(groups) & set(self._facts[host]["groups"])]

    def expected_of(self, host: str, what: str) -> Any:
        """All that the groups of a host say about it, together."""
        said = [self.expected["groups"].get(group, {}).get(what) for group in self._facts[host]["groups"]]
        together: Any = None
        for part in said:
            if part is None:
                continue
            together = part if together is None else together + part if isinstance(part, list) else {**together, **part}
        return together

    @functools.cache  # noqa: B019 - one environment lives as long as the test run
    def connect(self, host: str) -> Any:
        return reach.connect(host, self._facts[host]["ssh"], self._facts[host]["user"])
