#!/usr/bin/python
"""Ask the registry which tags an image has, and what one of them is. Reads only."""

from __future__ import annotations

import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.registry_client import (
    Registry,
    RegistryError,
    UnknownTagError,
    newest_first,
)

DOCUMENTATION = r"""
module: registry_tags
short_description: Tags of an image in the registry, and the digest and labels of one of them
description:
  - Reads only, so check mode is the same as a run.
  - Fails with the tags that exist and the next command when the image or the tag is unknown.
author: Tagboat
options:
  registry:
    description: Address as in an image reference, C(registry1:5000).
    type: str
    required: true
  user:
    description: User who may pull; empty for a registry without users.
    type: str
    default: ""
  password:
    description: The user's password.
    type: str
    default: ""
  ca_file:
    description: CA certificate (PEM) that signed the registry's; empty for the system's own.
    type: str
    default: ""
  image:
    description: Name of the image.
    type: str
    required: true
  tag:
    description: C(v3), C(latest) or C(highest). Empty lists the tags only.
    type: str
    default: ""
  hint:
    description:
      - Next command for a person who named a wrong tag; C({tag}) stands for the highest tag that exists.
    type: str
    default: ""
  timeout_seconds:
    description: How long one request may take.
    type: float
    default: 10
"""

EXAMPLES = r"""
- name: Resolve the tag
  registry_tags:
    registry: registry1:5000
    user: pull
    password: "{{ registry_pull_password }}"
    ca_file: "{{ ca_file }}"
    image: web
    tag: v3
    hint: make deploy SERVICE=web TAG={tag}
  delegate_to: localhost
"""

RETURN = r"""
tags: {description: Version tags, newest first, type: list, returned: always}
highest: {description: The newest version tag, or empty, type: str, returned: always}
tag: {description: The tag that was resolved, type: str, returned: when a tag was asked for}
digest: {description: What it points at, type: str, returned: when a tag was asked for}
labels: {description: All labels of that image, type: dict, returned: when a tag was asked for}
revision: {description: Commit it was built from, type: str, returned: when a tag was asked for}
created: {description: When it was built, type: str, returned: when a tag was asked for}
author: {description: Author of that commit, type: str, returned: when a tag was asked for}
subject: {description: First line of that commit, type: str, returned: when a tag was asked for}
commits: {description: Last commits of the image's folder, type: list, returned: when a tag was asked for}
"""

_SHOWN = 10


def unknown_tag(image: str, tag: str, tags: list[str], hint: str) -> str:
    """What to say to a person who named a tag that does not exist."""
    if not tags:
        return f"{image} has no tags yet. Next: build it, make build IMAGE={image}"
    more = f" and {len(tags) - _SHOWN} older" if len(tags) > _SHOWN else ""
    next_command = (hint or "use tag {tag}").replace("{tag}", tags[0])
    return f"{image} has no tag {tag}. It has {', '.join(tags[:_SHOWN])}{more}. Next: {next_command}"


def commits_of(labels: dict[str, str]) -> list[dict[str, str]]:
    """The commits a build wrote into its label; images of other builders have none."""
    try:
        commits = json.loads(labels.get("tagboat.commits", "[]"))
    except ValueError:
        return []
    return [one for one in commits if isinstance(one, dict)] if isinstance(commits, list) else []


def look(registry: Any, image: str, tag: str, hint: str) -> dict[str, Any]:
    listed = registry.tags_or_none(image)
    tags: list[str] = newest_first(listed)
    found: dict[str, Any] = {"tags": tags, "highest": tags[0] if tags else ""}
    if not tag:
        return found
    tag = found["highest"] if tag == "highest" else tag
    if tag not in listed:
        raise UnknownTagError(unknown_tag(image, tag or "at all", tags, hint))
    digest = registry.resolve(image, tag)
    labels = registry.labels(image, digest)
    return found | {
        "tag": tag,
        "digest": digest,
        "labels": labels,
        "revision": labels.get("org.opencontainers.image.revision", ""),
        "created": labels.get("org.opencontainers.image.created", ""),
        "author": labels.get("org.opencontainers.image.authors", ""),
        "subject": labels.get("tagboat.subject", ""),
        "commits": commits_of(labels),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "registry": {"type": "str", "required": True},
            "user": {"type": "str", "default": ""},
            "password": {"type": "str", "default": "", "no_log": True},
            "ca_file": {"type": "str", "default": ""},
            "image": {"type": "str", "required": True},
            "tag": {"type": "str", "default": ""},
            "hint": {"type": "str", "default": ""},
            "timeout_seconds": {"type": "float", "default": 10.0},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    registry = Registry(
        wanted["registry"], wanted["user"], wanted["password"], wanted["ca_file"], wanted["timeout_seconds"]
    )
    try:
        found = look(registry, wanted["image"], wanted["tag"], wanted["hint"])
    except RegistryError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
