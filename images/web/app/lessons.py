"""Lessons, and what the pages need from whatever stores them."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Lesson:
    slug: str
    title: str
    summary: str
    body: str
    minutes: int

    @property
    def paragraphs(self) -> list[str]:
        return [part.strip() for part in self.body.split("\n\n") if part.strip()]


class Unavailable(Exception):
    """The store cannot answer now. The text is shown to whoever asks for health: no addresses, no secrets."""


class Store(Protocol):
    async def open(self) -> None:
        """Return at once, even when the store cannot be reached."""

    async def close(self) -> None: ...

    async def all(self) -> list[Lesson]: ...

    async def find(self, slug: str) -> Lesson | None: ...

    async def schema_revision(self) -> str | None:
        """The newest migration applied; None when there is none."""
