"""Action `check_request`: refuse a misspelt or missing `-e` before any host is touched.

Ansible takes every extra variable without a word, so `-e servce=web` would silently do something else.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

ROOT = Path(__file__).resolve().parents[3]


def defined_names(root: Path, inventory_dir: Path) -> set[str]:
    """Return the names that defaults and group variables define: everything `-e` may reasonably override."""
    files = [
        *root.glob("roles/*/defaults/main.yml"),
        *root.glob("playbooks/group_vars/**/*.yml"),
        *inventory_dir.glob("group_vars/**/*.yml"),
    ]
    names: set[str] = set()
    for file in files:
        text = file.read_text()
        if not text.startswith("$ANSIBLE_VAULT"):
            # Composed, not constructed: only the names matter, and values may bear tags such as !vault.
            top = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            if isinstance(top, yaml.MappingNode):
                names |= {str(key.value) for key, _ in top.value}
    return names


def problems(
    given: dict[str, Any], inputs: dict[str, dict[str, Any]], defined: Iterable[str], example: str
) -> list[str]:
    """Say what is wrong with the extra variables of a playbook run; an empty list when nothing is.

    Args:
        given: the extra variables.
        inputs: name -> {required, choices, pattern, means} of the playbook's own; `means` says the pattern in words.
        defined: other names that may be overridden.
        example: a command that works, shown when something is missing.
    """
    defined = set(defined)
    found = []
    for name in sorted(set(given) - set(inputs) - defined):
        if name.startswith("ansible_"):
            continue
        close = difflib.get_close_matches(name, [*inputs, *defined], n=1, cutoff=0.6)
        hint = f" Did you mean {close[0]}?" if close else ""
        found.append(f"unknown variable {name}.{hint} This playbook takes: {', '.join(inputs)}.")
    for name, rule in inputs.items():
        value = given.get(name)
        if value in (None, ""):
            if rule.get("required"):
                found.append(f"{name} is missing. For example: {example}")
        elif "pattern" in rule and not re.fullmatch(rule["pattern"], str(value)):
            found.append(f"{name} is to be {rule['means']}, not {value!r}. For example: {example}")
        elif "choices" in rule and value not in rule["choices"]:
            close = difflib.get_close_matches(str(value), [str(choice) for choice in rule["choices"]], n=1, cutoff=0.5)
            hint = f" Did you mean {close[0]}?" if close else ""
            known = ", ".join(str(choice) for choice in rule["choices"]) or "none"
            found.append(f"there is no {name} {value}.{hint} Known: {known}.")
    return found


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core ships no types
    """Fail with every problem at once, in the words of `problems`."""

    _requires_connection = False
    _VALID_ARGS = frozenset({"inputs", "example"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Compare the command line's extra variables with what the playbook takes."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        inventory_dir = variables.get("inventory_dir") or (variables.get("ansible_inventory_sources") or ["."])[0]
        found = problems(
            dict(load_extra_vars(DataLoader())),
            self._task.args["inputs"],
            defined_names(ROOT, Path(inventory_dir)),
            self._task.args.get("example", ""),
        )
        if found:
            raise AnsibleActionFail("Nothing was touched: " + " ".join(found))
        return {"changed": False}
