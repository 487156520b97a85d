"""The `datadog` library's API, with an HTTP client that hides nothing.

The library's own loses what we need (the status, Retry-After), follows redirects (which turns a POST into a GET that
"succeeds"), sends again by itself, and after three timeouts refuses every call of the process for five minutes. It has
a place to plug in another one; all of that happens in the one it brings.
"""

import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, Request, build_opener

import datadog
from datadog import api
from datadog.api.api_client import APIClient
from datadog.api.http_client import HTTPClient

TIMEOUT_SECONDS = 8


class RefusedByDatadog(Exception):
    """An answer that is not 2xx."""

    def __init__(self, status: int, headers: Mapping[str, str], body: str) -> None:
        super().__init__(f"{status} {' '.join(body.split())[:200]}".strip())
        self.status, self.body = status, body
        self.headers = {name.lower(): value for name, value in headers.items()}


@dataclass(frozen=True)
class _Answer:
    status_code: int
    content: bytes
    headers: Mapping[str, str]


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class PlainHttp(HTTPClient):
    """One request, one answer. Raises RefusedByDatadog, and whatever urllib raises when there is no answer."""

    @classmethod
    def request(cls, method: str, url: str, *_: object, **more: Any) -> _Answer:
        """Called by the library, with everything by name."""
        headers, params, data = more["headers"], more["params"], more["data"]
        if not url.startswith(("http://", "https://")):
            raise ValueError("Datadog's address must start with https://")
        if params:
            url = f"{url}?{urlencode(params)}"
        body = data.encode() if isinstance(data, str) else data
        request = Request(url, data=body, headers=headers, method=method)  # noqa: S310  # checked above
        try:
            with _opener().open(request, timeout=more["timeout"]) as response:
                return _Answer(response.status, response.read(), response.headers)
        except HTTPError as error:
            with error:
                raise RefusedByDatadog(error.code, dict(error.headers.items()), _text(error)) from None


@cache
def _opener() -> OpenerDirector:
    # Once: reading the system's certificates takes longer than a request.
    return build_opener(_NoRedirects, HTTPSHandler(context=ssl.create_default_context()))


def _text(error: HTTPError) -> str:
    try:
        return error.read(2_000).decode("utf-8", "replace")
    except OSError:  # the body broke off; the status says enough
        return ""


def configure(url: str, api_key: str, app_key: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
    """Set up the library, which has one configuration a process."""
    datadog.initialize(
        api_key=api_key,
        app_key=app_key,
        api_host=url.rstrip("/"),
        host_name="ops_bot",  # else it asks the machine, by way of its agent
        hostname_from_config=False,
        mute=False,  # the default returns errors as if they were answers
        timeout=timeout_seconds,
        max_retries=0,
    )
    logging.getLogger("datadog.api").setLevel(logging.WARNING)  # it would note every request
    api._application_key = app_key or None
    APIClient._http_client = PlainHttp
