"""The web application, and the server that runs it."""

import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from app import logs
from app.access import AccessLog
from app.config import Config
from app.database import Database
from app.health import Health
from app.lessons import Store, Unavailable
from app.pages import Pages

# Longer than a proxy in front keeps an idle connection, so that it is never the server that closes one
# at the very moment a request is sent on it.
KEEP_ALIVE_SECONDS = 75


def create_app(config: Config, store: Store) -> ASGIApp:
    pages = Pages(store, config)
    health = Health(store)
    version_fields = ("service", "tag", "digest", "revision", "slot", "host", "environment")
    version_values = config.model_dump(include=set(version_fields))

    async def healthz(_request: Request) -> Response:
        problem = await health.problem()
        if problem:
            return JSONResponse({"status": "unready", "reason": problem}, 503)
        return JSONResponse({"status": "ready"})

    async def version(_request: Request) -> Response:
        return JSONResponse({name: version_values[name] for name in version_fields})

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await store.open()
        yield
        await store.close()

    app = Starlette(
        routes=[
            Route("/", pages.index),
            Route("/lessons/{slug}", pages.lesson),
            Route("/healthz", healthz),
            Route("/version", version),
        ],
        exception_handlers={HTTPException: pages.refused, Unavailable: pages.unavailable, Exception: pages.broken},
        lifespan=lifespan,
    )
    # Around all of it, Starlette's own answer to an unexpected error too.
    return AccessLog(app, pages.headers)


def serve(config: Config) -> None:
    logs.configure(config.log_format, config.log_level, {"service": config.service, "tag": config.tag})
    # uvicorn raises the signal again once all is finished; a shutdown that was asked for is a success.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        create_app(config, Database(config.database_url.get_secret_value())),
        host="0.0.0.0",  # noqa: S104 who can reach a container is for the engine to say
        port=config.port,
        loop="asyncio",
        http="httptools",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=config.drain_seconds,
    )
