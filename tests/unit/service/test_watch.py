"""When a release that was healthy at the switch counts as bad after all."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.tagboat.watch import UNHEALTHY_IN_A_ROW, Trouble


def counted(requests: int, failures: int, recent: tuple[int, int] = (0, 0)) -> dict[str, int]:
    """What an edge has counted: in all, and in the last minute."""
    return {
        "requests": requests,
        "failures": failures,
        "recent_requests": recent[0],
        "recent_failures": recent[1],
    }


def limits(before: dict[str, int], at_switch: dict[str, int], **more: Any) -> dict[str, Any]:
    return {"seconds": 30, "factor": 3, "errors": 5, "before": before, "at_switch": at_switch} | more


QUIET = counted(1000, 0, (1000, 0))


@pytest.mark.parametrize(
    ("before", "at_switch", "now", "bad"),
    [
        pytest.param(QUIET, counted(1000, 0), counted(1000, 0), False, id="nobody came"),
        pytest.param(QUIET, counted(1000, 0), counted(1004, 4), False, id="too few to mean anything"),
        pytest.param(QUIET, counted(1000, 0), counted(1005, 5), True, id="every page fails"),
        pytest.param(QUIET, counted(1000, 0), counted(6000, 5), False, id="a share too small to tell from none"),
        pytest.param(
            counted(1000, 100, (1000, 100)), counted(1000, 100), counted(2000, 350), False, id="bad before, not worse"
        ),
        pytest.param(
            counted(1000, 100, (1000, 100)), counted(1000, 100), counted(2000, 450), True, id="bad before, much worse"
        ),
        pytest.param(QUIET, counted(1000, 0), counted(100, 50), True, id="the edge was restarted and counts anew"),
        pytest.param(counted(0, 0), counted(0, 0), counted(50, 25), True, id="nobody came before"),
    ],
)
def test_failures_count_against_what_they_were_before(
    before: dict[str, int], at_switch: dict[str, int], now: dict[str, int], bad: bool
) -> None:
    reason = Trouble(limits(before, at_switch)).after(True, "200 ok", now)
    assert (reason is not None) == bad


def test_health_must_fail_several_times_in_a_row() -> None:
    trouble = Trouble(limits(QUIET, QUIET))
    for _ in range(UNHEALTHY_IN_A_ROW - 1):
        assert trouble.after(False, "503 no database", QUIET) is None
    assert trouble.after(True, "200 ok", QUIET) is None
    for _ in range(UNHEALTHY_IN_A_ROW - 1):
        assert trouble.after(False, "503 no database", QUIET) is None
    assert trouble.after(False, "503 no database", QUIET) == "not healthy 3 times in a row, last: 503 no database"
