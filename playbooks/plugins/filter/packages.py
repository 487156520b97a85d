"""Filter `not_installed`: which packages apt has to be asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def not_installed(packages: Sequence[str], facts: Mapping[str, Any]) -> list[str]:
    """Return those of `packages` that a host's facts do not name as installed.

    Opening apt's cache takes half a second of every host, for every role. Role common keeps a local fact that names the
    packages there were when the facts were gathered; on a host that has none yet, everything counts as missing.

    Args:
        packages: names.
        facts: the host's `ansible_facts`.
    """
    known = (facts.get("ansible_local") or {}).get("packages") or []
    return [name for name in packages if name not in known]


class FilterModule:
    """Filters on packages."""

    def filters(self) -> dict[str, Any]:
        """Name the filter for Ansible."""
        return {"not_installed": not_installed}
