"""What the fleet tests share: the releases the story is about, and the figures it leaves."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fleet import Fleet, Run, Source

FIGURES: dict[str, float] = {}


@dataclass(frozen=True)
class Tags:
    """The tags of image web that the story is about."""

    first: str
    second: str
    never_healthy: str
    bad_on_web2: str


@dataclass(frozen=True)
class Faulty:
    """Tags of image web that pass the build's smoke test and fail on the web hosts, each in its own way."""

    exits_at_once: str
    slow: str  # good after all: ready 4 s after it was first asked
    crashing: str  # on web2, 5 s after its first visitor
    broken_pages: str  # healthy, and answers every visitor with 500
    unknown_to_hosts: str  # a good one that no host has pulled yet


def assert_serving(fleet: Fleet, tag: str) -> None:
    """Every web host, and the balancer, answer with this tag."""
    assert set(fleet.serving().values()) == {tag}
    status, page = fleet.get("/")
    assert status == 200
    assert f"<footer>{tag} on " in page


def build(fleet: Fleet, source: Source, figure: str) -> str:
    """Build web from the clone; return the tag it got."""
    run = fleet.play("build", image="web", image_source_dir=str(source.folder))
    assert run.ok, run.tail
    measured(figure, run)
    return tags_built(run)[-1]


def tags_built(run: Run, image: str = "web") -> list[str]:
    """Read which tags a build made."""
    return re.findall(rf"\b{image} (v\d+) sha256:", run.output)


def measured(what: str, run: Run) -> None:
    """Keep a figure for the report."""
    FIGURES[what] = round(run.seconds, 1)
