"""One step of a rollout on this host, from arguments to answer: for the Ansible module and a whole rollout alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .host import CommandError, Host
from .lease import LeaseHeldError
from .record import RecordError, recorded_services
from .rollout import Rollout, RolloutError, same

MAINTENANCE = {"begin_maintenance": True, "end_maintenance": False}


def take(arguments: dict[str, Any], check: bool = False, host: Host | None = None) -> dict[str, Any]:
    """Take a step and return its result; with `check` change nothing and tell what would change.

    Args:
        arguments: `step`, `service`, `host_name` and what the step needs.
        check: change nothing.
        host: where to take it; this machine unless a test says otherwise.

    What goes wrong is in the result as `failed`, `msg` and `log`, with what serves now in `status`, unless the release
    record is damaged: then nobody knows.
    """
    host = host or Host()
    given = {"rollout": {}, "secrets": {}, "left": "standby", "reason": "", "force": False, **arguments}
    result: dict[str, Any] = {"changed": False}
    try:
        rollout = Rollout(
            host, given["service"], given["rollout"], given.get("environment_name", ""), given["host_name"]
        )
    except RecordError as error:
        return {**result, "failed": True, "msg": str(error), "log": "", "timings": {}, "uptime": host.clock()}
    if given["step"] == "hold":
        rollout.lease.prolong()
        return result  # nobody reads more of it, and an engine that hangs must not hold it up
    try:
        if check:
            result.update(_dry_step(rollout, given))
        else:
            _refuse_when_late(rollout, given)
            result.update(STEPS[given["step"]](rollout, given))
            if given.get("last"):
                rollout.finish()
    except (RolloutError, LeaseHeldError) as error:
        blames = getattr(error, "blames", False)
        result.update(failed=True, msg=str(error), log=getattr(error, "log", ""), blames=blames)
        if given.get("last") and not check:
            rollout.finish()  # no other step comes that would let the lease go
    except (CommandError, RecordError, OSError) as error:  # the host's fault: a full disk, an engine that hangs
        result.update(failed=True, msg=f"{error}; {rollout.serving()}", log="")
    return {
        **result,
        "service": given["service"],
        "status": rollout.status(),
        "timings": rollout.timings,
        "uptime": rollout.host.clock(),
    }


def _refuse_when_late(rollout: Rollout, given: dict[str, Any]) -> None:
    """Do nothing that nobody waits for any more: a host that was frozen or cut off finds old requests when it wakes up.

    Raises:
        RolloutError: `begin_by`, on this host's uptime, is over.
    """
    late = rollout.host.clock() - given.get("begin_by", float("inf"))
    if late > 0:
        raise RolloutError(
            f"this came {late:.0f} s too late, when the rollout had given this host up; {rollout.serving()}"
        )


def _dry_step(rollout: Rollout, given: dict[str, Any]) -> dict[str, Any]:
    step, release = given["step"], given.get("release")
    if step == "preflight" and release:
        rollout.refuse_when_frozen()
    elif step == "switch":
        live = rollout.record.live
        changed = live is None or not same(live, given["release"]) or given["force"]
        return {"changed": changed, "diff": rollout.preview(given["release"])}
    elif step == "remove":
        return {"changed": True}
    elif step in MAINTENANCE:
        return {"changed": rollout.edge.in_maintenance() != MAINTENANCE[step]}
    return {}


def _preflight(rollout: Rollout, given: dict[str, Any]) -> dict[str, Any]:
    rollout.preflight(given.get("release"), given.get("first", False), given.get("min_free_mb", 0))
    return {"answers": rollout.edge.answers()}


def _switch(rollout: Rollout, given: dict[str, Any]) -> dict[str, Any]:
    if given.get("migrate_seconds"):
        rollout.migrate(given["release"], given["secrets"], given["migrate_seconds"])
    changed = rollout.switch(given["release"], given["secrets"], given["left"], given["reason"], given["force"])
    return {"changed": changed, "answers": rollout.edge.answers()}


def _watch(rollout: Rollout, given: dict[str, Any]) -> dict[str, Any]:
    rollout.watch(given["watch"])
    return {}


def _undo(rollout: Rollout, given: dict[str, Any]) -> dict[str, Any]:
    return {"changed": rollout.undo(given["secrets"], given["reason"], given["left"])}


def _maintain(rollout: Rollout, given: dict[str, Any]) -> dict[str, Any]:
    return {"changed": rollout.maintain(on=MAINTENANCE[given["step"]])}


def _remove(rollout: Rollout, _given: dict[str, Any]) -> dict[str, Any]:
    rollout.remove()
    return {"changed": True}


def _nothing(_rollout: Rollout, _given: dict[str, Any]) -> dict[str, Any]:
    return {}


def statuses(host: Host, host_name: str, services: list[str], only: list[str]) -> dict[str, Any]:
    """Return what this host runs and ran, of every service that is here, whether it belongs here or not.

    Args:
        host: this host.
        host_name: the inventory's name of it.
        services: what belongs here.
        only: services to tell of; empty: all of them, orphans included.

    Raises:
        RecordError: its record cannot be read.

    Returns:
        `statuses`: service -> as `Rollout.status` has it; `orphans`: services that nothing deploys here any more.
    """
    here = {*recorded_services(host), *host.folders("/etc/tagboat")}
    orphans = [] if only else sorted(here - {*services})
    asked = [name for name in services if not only or name in only]
    return {
        "statuses": {name: Rollout(host, name, {}, host_name=host_name).status() for name in [*asked, *orphans]},
        "orphans": orphans,
    }


STEPS: dict[str, Callable[[Rollout, dict[str, Any]], dict[str, Any]]] = {
    "status": _nothing,
    "preflight": _preflight,
    "switch": _switch,
    "watch": _watch,
    "undo": _undo,
    "finish": _nothing,  # what ends every `last` step is all of it
    "remove": _remove,
    "begin_maintenance": _maintain,
    "end_maintenance": _maintain,
}
