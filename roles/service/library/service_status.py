#!/usr/bin/python
"""Ansible module: what a host runs and ran, of all services, in one remote execution."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_status
short_description: Tell what a host runs and ran
description:
  - Of every service that belongs on this host, and of every one that is here all the same.
options:
  host_name: {description: The inventory's name of this host., type: str, required: true}
  services: {description: Services that belong here., type: list, elements: str, required: true}
  only: {description: Services to tell of. Empty is all., type: list, elements: str, default: []}
"""

RETURN = r"""
statuses:
  description: 'Service to what the host runs of it: V(live), V(slot), V(releases), V(health), V(lease).'
  type: dict
  returned: always
orphans: {description: Services that are here and do not belong here., type: list, returned: always}
"""

from ansible.module_utils.basic import AnsibleModule  # noqa: E402  the documentation of a module comes first
from ansible.module_utils.tagboat.host import Host  # noqa: E402
from ansible.module_utils.tagboat.record import RecordError  # noqa: E402
from ansible.module_utils.tagboat.steps import statuses  # noqa: E402


def main() -> None:
    """Look, and answer Ansible."""
    module = AnsibleModule(
        {
            "host_name": {"required": True},
            "services": {"type": "list", "elements": "str", "required": True},
            "only": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        found = statuses(Host(), given["host_name"], given["services"], given["only"])
    except RecordError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**found)


if __name__ == "__main__":
    main()
