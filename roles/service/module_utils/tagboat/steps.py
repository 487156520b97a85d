"""One step of a rollout on this host, from arguments to answer: for the Ansible module and a whole rollout alike."""

from __future__ import annotations

from typing import Any

from .host import CommandError, Host
from .lease import LeaseHeldError
from .rollout import Rollout, RolloutError, same

STEPS = ("status", "preflight", "migrate", "switch", "undo", "finish")


def take(arguments: dict[str, Any], check: bool = False) -> dict[str, Any]:
    """Take a step and return its result; with `check` change nothing and tell what would change.

    What goes wrong is in the result as `failed`, `msg` and `log`, with what serves now in `status`.
    """
    given = {"rollout": {}, "secrets": {}, "left": "standby", "reason": "", "force": False, **arguments}
    rollout = Rollout(Host(), given["service"], given["rollout"], given.get("environment_name", ""), given["host_name"])
    result: dict[str, Any] = {"changed": False}
    try:
        if check:
            if given["step"] == "switch":
                live = rollout.record.live
                result["changed"] = live is None or not same(live, given["release"]) or given["force"]
                result["diff"] = rollout.preview(given["release"])
        else:
            result.update(_step(rollout, given))
            if given.get("last"):
                rollout.finish()
    except (RolloutError, LeaseHeldError, CommandError, OSError) as error:
        result.update(failed=True, msg=str(error), log=getattr(error, "log", ""))
    return {**result, "status": rollout.status(), "timings": rollout.timings}


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
    elif step == "finish":
        rollout.finish()
    return {}
