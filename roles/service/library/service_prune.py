#!/usr/bin/python
"""Ansible module: remove the images and stopped containers that no release of a host needs any more."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_prune
short_description: Remove images and stopped containers that no release needs
description:
  - Keeps what runs, live and standby, and the newest releases of the release record. The decisions are in
    module_utils/tagboat/prune.py.
  - Touches images of the services' own repositories only, and no service that a rollout is at work on.
options:
  services:
    description: 'Services of this host to prune: name to the repository of its images.'
    type: dict
    required: true
  keep: {description: 'How many releases stay: name of a service to number.', type: dict, default: {}}
  rollout: {description: 'Who and what, for the leases: V(id), V(by), V(what).', type: dict, required: true}
"""

RETURN = r"""
kept:
  description: 'What this host must be able to start: repository to digest to tag.'
  type: dict
  returned: unless nobody can tell, because a rollout is at work or the release record is damaged
removed: {description: 'What was removed, or would be in check mode.', type: list, returned: always}
freed_bytes: {description: Bytes given back; in check mode at least that many., type: int, returned: always}
"""

import contextlib  # noqa: E402  the documentation of a module comes first
from typing import Any  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402
from ansible.module_utils.tagboat import prune  # noqa: E402
from ansible.module_utils.tagboat.host import ENGINE_SOCKET, CommandError, Host  # noqa: E402
from ansible.module_utils.tagboat.lease import Lease, LeaseHeldError  # noqa: E402
from ansible.module_utils.tagboat.record import RecordError, read  # noqa: E402


def disk_usage(host: Host) -> dict[str, Any]:
    """Return the engine's images and containers with the bytes they take; the command line rounds those.

    Raises:
        OSError: the engine does not answer.
        CommandError: it does not say.
    """
    usage = host.engine("GET", "/system/df")
    if usage is None:
        raise CommandError("the Docker engine does not say what takes space")
    return usage


def names(usage: dict[str, Any]) -> set[str]:
    """Return every container's name and every image's references."""
    found = {container["Names"][0].lstrip("/") for container in usage.get("Containers") or []}
    for image in usage.get("Images") or []:
        found.update(image["RepoTags"] or [], image["RepoDigests"] or [])
    return found


def remove(host: Host, services: dict[str, str], digests: set[str], result: dict[str, Any], dry_run: bool) -> None:
    """Remove what these services no longer need; tell `result` what went, and the bytes that gave back.

    Raises:
        CommandError: something could not be removed; the rest was.
    """
    before = disk_usage(host)

    def spoken(names: list[str]) -> list[str]:
        return [prune.spoken(name, before.get("Images") or []) for name in names]

    containers = prune.doomed_containers(before.get("Containers") or [], services, digests)
    used = [one["ImageID"] for one in before.get("Containers") or [] if one["Names"][0].lstrip("/") not in containers]
    images = prune.doomed_images(before.get("Images") or [], used, services.values(), digests)
    if dry_run or not (containers or images):
        result.update(removed=spoken([*containers, *images]), freed_bytes=sum(images.values()))
        return
    try:
        # Without --force: should anything use them after all, the engine says no.
        if containers:
            host.run(["docker", "rm", *containers])
        if images:
            host.run(["docker", "rmi", *images], timeout_seconds=600)
    finally:
        after = disk_usage(host)
        gone = [name for name in (*containers, *images) if name not in names(after)]
        result.update(removed=spoken(gone), freed_bytes=int(before.get("LayersSize", 0) - after.get("LayersSize", 0)))


def main() -> None:
    """Prune under the leases of the services, so that no rollout loses an image it has just pulled."""
    module = AnsibleModule(
        {
            "services": {"type": "dict", "required": True},
            "keep": {"type": "dict", "default": {}},
            "rollout": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    host, services, keep = Host(), module.params["services"], module.params["keep"]

    try:
        kept = prune.kept_digests(read(host), keep)
    except RecordError as error:  # then nobody knows what this host needs
        module.fail_json(msg=str(error))
    leases = {name: Lease(host, name, module.params["rollout"]) for name in sorted(services)}
    if module.check_mode:
        for lease in leases.values():
            if at_work := lease.holder():
                module.fail_json(msg=f"{at_work['by']} is at work: {at_work['what']}")
    result: dict[str, Any] = {"kept": kept, "removed": [], "freed_bytes": 0}
    problem = ""
    if services and host.exists(ENGINE_SOCKET):  # else the host was never prepared, and has nothing to remove
        try:
            with contextlib.ExitStack() as held:
                for lease in () if module.check_mode else leases.values():
                    lease.take(first=True)
                    held.callback(lease.release)
                    held.enter_context(lease)
                result["kept"] = prune.kept_digests(read(host), keep)  # a rollout may just have ended
                digests = {digest for tags in result["kept"].values() for digest in tags}
                remove(host, services, digests, result, module.check_mode)
        except LeaseHeldError as error:  # what that rollout brings, the record does not name yet
            module.fail_json(msg=str(error))
        except (CommandError, RecordError, OSError) as error:
            problem = str(error)
    result["changed"] = bool(result["removed"])
    if problem:
        module.fail_json(msg=problem, **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
