"""Who may see the page, and what a browser may do with it."""

import base64
import binascii
import hmac
import ipaddress
import logging
from collections.abc import Callable
from urllib.parse import urlsplit

from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from ops_bot.settings import Settings

log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Response]

# Nothing from elsewhere, nothing inline, no forms, no frames: text from outside has nowhere to act.
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Wraps the endpoints of the page. What it decides from the settings it decides once."""

    def __init__(self, settings: Settings) -> None:
        self._password = settings.page_password
        self._open_to_all = settings.page_password is None and not is_loopback(settings.listen)
        self._names = {"localhost", "127.0.0.1", "[::1]", settings.listen, urlsplit(settings.page_url).netloc.lower()}
        if self._open_to_all:
            log.warning("no page on %s without a password: set OPS_BOT_PAGE_PASSWORD", settings.listen)

    def __call__(self, endpoint: Endpoint) -> Endpoint:
        """`endpoint`, for those who may see it."""

        def guarded(request: Request) -> Response:
            answer = self._refusal(request) or endpoint(request)
            answer.headers.update(_HEADERS)
            answer.headers.setdefault("Cache-Control", "no-cache, private")
            return answer

        return guarded

    def _refusal(self, request: Request) -> Response | None:
        if self._open_to_all:
            return PlainTextResponse(
                "This page is shown beyond this machine with a password only: set OPS_BOT_PAGE_PASSWORD.\n", 403
            )
        if self._password is None:
            return (
                None
                if self._is_ours(request)
                else PlainTextResponse("Ask for it by the name in OPS_BOT_PAGE_URL.\n", 421)
            )
        if _knows(request.headers.get("authorization", ""), self._password):
            return None
        return PlainTextResponse(
            "The password is that of OPS_BOT_PAGE_PASSWORD; any user name will do.\n",
            401,
            {"WWW-Authenticate": 'Basic realm="Tagboat", charset="UTF-8"'},
        )

    def _is_ours(self, request: Request) -> bool:
        """Without a password, another site's name may not lead here: a browser would let that site read the page."""
        host = request.headers.get("host", "").lower()
        return host in self._names or host.rpartition(":")[0] in self._names


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach `address`."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _knows(authorization: str, password: SecretStr) -> bool:
    scheme, _, encoded = authorization.partition(" ")
    try:
        said = base64.b64decode(encoded.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(said, password.get_secret_value().encode()) and scheme.lower() == "basic"
