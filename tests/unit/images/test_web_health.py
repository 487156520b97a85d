import asyncio
import time

import pytest
from app.health import REQUIRED_REVISION, Health
from app.lessons import Unavailable
from web_support import FakeStore, Get


def test_ready(get: Get) -> None:
    answer = get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


def test_a_newer_schema_is_fine(get: Get, store: FakeStore) -> None:
    store.revision = "9999"
    assert get("/healthz").status_code == 200


@pytest.mark.parametrize(("revision", "said"), [(None, "no migration applied"), ("0001", "schema: at 0001")])
def test_a_schema_that_is_behind(get: Get, store: FakeStore, revision: str | None, said: str) -> None:
    store.revision = revision
    answer = get("/healthz")
    assert answer.status_code == 503
    assert said in answer.json()["reason"]
    assert REQUIRED_REVISION in answer.json()["reason"]


def test_a_database_that_is_down(get: Get, store: FakeStore) -> None:
    store.fault = Unavailable("database: no connection to be had")
    answer = get("/healthz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "unready", "reason": "database: no connection to be had"}


def test_it_recovers(get: Get, store: FakeStore) -> None:
    store.fault = Unavailable("database: gone")
    assert get("/healthz").status_code == 503
    store.fault = None
    assert get("/healthz").status_code == 200


def test_a_frozen_database_costs_the_timeout_and_one_probe() -> None:
    async def check() -> None:
        store = FakeStore()
        store.delay_seconds = 60
        health = Health(store, timeout_seconds=0.05)
        started = time.monotonic()
        problems = await asyncio.gather(*(health.problem() for _ in range(20)))
        problems.append(await health.problem())
        assert time.monotonic() - started < 1
        assert set(problems) == {"database: no answer within 0.05 s"}
        assert store.probes == 1

    asyncio.run(check())


def test_a_check_is_not_confused_by_the_one_that_begins_the_next_probe() -> None:
    async def check() -> str | None:
        health = Health(FakeStore())
        checking = asyncio.create_task(health.problem())
        await asyncio.sleep(0)
        assert health._probe is not None
        unfinished = asyncio.get_running_loop().create_future()
        health._probe.add_done_callback(lambda _probe: setattr(health, "_probe", unfinished))
        return await checking

    assert asyncio.run(check()) is None
