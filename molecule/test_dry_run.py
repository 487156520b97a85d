"""Run for every scenario, before and beside its own tests."""

from collections.abc import Callable
from typing import Any


def test_a_dry_run_on_a_converged_host_changes_nothing(converge: Callable[..., Any]) -> None:
    run = converge("--check")
    assert run.succeeded, run.output
    assert run.changed == 0, run.output
