"""What prune asks of each host and of the registry, and what people read of it. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NEEDED = "needed "

Catalogue = Mapping[str, Mapping[str, Any]]


def repositories(services: Catalogue, registry: str) -> dict[str, str]:
    """Return service -> the repository its images are pulled from."""
    return {name: f"{registry}/{service['image']}" for name, service in services.items()}


def keep_releases(services: Catalogue, keep: int | str = "") -> dict[str, int]:
    """Return service -> how many releases stay: `keep` of each, or what the catalogue says."""
    return {name: int(keep or service["keep_releases"]) for name, service in services.items()}


def keep_tags(services: Catalogue, images: Iterable[str], others: int, keep: int | str = "") -> dict[str, int]:
    """Return image -> how many version tags stay in the registry.

    Args:
        services: the catalogue. Of services that share an image, the one that keeps most decides.
        images: every image the build server knows.
        others: how many tags stay of an image that is no service's, a parent for example.
        keep: what a person asked for, for all of them.
    """
    found: dict[str, int] = {}
    for service in services.values():
        found[service["image"]] = max(service["keep_releases"], found.get(service["image"], 0))
    return {image: int(keep or found.get(image, others)) for image in sorted({*images, *found})}


def _results(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {host: hostvars[host].get("__service_pruned") or {} for host in hosts}


def needed(hosts: Sequence[str], hostvars: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return image -> digests that these hosts run, have as standby or may roll back to."""
    found: dict[str, list[str]] = {}
    for result in _results(hosts, hostvars).values():
        for repository, digests in (result.get("kept") or {}).items():
            image = found.setdefault(repository.partition("/")[2], [])
            image += [digest for digest in digests if digest not in image]
    return found


def needed_by_all(environments: Iterable[Mapping[str, Sequence[str]]], also: Iterable[str]) -> dict[str, list[str]]:
    """Add up what several environments need, and what a person named.

    Args:
        environments: as `needed` returns it, of each.
        also: `image:tag` or `image@digest`.
    """
    found: dict[str, list[str]] = {}
    for environment in environments:
        for image, digests in environment.items():
            found.setdefault(image, []).extend(digests)
    for reference in also:
        at = "@" if "@" in reference else ":"
        image, _, which = reference.partition(at)
        found.setdefault(image, []).append(which)
    return found


def silent(hosts: Sequence[str], hostvars: Mapping[str, Any]) -> list[str]:
    """Name the hosts that did not tell what they need."""
    return [host for host, result in _results(hosts, hostvars).items() if "kept" not in result]


def tell_needed(needs: Mapping[str, Sequence[str]]) -> str:
    """Write what an environment needs as the one line that `told_needed` finds again in a playbook's output."""
    return NEEDED + json.dumps(needs)


def told_needed(output: str) -> dict[str, list[str]]:
    """Read what another environment needs from the output of its `needed.yml`."""
    line = next(line for line in output.splitlines() if line.startswith(NEEDED))
    told: dict[str, list[str]] = json.loads(line.removeprefix(NEEDED))
    return told


def why_not_collect(builders: Sequence[str], hostvars: Mapping[str, Any]) -> str:
    """Say why the registry must not collect garbage now, or '': a push that meets it has to be repeated."""
    for host in builders:
        result = hostvars[host].get("__image_building") or {}
        if "stdout" not in result:
            return f"build server {host} does not answer"
        if images := result["stdout"].split():
            return f"{', '.join(name.removesuffix('.lock') for name in images)} is being built"
    return ""


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


def prune_problems(hosts: Sequence[str], hostvars: Mapping[str, Any], registries: Sequence[str]) -> list[str]:
    """Say what went wrong: one line a host, one for the registry; empty when all is well."""
    found = []
    for host, result in _results(hosts, hostvars).items():
        if result.get("unreachable") or not result:
            found.append(f"{host}: it cannot be reached by SSH")
        elif result.get("failed"):
            found.append(f"{host}: {result['msg']}")
    if registries:
        here = hostvars["localhost"]
        if unknown := here["service_unknown"]:
            found.append(f"registry: nothing was removed, for what {', '.join(unknown)} may need is not known")
        if (here.get("__registry_pruned") or {}).get("failed"):
            found.append(f"registry: {here['__registry_pruned']['msg']}")
    for host in registries:
        if (hostvars[host].get("__registry_collected") or {}).get("failed"):
            found.append(f"{host}: collecting garbage failed: {hostvars[host]['__registry_collected']['stderr']}")
    return found


def prune_report(
    hosts: Sequence[str], hostvars: Mapping[str, Any], registries: Sequence[str], not_collected: str, dry_run: bool
) -> str:
    """Say what was removed, and the bytes that gave back: a line a host, a line for the registry.

    Args:
        hosts: hosts with an engine.
        hostvars: Ansible's, with the result of each host.
        registries: the registry's host, or none.
        not_collected: why the registry's space did not come back.
        dry_run: nothing was removed, only listed.
    """
    verb, size = ("would remove", "at least ") if dry_run else ("removed", "")
    lines = []
    for host, result in _results(hosts, hostvars).items():
        if removed := result.get("removed"):
            lines.append(f"{host}: {verb} {', '.join(removed)}; {size}{_size(result['freed_bytes'])} freed")
    tags = (hostvars["localhost"].get("__registry_pruned") or {}).get("removed") or []
    for host in registries:
        before, after = (hostvars[host].get(name) or {} for name in ("__registry_stored", "__registry_still_stored"))
        freed = int(before["stdout"].split()[0]) - int(after["stdout"].split()[0]) if "stdout" in after else 0
        if tags or freed > 0:
            gained = f"; {_size(freed)} freed" if freed > 0 else ""
            lines.append(f"{host}: {verb} {', '.join(tags) or 'what no tag pointed at'}{gained}")
        if tags and not_collected:
            lines.append(f"{host}: the space comes back with a later prune, {not_collected}")
    return "\n".join(lines or ["Nothing to remove: all that is there is needed."])


class FilterModule:
    """Filters of prune."""

    def filters(self) -> dict[str, Any]:
        """Name the filters for Ansible."""
        return {
            "keep_releases": keep_releases,
            "keep_tags": keep_tags,
            "needed": needed,
            "needed_by_all": needed_by_all,
            "prune_problems": prune_problems,
            "prune_report": prune_report,
            "repositories": repositories,
            "silent": silent,
            "tell_needed": tell_needed,
            "told_needed": told_needed,
            "why_not_collect": why_not_collect,
        }
