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


def build(fleet: Fleet, source: Source, figure: str) -> str:
    """Build web from the clone; return the tag it got."""
    run = fleet.play("build", image="web", image_source_dir=str(source.folder))
    assert run.ok, run.tail
    measured(figure, run)
    return tags_built(run)[-1]


def tags_built(run: Run) -> list[str]:
    """Read which tags a build made."""
    return re.findall(r"\bweb (v\d+) sha256:", run.output)


def measured(what: str, run: Run) -> None:
    """Keep a figure for the report."""
    FIGURES[what] = round(run.seconds, 1)
