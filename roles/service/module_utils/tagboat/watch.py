"""When a release that was healthy at the switch counts as bad after all. Pure: counts and answers in, a reason out."""

from __future__ import annotations

from typing import Any

UNHEALTHY_IN_A_ROW = 3  # one slow answer is no reason to go back; the edge itself gives up after three as well
QUIET_SHARE = 0.001  # a share of 5xx below this counts as this: a single failure must not look like a thousandfold

# seconds: how long to look. factor: how much the share of 5xx may grow. errors: fewer 5xx than this mean nothing.
# before: answers counted before the rollout changed anything. at_switch: the same, when this host had just switched.
Watch = dict[str, Any]


class Trouble:
    """Keeps count of what was seen since the switch.

    Args:
        limits: see `Watch`.
    """

    def __init__(self, limits: Watch) -> None:
        self._limits = limits
        self._unhealthy = 0

    def after(self, healthy: bool, answer: str, answers: dict[str, int]) -> str | None:
        """Take one more look into account; return why the release is bad, or None.

        Args:
            healthy: whether the health check answered 200.
            answer: what it answered.
            answers: what the edge has counted until now.
        """
        self._unhealthy = 0 if healthy else self._unhealthy + 1
        if self._unhealthy >= UNHEALTHY_IN_A_ROW:
            return f"not healthy {self._unhealthy} times in a row, last: {answer}"
        return self._too_many_failures(answers)

    def _too_many_failures(self, answers: dict[str, int]) -> str | None:
        at_switch = self._limits["at_switch"]
        if answers["requests"] < at_switch["requests"]:  # the edge was restarted and counts from nothing
            at_switch = dict.fromkeys(at_switch, 0)
        requests = answers["requests"] - at_switch["requests"]
        failures = answers["failures"] - at_switch["failures"]
        before = self._limits["before"]
        share_before = before["recent_failures"] / before["recent_requests"] if before["recent_requests"] else 0.0
        allowed = self._limits["factor"] * max(share_before, QUIET_SHARE)
        if requests == 0 or failures < self._limits["errors"] or failures / requests <= allowed:
            return None
        share = f"{failures / requests:.1%}, before {share_before:.1%}"
        return f"{failures} of {requests} requests were answered with a 5xx ({share})"
