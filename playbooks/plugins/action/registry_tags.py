"""Action `registry_tags`: ask the registry which tags an image has, and what one of them is. Reads only.

An action, not a module: it runs in the process that is there already, which spares a deploy a third of a second.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

CODE = str(Path(__file__).resolve().parents[1] / "module_utils")
if CODE not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(CODE)  # Ansible itself does this for modules only

from ansible.module_utils.registry_client import (  # noqa: E402  found by the line above
    Registry,
    RegistryError,
    UnknownTagError,
    newest_first,
)

ARGUMENTS: dict[str, dict[str, Any]] = {
    "registry": {"type": "str", "required": True},  # as in an image reference: registry1:5000
    "user": {"type": "str", "default": ""},  # who may pull; empty for a registry without users
    "password": {"type": "str", "default": "", "no_log": True},
    "ca_file": {"type": "str", "default": ""},  # PEM of who signed the registry's certificate; empty: the system's own
    "image": {"type": "str", "required": True},
    "tag": {"type": "str", "default": ""},  # v3, latest or highest; empty lists the tags only
    "hint": {"type": "str", "default": ""},  # next command after a wrong tag; {tag} stands for the highest there is
    "timeout_seconds": {"type": "float", "default": 10.0},  # of one request
}
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
    """Return what the registry knows of an image's tags, and of one of them.

    Raises:
        RegistryError: it cannot be reached, or knows neither image nor tag.
    """
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


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core ships no types
    """Return `tags` and `highest`, and of one tag `digest`, `labels`, `revision`, `created`, `author` and `commits`."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask; fail with the tags that exist and the next command when image or tag is unknown."""
        super().run(tmp, task_vars)
        _, wanted = self.validate_argument_spec(argument_spec=ARGUMENTS)
        registry = Registry(
            wanted["registry"], wanted["user"], wanted["password"], wanted["ca_file"], wanted["timeout_seconds"]
        )
        try:
            found = look(registry, wanted["image"], wanted["tag"], wanted["hint"])
        except UnknownTagError as error:
            raise AnsibleActionFail(str(error)) from None
        except RegistryError as error:
            raise AnsibleActionFail(
                f"{error}. Nothing was changed, and a rollback needs no registry. Next: make status"
            ) from None
        return {"changed": False, **found}
