"""Filters for playbooks that report: what hosts run, as text. The functions are in module_utils/tagboat/decide.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ansible.module_utils

CODE = str(Path(__file__).resolve().parents[1] / "module_utils")
if CODE not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(CODE)  # Ansible itself does this for modules only

from ansible.module_utils.tagboat import decide  # noqa: E402  found by the line above


class FilterModule:
    """Filters of status reports and removals."""

    def filters(self) -> dict[str, Any]:
        """Name the filters for Ansible."""
        return {
            "fleet_release": decide.fleet_release,
            "gathered": decide.gathered,
            "history_table": decide.history_table,
            "mute": decide.mute,
            "orphans": decide.orphans,
            "status_table": decide.status_table,
        }
