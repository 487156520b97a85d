"""The pages: lesson list, one lesson, and what is shown when there is nothing to show."""

import base64
import hashlib
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from app.config import Config
from app.lessons import Store

logger = logging.getLogger(__name__)

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Pages:
    store: Store
    config: Config

    async def index(self, _request: Request) -> Response:
        return self._page("index.html", lessons=await self.store.all())

    async def lesson(self, request: Request) -> Response:
        lesson = await self.store.find(request.path_params["slug"])
        if lesson is None:
            raise HTTPException(404)
        return self._page("lesson.html", lesson=lesson)

    async def refused(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        if status == 404:
            return self._message(request, 404, "Not found", "There is no lesson at this address.")
        return self._message(request, status, "Not possible", "This address does not do that.")

    async def unavailable(self, request: Request, error: Exception) -> Response:
        fields = {"reason": str(error), "request_id": request.state.request_id}
        logger.error("unavailable", extra={"fields": fields})
        page = self._message(request, 503, "Back in a moment", "The lessons cannot be reached right now.")
        page.headers["retry-after"] = "5"
        return page

    async def broken(self, request: Request, _error: Exception) -> Response:
        return self._message(request, 500, "Something went wrong", "This is our fault. Please try again.")

    @cached_property
    def headers(self) -> dict[str, str]:
        """Sent with every answer: the page's own style is all that a browser may run or load."""
        style = base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode()
        policy = f"default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'"
        return {"content-security-policy": policy, "x-content-type-options": "nosniff"}

    @cached_property
    def _style(self) -> str:
        return (_TEMPLATES / "style.css").read_text()

    @cached_property
    def _environment(self) -> Environment:
        environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.globals.update(style=self._style, tag=self.config.tag, host=self.config.host)
        return environment

    def _message(self, request: Request, status: int, title: str, text: str) -> Response:
        return self._page("message.html", status, title=title, text=text, request_id=request.state.request_id)

    def _page(self, template: str, status: int = 200, **values: object) -> Response:
        return HTMLResponse(self._environment.get_template(template).render(values), status)
