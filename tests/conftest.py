"""Import modules and plugins the way Ansible ships them, `ansible.module_utils` holds our own too; how hard to try."""

import gc
import os
import sys
from pathlib import Path

import ansible.module_utils
from hypothesis import settings

# A few examples of each property in the fast loop, all where there is time; a machine that is busy fails none.
settings.register_profile("fast", max_examples=20, deadline=None)
settings.register_profile("all", deadline=None)
settings.load_profile("all" if os.environ.get("TAGBOAT_ALL_TESTS") else "fast")

ROOT = Path(__file__).resolve().parents[1]

for folder in (ROOT / "playbooks/plugins/module_utils", *sorted(ROOT.glob("roles/*/module_utils"))):
    if str(folder) not in ansible.module_utils.__path__:
        ansible.module_utils.__path__.append(str(folder))
sys.path[:0] = [str(ROOT / "tests/unit"), str(ROOT / "tests")]


def pytest_collection_finish() -> None:
    """Leave what was imported to itself: the collector would walk through it again and again, a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
