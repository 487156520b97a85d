#!/usr/bin/python
"""Keep folders and files of a host as they should be: many of them in one remote execution."""

from __future__ import annotations

import base64
import json
import os
import shlex
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: host_files
short_description: Keep folders and files of a host as they should be, many in one remote execution
description:
  - What M(ansible.builtin.template), M(ansible.builtin.copy) and M(ansible.builtin.file) do one at a time takes two
    remote executions for a file that has not changed: on a fleet, most of the time of a run that changes nothing.
  - Files are written atomically, in the order given, and never followed by a restart in the middle.
  - A dry run compares, shows the difference, and expects no folder that it would have made.
  - The action of the same name renders templates and reads files on the control node.
author: Tagboat
options:
  files:
    description: What is to be there, in this order.
    type: list
    elements: dict
    required: true
    suboptions:
      path: {description: Where it is on the host., type: str, required: true}
      template: {description: Template of the role that it is rendered from., type: str}
      content: {description: Its text., type: str}
      source: {description: File on the control node that it is a copy of., type: str}
      folder: {description: It is a folder., type: bool, default: false}
      owner: {description: Who owns it., type: str, default: root}
      group: {description: Its group., type: str, default: root}
      mode: {description: Its mode; of a folder C(0755) when not said., type: str, default: "0644"}
      validate: {description: Command that refuses a wrong one; C(%s) stands for the new file., type: str}
      once: {description: One that is there already is left alone., type: bool, default: false}
      secret: {description: Its text is shown in no difference., type: bool, default: false}
"""

EXAMPLES = r"""
- name: Write the configuration
  host_files:
    files:
      - {path: /etc/demo, folder: true}
      - {path: /etc/demo/demo.conf, template: etc/demo/demo.conf.j2, validate: demo --check %s}
      - {path: /etc/demo/key, source: demo.key, mode: "0600", secret: true}
"""

RETURN = r"""
paths: {description: What was changed., type: list, returned: always}
"""

ARGUMENTS: dict[str, Any] = {"payload": {"type": "str", "required": True, "no_log": True}}

# What Ansible wants to be told besides owner, group and mode: nothing.
OTHER_ATTRIBUTES: dict[str, Any] = {"secontext": [None, None, None], "attributes": None}


class Problem(Exception):
    """The new content of a file was refused. The message says which and why."""


def keep(module: Any, wanted: dict[str, Any]) -> tuple[bool, dict[str, Any] | None]:
    """Make one folder or file as `wanted`, or in check mode find out whether it is.

    Returns:
        Whether it was not, and the difference to show, if there is one.

    Raises:
        OSError: it cannot be read or written.
        Problem: the new content was refused.
    """
    path = Path(wanted["path"])
    there = path.is_dir() if wanted["folder"] else path.is_file()
    if there and wanted["once"]:
        return False, None
    difference = None
    changed = not there
    if wanted["folder"]:
        if not there and not module.check_mode:
            path.mkdir(parents=True)
    else:
        old, new = path.read_bytes() if there else b"", base64.b64decode(wanted["content"])
        if not there or old != new:
            changed = True
            if not wanted["secret"]:
                difference = {"before_header": str(path), "after_header": str(path)}
                difference |= {"before": _text(old), "after": _text(new)}
            if not module.check_mode:
                _write(module, path, wanted, new)
    if there or not module.check_mode:
        changed = module.set_fs_attributes_if_different(_attributes(wanted, path), changed)
    return changed, difference


def _attributes(wanted: dict[str, Any], path: Path) -> dict[str, Any]:
    return {"path": str(path), **{name: wanted[name] for name in ("owner", "group", "mode")}, **OTHER_ATTRIBUTES}


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _write(module: Any, path: Path, wanted: dict[str, Any], content: bytes) -> None:
    number, name = tempfile.mkstemp(prefix=".tagboat-", dir=path.parent)
    new = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
        if wanted["validate"]:
            command = [word.replace("%s", name) for word in shlex.split(wanted["validate"])]
            code, out, err = module.run_command(command)
            if code:
                raise Problem(
                    f"{path} stays as it was, the new one was refused: {(err or out).strip() or f'exit code {code}'}"
                )
        module.set_fs_attributes_if_different(_attributes(wanted, new), False)
        module.atomic_move(name, str(path), keep_dest_attrs=False)
    finally:
        new.unlink(missing_ok=True)


def main() -> None:
    """Keep all of them, or stop at the first that cannot be."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    done: dict[str, list[Any]] = {"paths": [], "diff": []}
    for wanted in json.loads(base64.b64decode(module.params["payload"])):
        try:
            changed, difference = keep(module, wanted)
        except Problem as problem:
            module.fail_json(msg=str(problem), changed=bool(done["paths"]), **done)
        except OSError as error:
            reason = f"{wanted['path']} cannot be kept as it should be: {error.strerror}"
            module.fail_json(msg=reason, changed=bool(done["paths"]), **done)
        if changed:
            done["paths"].append(wanted["path"])
        if difference:
            done["diff"].append(difference)
    module.exit_json(changed=bool(done["paths"]), **done)


if __name__ == "__main__":
    main()
