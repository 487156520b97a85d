"""One step of a rollout on this host, from arguments to answer: for the Ansible module and a whole rollout alike."""

from __future__ import annotations

from typing import Any

from .host import CommandError, Host
from .lease import LeaseHeldError
from .rollout import Rollout, RolloutError, same

STEPS = ("status", "preflight", "migrate", "switch", "undo", "finish", "begin_maintenance", "end_maintenance")
MAINTENANCE = {"begin_maintenance": True, "end_maintenance": False}


def take(arguments: dict[str, Any], check: bool = False, host: Host | None = None) -> dict[str, Any]:
    """Take a step and return its result; with `check` change nothing and tell what would change.

    Args:
        arguments: `step`, `service`, `host_name` and what the step needs.
        check: change nothing.
        host: where to take it; this machine unless a test says otherwise.

    What goes wrong is in the result as `failed`, `msg` and `log`, with what serves now in `status`.
    """
    given = {"rollout": {}, "secrets": {}, "left": "standby", "reason": "", "force": False, **arguments}
    rollout = Rollout(
        host or Host(), given["service"], given["rollout"], given.get("environment_name", ""), given["host_name"]
    )
    result: dict[str, Any] = {"changed": False}
    try:
        if check:
            result.update(_dry_step(rollout, given))
        else:
            result.update(_step(rollout, given))
            if given.get("last"):
                rollout.finish()
    except (RolloutError, LeaseHeldError, CommandError, OSError) as error:
        result.update(failed=True, msg=str(error), log=getattr(error, "log", ""))
    return {**result, "status": rollout.status(), "timings": rollout.timings}


def _dry_step(rollout: Rollout, given: dict[str, Any]) -> dict[str, Any]:
    step, release = given["step"], given.get("release")
    if step == "preflight" and release:
        rollout.refuse_when_frozen()
    elif step == "switch":
        live = rollout.record.live
        changed = live is None or not same(live, given["release"]) or given["force"]
        return {"changed": changed, "diff": rollout.preview(given["release"])}
    elif step in MAINTENANCE:
        return {"changed": rollout.edge.in_maintenance() != MAINTENANCE[step]}
    return {}


def _step(rollout: Rollout, given: dict[str, Any]) -> dict[str, Any]:
    step = given["step"]
    if step == "preflight":
        rollout.preflight(given.get("release"), given.get("first", False), given.get("min_free_mb", 0))
    elif step == "migrate":
        output = rollout.migrate(given["release"], given["secrets"], given.get("migrate_seconds", 600))
        return {"changed": True, "output": output}
    elif step == "switch":
        changed = rollout.switch(given["release"], given["secrets"], given["left"], given["reason"], given["force"])
        return {"changed": changed}
    elif step == "undo":
        return {"changed": rollout.undo(given["secrets"], given["reason"])}
    elif step in MAINTENANCE:
        return {"changed": rollout.maintain(on=MAINTENANCE[step])}
    elif step == "finish":
        rollout.finish()
    return {}
