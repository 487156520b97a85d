"""Around every request: an id, a log line, and headers that every answer carries."""

import logging
import re
import secrets
import time
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("app.access")

# A foreign id goes into logs and headers as it came, so only harmless ones are taken over.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def _request_id(request: Request) -> str:
    given = request.headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def _level(path: str, status: int) -> int:
    # The edge asks for health several times a second: a line for each would bury all others.
    # What changes there is logged by app.health.
    if path == "/healthz":
        return logging.DEBUG
    # Why it failed is an error line of its own, written where that is known.
    return logging.WARNING if status >= 500 else logging.INFO


class AccessLog:
    def __init__(self, app: ASGIApp, headers: dict[str, str]) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Request(scope))
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status = 500

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                headers["x-request-id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        finally:
            fields = {
                "method": scope["method"],
                "path": quote(scope["path"]),
                "status": status,
                "duration_ms": round((time.perf_counter() - started) * 1000, 1),
                "request_id": request_id,
            }
            logger.log(_level(scope["path"], status), "request", extra={"fields": fields})
