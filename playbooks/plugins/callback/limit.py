"""Callback `limit`: refuse `--limit` where it would leave out the control node, which is the play that does the work.

Ansible would skip that play, say so in one purple line, and end with exit code 0.
"""

from __future__ import annotations

import sys
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: limit
type: aggregate
short_description: Refuse a limit that would make a playbook do nothing
description: Playbooks whose first play is the control node's decide there what happens on which host.
"""


def refusal(playbook: str, first_hosts: list[str], limit: str | None) -> str:
    """Say why a limit cannot hold for a playbook, or '' when it can.

    Args:
        playbook: its file name.
        first_hosts: the hosts pattern of its first play.
        limit: what --limit says, or None.
    """
    names = (limit or "").split(",")
    if not limit or first_hosts != ["localhost"] or playbook == "site.yml" or "localhost" in names:
        return ""
    return (
        f"Nothing was touched: {playbook} decides on the control node what happens on which host, so --limit {limit}"
        " would make it do nothing. Next: the same without it. A rollout is always of all hosts of its service;"
        " -e skip_unreachable=true goes on without those that are down."
    )


class CallbackModule(CallbackBase):  # type: ignore[misc]  # ansible-core ships no types
    """Looks at the playbook before its first play."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "limit"

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """End the run with a usage error where the limit cannot hold."""
        first = playbook.get_plays()[0].hosts
        hosts = first if isinstance(first, list) else [str(first)]
        said = refusal(str(playbook._file_name).rpartition("/")[2], hosts, context.CLIARGS.get("subset"))
        if said:
            self._display.error(said, wrap_text=False)
            sys.exit(2)
