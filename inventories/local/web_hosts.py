#!/usr/bin/env python3
"""Inventory source: the web hosts beyond those of hosts.yml, for a fleet made with `LAB_WEB_HOSTS=24 make lab`.

The size is remembered in the fleet's folder, so that later playbooks see the same hosts without the variable.
"""

import json
import os
import sys
from pathlib import Path

STATIC_WEB_HOSTS = 2  # web1 and web2 stand in hosts.yml


def main() -> None:
    """Print the dynamic inventory as JSON, as Ansible's script plugin expects it from `--list`."""
    fleet = os.environ.get("LAB_NAME") or "local"
    remembered = Path(__file__).resolve().parents[2] / ".lab" / fleet / "web_hosts"
    size = os.environ.get("LAB_WEB_HOSTS") or (remembered.read_text() if remembered.exists() else "0")
    if not size.strip().isdigit():
        sys.exit(f"LAB_WEB_HOSTS must be a whole number of hosts, not {size!r}")
    hosts = [f"web{number}" for number in range(STATIC_WEB_HOSTS + 1, int(size) + 1)]
    json.dump({"web": {"hosts": hosts}, "_meta": {"hostvars": {}}}, sys.stdout)


main()
