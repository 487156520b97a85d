"""Action `say`: print text for a person, as it is. For results that people read: tables, summaries, next commands."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core ships no types
    """Print the argument `text` once, on the control node; never changes anything."""

    _requires_connection = False
    _VALID_ARGS = frozenset({"text"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Print and return ok, in check mode too."""
        super().run(tmp, task_vars)
        Display().display(str(self._task.args["text"]).rstrip("\n"))
        return {"changed": False}
