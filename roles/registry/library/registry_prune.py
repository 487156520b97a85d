#!/usr/bin/python
"""Ansible module: remove old version tags from the registry. The decision is in module_utils/registry_retention.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_prune
short_description: Remove version tags that nobody needs from the registry
description:
  - Removes manifests through the registry's API. The space they take comes back with the next garbage collection.
  - A registry that cannot be reached, or an image it does not know, is told; nothing of that image is removed then.
options:
  registry: {description: 'Address as in an image reference, C(registry1:5000).', type: str, required: true}
  user: {description: User who may delete., type: str, default: ""}
  password: {description: Password of that user., type: str, default: ""}
  ca_file: {description: CA certificate (PEM) that signed the registry's., type: str, default: ""}
  images: {description: 'Images to prune: name to the number of version tags that stay.', type: dict, required: true}
  needed: {description: 'What must stay: image to digests and tags.', type: dict, default: {}}
"""

RETURN = r"""
removed: {description: Tags that were removed or would be in check mode as C(image:tag)., type: list, returned: always}
"""

from ansible.module_utils.basic import AnsibleModule  # noqa: E402  the documentation of a module comes first
from ansible.module_utils.registry_client import Registry, RegistryError, UnknownTagError  # noqa: E402
from ansible.module_utils.registry_retention import doomed  # noqa: E402


def tags_of(registry: Registry, image: str) -> dict[str, str]:
    """Return every tag of an image with the digest it points at."""
    found = {}
    for tag in registry.tags_or_none(image):
        try:
            found[tag] = registry.resolve(image, tag)
        except UnknownTagError:  # its digest was deleted a moment ago, by another prune
            continue
    return found


def main() -> None:
    """Prune image after image; a failure says what was removed before it."""
    module = AnsibleModule(
        {
            "registry": {"required": True},
            "user": {"default": ""},
            "password": {"default": "", "no_log": True},
            "ca_file": {"default": ""},
            "images": {"type": "dict", "required": True},
            "needed": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    p = module.params
    registry = Registry(p["registry"], p["user"], p["password"], p["ca_file"])
    removed: list[str] = []
    try:
        for image, keep in sorted(p["images"].items()):
            going = doomed(tags_of(registry, image), int(keep), p["needed"].get(image, []))
            for digest in dict.fromkeys(going.values()):
                if not module.check_mode:
                    registry.delete(image, digest)
                removed += [f"{image}:{tag}" for tag, own in going.items() if own == digest]
    except RegistryError as error:
        module.fail_json(msg=str(error), removed=removed, changed=bool(removed))
    module.exit_json(removed=removed, changed=bool(removed))


if __name__ == "__main__":
    main()
