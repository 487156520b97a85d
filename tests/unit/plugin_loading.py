"""Import modules and plugins the way Ansible ships them: `ansible.module_utils` holds our own too."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import ansible.module_utils

ROOT = Path(__file__).parents[2]

for folder in (ROOT / "playbooks/plugins/module_utils", *sorted(ROOT.glob("roles/*/module_utils"))):
    if str(folder) not in ansible.module_utils.__path__:
        ansible.module_utils.__path__.append(str(folder))


def load(path: str) -> ModuleType:
    """A module or plugin by its path in the repository."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their own module up by name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
