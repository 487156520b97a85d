"""The fleet that the tests run against: one of their own, made from nothing and taken down at the end."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator

import changes
import pytest
from faults import Good, recovers, tag_everywhere
from fleet import ROOT, Fleet, Source
from story import FIGURES, Faulty, Tags, build, measured

REPORTS = ROOT / "reports" / "fleet"


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """A fresh fleet `test`. TAGBOAT_KEEP=1 takes the one that is there, and leaves it standing."""
    fleet = Fleet(os.environ.get("LAB_NAME") or "test", REPORTS)
    keep = os.environ.get("TAGBOAT_KEEP") == "1"
    if not keep:
        assert fleet.play("lab", lab_state="absent").ok  # what a broken run left
    made = fleet.play("lab")
    assert made.ok, made.tail
    measured("create the fleet", made)
    yield fleet
    if not keep and os.environ.get("TAGBOAT_KEEP") != "after":
        assert fleet.play("lab", lab_state="absent").ok


@pytest.fixture(scope="session")
def source(fleet: Fleet) -> Source:
    """A clone to change the app in."""
    source = Source(fleet.folder / "source")
    source.reset()
    return source


@pytest.fixture(scope="session")
def tags(fleet: Fleet, source: Source) -> Tags:
    """Releases of web: two good ones, one that no host finds healthy, and one that only web2 does not."""
    first = build(fleet, source, "build from nothing")
    source.new_heading("What would you like to learn today?")
    second = build(fleet, source, "build after a code change")
    source.never_healthy()
    third = build(fleet, source, "build after a code change")
    source.healthy_again()
    source.never_healthy(on="web2")
    fourth = build(fleet, source, "build after a code change")
    source.healthy_again()
    return Tags(first, second, third, fourth)


@pytest.fixture(scope="session")
def faulty(fleet: Fleet, source: Source) -> Faulty:
    """Releases of web that fail in other ways."""

    def broken(change: Callable[[Source], None]) -> str:
        change(source)
        tag = build(fleet, source, "build after a code change")
        source.healthy_again()
        return tag

    return Faulty(
        exits_at_once=broken(changes.exits_at_once),
        slow=broken(changes.slow_to_start),
        crashing=broken(changes.crashes_after_a_while),
        broken_pages=broken(changes.answers_visitors_with_500),
        unknown_to_hosts=broken(lambda source: source.new_heading("Nobody has pulled this")),
    )


@pytest.fixture
def good(fleet: Fleet, tags: Tags) -> Iterator[Good]:
    """Whatever a test does to the fleet, it ends on one good tag, and the other can be deployed within a minute."""
    two = {tags.first, tags.second}
    live = tag_everywhere(fleet)
    if live not in two:
        live = tags.first
        recovers(fleet, live)
    yield Good(live, other=(two - {live}).pop())
    now = tag_everywhere(fleet)
    recovers(fleet, tags.first if now == tags.second else tags.second)
    assert now in two


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write and show what was measured."""
    if not FIGURES:
        return
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / "figures.json").write_text(json.dumps(FIGURES, indent=2) + "\n")
    terminalreporter.section("seconds, whole command")
    for what, seconds in FIGURES.items():
        terminalreporter.write_line(f"{seconds:8.1f}  {what}")
