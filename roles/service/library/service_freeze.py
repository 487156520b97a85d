#!/usr/bin/python
"""Ansible module: freeze or thaw the environment on this host. The work is in module_utils/tagboat/freeze.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_freeze
short_description: Refuse deploys for a while, or allow them again
options:
  state:
    description: V(present) refuses, V(absent) allows, V(copied) takes over O(freeze) where there is none.
    type: str
    choices: [present, absent, copied]
    default: present
  reason: {description: Why, type: str, default: ""}
  by: {description: Who, type: str, default: ""}
  hours: {description: 'After how many hours it ends by itself, by the clock of the host.', type: float, default: 0}
  freeze: {description: The freeze of another host., type: dict}
"""

RETURN = r"""
freeze: {description: 'What holds now: V(reason) V(by) V(since) V(until), or null.', type: dict, returned: always}
"""

from ansible.module_utils.basic import AnsibleModule  # noqa: E402  the documentation of a module comes first
from ansible.module_utils.tagboat.freeze import Freeze  # noqa: E402
from ansible.module_utils.tagboat.host import Host  # noqa: E402


def main() -> None:
    """Do it, or say whether it would change anything."""
    module = AnsibleModule(
        {
            "state": {"choices": ["present", "absent", "copied"], "default": "present"},
            "reason": {"default": ""},
            "by": {"default": ""},
            "hours": {"type": "float", "default": 0},
            "freeze": {"type": "dict"},
        },
        supports_check_mode=True,
        required_if=[("state", "present", ["reason", "by", "hours"]), ("state", "copied", ["freeze"])],
    )
    p = module.params
    freeze = Freeze(Host())
    before = freeze.now()
    changed = {"present": True, "absent": before is not None, "copied": before is None}[p["state"]]
    if not module.check_mode:
        if p["state"] == "present":
            freeze.begin(p["reason"], p["by"], p["hours"])
        elif p["state"] == "absent":
            freeze.end()
        elif changed:
            freeze.copy(p["freeze"])
    module.exit_json(changed=changed, freeze=freeze.now())


if __name__ == "__main__":
    main()
