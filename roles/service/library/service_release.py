#!/usr/bin/python
"""Ansible module: one step of a rollout on one host, in one remote execution. The work is in module_utils/tagboat."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_release
short_description: Read what a host runs, or start a release on it, outside of a rollout
description:
  - Reports a service, starts a release of it, removes it, or takes it in and out of maintenance, see O(step).
  - Safe to kill at any instruction. The host serves a healthy release wherever it is interrupted.
options:
  step:
    description: What to do.
    type: str
    required: true
    choices: [status, switch, remove, begin_maintenance, end_maintenance]
  service: {description: Name of the service., type: str, required: true}
  host_name: {description: The inventory's name of this host., type: str, required: true}
  environment_name: {description: Name of the environment., type: str, default: ""}
  rollout: {description: 'Who and what: V(id), V(by), V(what).', type: dict, default: {}}
  release: {description: 'The release: V(tag), V(digest), V(image), V(revision), V(spec).', type: dict}
  secrets: {description: Current secrets of the service., type: dict, default: {}}
  last: {description: Let the lease go after this step., type: bool, default: false}
"""

RETURN = r"""
status:
  description: 'What this host runs: V(live), V(slot), V(releases), V(health), V(lease).'
  type: dict
  returned: always
service: {description: Name of the service., type: str, returned: always}
timings: {description: Seconds each part took., type: dict, returned: success}
log: {description: The refused container's last lines., type: str, returned: failure}
"""

from ansible.module_utils.basic import AnsibleModule  # noqa: E402  the documentation of a module comes first
from ansible.module_utils.tagboat.steps import take  # noqa: E402

ARGUMENTS = {
    "step": {"required": True, "choices": ["status", "switch", "remove", "begin_maintenance", "end_maintenance"]},
    "service": {"required": True},
    "host_name": {"required": True},
    "environment_name": {"default": ""},
    "rollout": {"type": "dict", "default": {}},
    "release": {"type": "dict"},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "last": {"type": "bool", "default": False},
}


def main() -> None:
    """Take the step that was asked for and answer Ansible."""
    module = AnsibleModule(
        ARGUMENTS,
        supports_check_mode=True,
        required_if=[("step", "switch", ["release"])],
    )
    result = take(module.params, module.check_mode)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
