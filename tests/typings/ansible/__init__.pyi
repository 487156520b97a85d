# Ansible ships no types. This package tells mypy where ours are that Ansible puts into ansible.module_utils: the links
# beside this file. Everything else in it is Any.
from typing import Any

def __getattr__(name: str) -> Any: ...
