"""Render a role's template as Ansible would: its own Templar, the role's defaults and vars, undefined ones fail."""

from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import add_all_plugin_dirs, init_plugin_loader
from ansible.template import Templar, trust_as_template

REPOSITORY = Path(__file__).resolve().parents[2]
MANAGED = "Managed by Tagboat: changes made here are overwritten."

init_plugin_loader()


def variables_of(role: Path) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for folder in ("defaults", "vars"):
        file = role / folder / "main.yml"
        if file.exists():
            merged |= yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    return merged


def trusted(value: Any) -> Any:
    """Templates in defaults are ours, hence trusted; Ansible trusts nothing it did not load from a playbook itself."""
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, list):
        return [trusted(item) for item in value]
    if isinstance(value, dict):
        return {key: trusted(item) for key, item in value.items()}
    return value


def render(template: str, *roles: str, **overrides: Any) -> str:
    """Render `template` of the first role; further roles are those that import it or that it is looked up in."""
    folders = [REPOSITORY / "roles" / role for role in roles]
    variables: dict[str, Any] = {"ansible_managed": MANAGED, "ansible_facts": {}}
    for folder in folders:
        add_all_plugin_dirs(str(folder))
        variables |= variables_of(folder)
    templar = Templar(loader=DataLoader(), variables=trusted(variables | overrides))
    templar = templar.copy_with_new_env(searchpath=[str(folder / "templates") for folder in folders])
    source = (folders[0] / "templates" / template).read_text(encoding="utf-8")
    return str(templar.template(trust_as_template(source), preserve_trailing_newlines=True, escape_backslashes=False))


def section(text: str, heading: str) -> list[str]:
    """The directives of one `frontend web` or `backend web-a` block, without indentation and comments."""
    lines = text.splitlines()
    start = lines.index(heading) + 1
    block: list[str] = []
    for line in lines[start:]:
        if line and not line.startswith(" "):
            break
        if line.strip() and not line.strip().startswith("#"):
            block.append(line.strip())
    return block
