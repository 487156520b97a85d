"""Lessons in PostgreSQL, through a pool that never holds up a start and heals by itself."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from app.lessons import Lesson, Unavailable

logger = logging.getLogger(__name__)

POOL_SIZE = 10
WAIT_SECONDS = 3.0  # for a free connection
HEALTH_WAIT_SECONDS = 0.8  # the same for a health check, which has a second in all
QUERY_SECONDS = 10.0  # for a whole page: above it, an answer is no use to anybody
# The pool doubles its pause after each failure. Giving up early keeps pauses short: the next request
# (a health check is never far) starts anew, so a database that returns is back in use within seconds.
RECONNECT_SECONDS = 2.0

_ALL = "SELECT slug, title, summary, body, minutes FROM lessons ORDER BY position, slug"
_ONE = "SELECT slug, title, summary, body, minutes FROM lessons WHERE slug = %s"


class Database:
    def __init__(self, url: str) -> None:
        self._pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]] = AsyncConnectionPool(
            url,
            kwargs={
                "autocommit": True,
                "connect_timeout": 3,
                "application_name": "web",
                "options": f"-c statement_timeout={int(QUERY_SECONDS * 1000)}",
            },
            min_size=1,
            max_size=POOL_SIZE,
            reconnect_timeout=RECONNECT_SECONDS,
            # One short round trip: a connection that died with a restarted database is never handed out.
            check=AsyncConnectionPool.check_connection,
            open=False,
            name="lessons",
        )

    async def open(self) -> None:
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self._pool.close(timeout=2)

    async def all(self) -> list[Lesson]:
        async with self._connection() as connection, connection.cursor(row_factory=class_row(Lesson)) as cursor:
            await cursor.execute(_ALL)
            return await cursor.fetchall()

    async def find(self, slug: str) -> Lesson | None:
        async with self._connection() as connection, connection.cursor(row_factory=class_row(Lesson)) as cursor:
            await cursor.execute(_ONE, (slug,))
            return await cursor.fetchone()

    async def schema_revision(self) -> str | None:
        async with self._connection(HEALTH_WAIT_SECONDS) as connection:
            # Asked for in two steps: a missing table would be an error in the database's log at every check.
            cursor = await connection.execute("SELECT to_regclass('alembic_version') IS NOT NULL")
            if await cursor.fetchone() != (True,):
                return None
            cursor = await connection.execute("SELECT max(version_num) FROM alembic_version")
            row = await cursor.fetchone()
            return row[0] if row else None

    @asynccontextmanager
    async def _connection(self, wait_seconds: float = WAIT_SECONDS) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        try:
            async with asyncio.timeout(QUERY_SECONDS), self._pool.connection(wait_seconds) as connection:
                yield connection
        except PoolTimeout:
            raise Unavailable("database: no connection to be had") from None
        except TimeoutError:
            raise Unavailable("database: no answer in time") from None
        except psycopg.Error as error:
            logger.error("query failed: %s", error.diag.message_primary or type(error).__name__)
            raise Unavailable(f"database: {type(error).__name__}") from None
