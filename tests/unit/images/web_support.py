"""Doubles for the tests of the web image."""

import asyncio
from collections.abc import Callable

import httpx
from app import health, lessons

Get = Callable[..., httpx.Response]

LESSON = lessons.Lesson("ruler", "Fractions on a ruler", "Why <thirds>", "First part.\n\nSecond part.", 6)


class FakeStore:
    """A database double: lessons in a list, a schema revision, and a fault to raise."""

    def __init__(self) -> None:
        self.lessons = [LESSON]
        self.revision: str | None = health.REQUIRED_REVISION
        self.fault: Exception | None = None
        self.delay_seconds = 0.0
        self.probes = 0

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def all(self) -> list[lessons.Lesson]:
        await self._answer()
        return self.lessons

    async def find(self, slug: str) -> lessons.Lesson | None:
        await self._answer()
        return next((lesson for lesson in self.lessons if lesson.slug == slug), None)

    async def schema_revision(self) -> str | None:
        self.probes += 1
        await self._answer()
        return self.revision

    async def _answer(self) -> None:
        await asyncio.sleep(self.delay_seconds)
        if self.fault:
            raise self.fault
