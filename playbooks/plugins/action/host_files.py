"""Action `host_files`: render and read on the control node what the module of the same name keeps on a host."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

DEFAULTS: dict[str, Any] = {
    "folder": False,
    "owner": "root",
    "group": "root",
    "mode": "0644",
    "validate": "",
    "once": False,
    "secret": False,
}
SOURCES = ("template", "content", "source")
SWITCHES = ("folder", "once", "secret")


def checked(files: Any) -> list[dict[str, Any]]:
    """Return the entries of the argument `files` with their defaults filled in.

    Raises:
        ValueError: one of them is wrong; the message says which and how.
    """
    if not isinstance(files, list):
        raise ValueError("files is to be a list")
    entries = []
    for number, given in enumerate(files, 1):
        if not isinstance(given, Mapping) or not str(given.get("path", "")).startswith("/"):
            raise ValueError(f"entry {number} of files needs an absolute path")  # shown without its text: a secret?
        path = given["path"]
        if unknown := sorted(set(given) - {"path", *SOURCES, *DEFAULTS}):
            raise ValueError(
                f"{path}: unknown key {', '.join(unknown)}. Known: path, {', '.join([*SOURCES, *DEFAULTS])}"
            )
        entry = {**DEFAULTS, **given}
        if wrong := [name for name in SWITCHES if not isinstance(entry[name], bool)]:
            raise ValueError(f"{path}: {', '.join(wrong)} is to be true or false")
        if not isinstance(entry["mode"], str):
            raise ValueError(f"{path}: mode is to be in quotation marks, or YAML makes another number of it")
        if len([name for name in SOURCES if name in given]) != (0 if entry["folder"] else 1):
            raise ValueError(f"{path}: a file needs one of {', '.join(SOURCES)}, a folder none")
        if entry["folder"] and "mode" not in given:
            entry["mode"] = "0755"
        entries.append(entry)
    return entries


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core ships no types
    """Give the module its entries with their content."""

    _VALID_ARGS = frozenset({"files"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fail before the host is asked when an entry is wrong or cannot be rendered."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        try:
            entries = checked(self._task.args.get("files"))
        except ValueError as error:
            raise AnsibleActionFail(str(error)) from None
        for entry in entries:
            content = self._content(entry, variables)
            for name in SOURCES:
                entry.pop(name, None)
            entry["content"] = base64.b64encode(content).decode()
        payload = base64.b64encode(json.dumps(entries).encode()).decode()
        result.update(self._execute_module("host_files", module_args={"payload": payload}, task_vars=variables))
        if result.get("failed"):
            result["msg"] = f"{result.get('msg', '')}\nNext, when that is mended: make site"
        return result

    def _content(self, entry: dict[str, Any], variables: dict[str, Any]) -> bytes:
        if "template" in entry:
            return self._rendered(str(entry["template"]), variables).encode()
        if "source" in entry:
            found = self._needle("files", str(entry["source"]))
            return Path(self._loader.get_real_file(found)).read_bytes()  # decrypted, where it is in a vault
        return str(entry.get("content", "")).encode()

    def _rendered(self, name: str, variables: dict[str, Any]) -> str:
        source = self._needle("templates", name)
        places = [*variables.get("ansible_search_path", []), self._loader.get_basedir(), str(Path(source).parent)]
        search = [place for one in places for place in (f"{one}/templates", one)]
        templar = self._templar.copy_with_new_env(searchpath=search, available_variables=variables)
        text = trust_as_template(self._loader.get_text_file_contents(source))
        rendered = templar.template(text, escape_backslashes=False, overrides={"trim_blocks": True})
        return "" if rendered is None else str(rendered)

    def _needle(self, folder: str, name: str) -> str:
        try:
            return str(self._find_needle(folder, name))
        except AnsibleError as error:
            raise AnsibleActionFail(str(error)) from None
