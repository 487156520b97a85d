"""Import modules and plugins the way Ansible ships them: `ansible.module_utils` holds our own too."""

import sys
from pathlib import Path

import ansible.module_utils

ROOT = Path(__file__).resolve().parents[1]

for folder in (ROOT / "playbooks/plugins/module_utils", *sorted(ROOT.glob("roles/*/module_utils"))):
    if str(folder) not in ansible.module_utils.__path__:
        ansible.module_utils.__path__.append(str(folder))
sys.path[:0] = [str(ROOT / "tests/unit"), str(ROOT / "tests")]
