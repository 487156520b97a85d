"""The web image's package is not installed anywhere: its tests read it where it lives."""

import asyncio
import sys
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[3] / "images" / "web"))

from app import config, server
from web_support import FakeStore, Get


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def environ() -> dict[str, str]:
    return {
        "DATABASE_URL": "postgresql://web:hunter2@db/web",
        "TAG": "v7",
        "DIGEST": "sha256:abc",
        "REVISION": "0123abc",
        "SLOT": "b",
        "HOST": "web1",
        "ENVIRONMENT": "staging",
    }


@pytest.fixture
def get(store: FakeStore, environ: dict[str, str]) -> Get:
    app = server.create_app(config.load(environ), store)

    async def request(path: str, method: str, headers: dict[str, str]) -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://web") as client:
            return await client.request(method, path, headers=headers)

    def get(path: str, method: str = "GET", **headers: str) -> httpx.Response:
        return asyncio.run(request(path, method, {name.replace("_", "-"): value for name, value in headers.items()}))

    return get
