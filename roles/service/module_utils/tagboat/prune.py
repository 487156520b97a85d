"""What a host no longer needs. Decisions only: they read the release record and the engine's inventory, as data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .record import FAILED, GOOD, LIVE, STANDBY

Release = Mapping[str, Any]

STOPPED = ("created", "exited", "dead")


def kept(releases: Sequence[Release], keep: int) -> list[Release]:
    """Pick the releases whose images stay: live, standby, and the `keep` newest that a rollback may choose.

    A refused release counts for nothing, for no rollback goes there. One that was rolled back stays while it is newer
    than the last of the good ones, but takes no good one's place: bad releases never cost anyone a way back.

    Args:
        releases: a service's releases, newest first.
        keep: how many good ones.
    """
    found: list[Release] = []
    good: set[str] = set()
    for release in releases:
        is_in_time = len(good) < keep or release["digest"] in good
        if release["result"] in (LIVE, STANDBY) or (release["result"] != FAILED and is_in_time):
            found.append(release)
            if release["result"] in GOOD:
                good.add(release["digest"])
    return found


def repository(image: str) -> str:
    """Return an image reference without its tag or digest: `registry1:5000/web` of `registry1:5000/web@sha256:…`."""
    name = image.split("@", 1)[0]
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.split(":", 1)[0]


def kept_digests(record: Mapping[str, Any], keep: Mapping[str, int]) -> dict[str, dict[str, str]]:
    """Return repository -> digest -> tag of everything this host's services, all of them, must be able to start.

    Args:
        record: the host's release record.
        keep: service -> how many releases. Of a service that is not named everything stays that its record knows.
    """
    found: dict[str, dict[str, str]] = {}
    for service, own in record.get("services", {}).items():
        releases = own["releases"]
        for release in kept(releases, keep.get(service, len(releases))):
            found.setdefault(repository(release["image"]), {})[release["digest"]] = release["tag"]
    return found


def doomed_containers(
    containers: Iterable[Mapping[str, Any]], services: Iterable[str], digests: Iterable[str]
) -> list[str]:
    """Name the stopped containers of these services that run none of these digests.

    Args:
        containers: as the engine's /system/df lists them.
        services: names of the services to prune.
        digests: what stays.
    """
    services, digests = set(services), set(digests)
    return [
        container["Names"][0].lstrip("/")
        for container in containers
        if container["State"] in STOPPED
        and container["Labels"].get("tagboat.service") in services
        and container["Labels"].get("tagboat.digest") not in digests
    ]


def doomed_images(
    images: Iterable[Mapping[str, Any]],
    used: Iterable[str],
    repositories: Iterable[str],
    digests: Iterable[str],
) -> dict[str, int]:
    """Return reference -> bytes that only this image takes, of the images in these repositories that nobody needs.

    Only images that came from a registry: they have a digest. What was built here and is on its way there has none.

    Args:
        images: as the engine's /system/df lists them.
        used: ids of images that a container uses, whoever's it is.
        repositories: the services' repositories. Nothing outside them is ever touched.
        digests: what stays.
    """
    used, repositories, digests = set(used), set(repositories), set(digests)
    found: dict[str, int] = {}
    for image in images:
        by_digest = [name for name in image["RepoDigests"] or [] if repository(name) in repositories]
        if image["Id"] in used or not by_digest or any(name.split("@")[1] in digests for name in by_digest):
            continue
        # A repository's digests go with its last tag.
        by_tag = [name for name in image["RepoTags"] or [] if repository(name) in repositories]
        tagged = {repository(name) for name in by_tag}
        names = by_tag + [name for name in by_digest if repository(name) not in tagged]
        found.update(dict.fromkeys(names, 0))
        found[names[0]] = image["Size"] - max(image["SharedSize"], 0)
    return found


def spoken(name: str, images: Iterable[Mapping[str, Any]]) -> str:
    """Name a removed container or image as people do: `web v1` of `registry1:5000/web@sha256:…`."""
    if "/" not in name:
        return f"container {name}"
    labels: Mapping[str, str] = {}
    for image in images:
        if name in (image["RepoTags"] or []) + (image["RepoDigests"] or []):
            labels = image["Labels"] or {}
    version = labels.get("org.opencontainers.image.version") or name.rpartition(":")[2][:12]
    return f"{repository(name).rpartition('/')[2]} {version}"
