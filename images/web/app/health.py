"""Ready means: the database answers and has at least the migrations this code needs."""

import asyncio
import logging

from app.lessons import Store, Unavailable

logger = logging.getLogger(__name__)

# The newest migration in migrations/versions; a test holds the two together. Written down here because
# working it out would take Alembic, and `serve` must not spend its start on importing that.
REQUIRED_REVISION = "0002"


class Health:
    def __init__(self, store: Store, timeout_seconds: float = 1.0) -> None:
        self._store = store
        self._timeout_seconds = timeout_seconds
        self._probe: asyncio.Task[str | None] | None = None
        self._said: str | None = "starting"

    async def problem(self) -> str | None:
        """Why this cannot serve now, or None. Answers in time whatever the database does.

        Checks share one probe, and a probe that is late is left to end by itself: cancelling a query on a
        frozen database takes seconds, and a new probe for every check would use up the pool.
        """
        probe = self._probe
        if probe is None or probe.done():
            # Kept by name: while this check waits, another may begin the next probe.
            probe = self._probe = asyncio.create_task(self._look())
        done, _ = await asyncio.wait({probe}, timeout=self._timeout_seconds)
        late = f"database: no answer within {self._timeout_seconds:g} s"
        problem = probe.result() if done else late
        self._say(problem)
        return problem

    def _say(self, problem: str | None) -> None:
        """Log what changed, once: the checks come several times a second."""
        if problem == self._said:
            return
        self._said = problem
        if problem:
            logger.warning("not ready", extra={"fields": {"reason": problem}})
        else:
            logger.info("ready")

    async def _look(self) -> str | None:
        try:
            revision = await self._store.schema_revision()
        except Unavailable as error:
            return str(error)
        if revision is None:
            return f"schema: no migration applied, {REQUIRED_REVISION} needed: run `python -m app migrate`"
        # Numbered without gaps or branches; newer is fine, for migrations only ever add.
        if revision < REQUIRED_REVISION:
            return f"schema: at {revision}, {REQUIRED_REVISION} needed: run `python -m app migrate`"
        return None
