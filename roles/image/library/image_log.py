#!/usr/bin/python
"""Wait on the build server for news of a build run: new log lines, or its end."""

from __future__ import annotations

import fcntl
import json
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: image_log
short_description: New lines of a build run's log, and whether it is done
description:
  - Answers as soon as there is something to say, at the latest after C(wait_seconds), so that following a build
    live costs a remote execution every few seconds. Changes nothing.
author: Tagboat
options:
  work_dir: {description: Folder of the builds, type: path, required: true}
  run: {description: Name of the run, type: str, required: true}
  offset: {description: Bytes of the log that are known already, type: int, default: 0}
  wait_seconds: {description: Longest time to wait for news, type: float, default: 5}
"""

_AT_MOST = 256 * 1024
_LOOK_EVERY_SECONDS = 0.1
# Lines come in bursts: a short pause after the first makes one answer of a burst.
_GATHER_SECONDS = 0.7


def read_lines(path: Path, offset: int) -> tuple[list[str], int]:
    """Whole lines after `offset`; a line that is still being written waits for its end."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(_AT_MOST)
    except OSError:
        return [], offset
    whole = data[: data.rfind(b"\n") + 1]
    return whole.decode(errors="replace").splitlines(), offset + len(whole)


def state_of(folder: Path) -> str:
    """absent (not started yet), running, dead (ended without a result) or done."""
    if (folder / "result.json").is_file():
        return "done"
    try:
        with (folder / "alive").open() as alive:
            fcntl.flock(alive, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return "absent"
    except BlockingIOError:
        return "running"
    # It may have ended between the two looks.
    return "done" if (folder / "result.json").is_file() else "dead"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "work_dir": {"type": "path", "required": True},
            "run": {"type": "str", "required": True},
            "offset": {"type": "int", "default": 0},
            "wait_seconds": {"type": "float", "default": 5.0},
        },
        supports_check_mode=True,
    )
    folder = Path(module.params["work_dir"]) / "runs" / module.params["run"]
    deadline = time.monotonic() + module.params["wait_seconds"]
    while True:
        # The state first: lines written after it was read are read below or the next time.
        state = state_of(folder)
        lines, offset = read_lines(folder / "log", module.params["offset"])
        if state in ("done", "dead") or time.monotonic() > deadline:
            break
        if lines:
            time.sleep(_GATHER_SECONDS)
            state = state_of(folder)
            lines, offset = read_lines(folder / "log", module.params["offset"])
            break
        time.sleep(_LOOK_EVERY_SECONDS)
    result: dict[str, Any] = {}
    more = state == "done" and (folder / "log").is_file() and offset < (folder / "log").stat().st_size
    if state == "done" and not more:
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    module.exit_json(changed=False, state="running" if more else state, lines=lines, offset=offset, result=result)


if __name__ == "__main__":
    main()
