"""Which tags of an image leave the registry. A decision only: tags and digests in, tags and digests out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ansible.module_utils.registry_client import newest_first, version_of


def doomed(tags: Mapping[str, str], keep: int, needed: Iterable[str]) -> dict[str, str]:
    """Return tag -> digest of the version tags to remove.

    What stays: the `keep` highest versions, every tag that is no version (`latest`), and what is needed. A digest goes
    with all its tags, so one that any staying tag points at stays as well.

    Args:
        tags: every tag of the image, with the digest it points at.
        keep: how many versions stay. The highest always does: the next tag is counted from it.
        needed: digests and tags that some host runs or may go back to.
    """
    needed = set(needed)
    newest = newest_first(tags)[: max(keep, 1)]
    staying = {
        digest
        for tag, digest in tags.items()
        if tag in newest or version_of(tag) is None or tag in needed or digest in needed
    }
    return {tag: tags[tag] for tag in newest_first(tags) if tags[tag] not in staying}
