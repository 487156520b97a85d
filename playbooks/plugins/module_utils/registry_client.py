"""A small client of the registry HTTP API v2: TLS with our own CA, basic auth, the standard library only.

It runs on hosts that have nothing but Python 3 and on the control node. Every failure is a RegistryError whose
text can be shown to a person: it never holds a password.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

# All four, or the registry converts (or refuses) what it holds and the digest is not the pushed one.
MANIFEST_TYPES = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_VERSION = re.compile(r"v([1-9][0-9]*)")
_NEXT_LINK = re.compile(r"<([^>]+)>\s*;\s*rel=\"?next\"?")
_PAGES_AT_MOST = 1000


class RegistryError(Exception):
    """The registry did not do what was asked; the text says why."""


class UnreachableError(RegistryError):
    """No answer, a broken answer or a connection that TLS refused."""


class UnauthorisedError(RegistryError):
    """User or password is wrong, or may not do this."""


class UnknownImageError(RegistryError):
    """The registry holds nothing of that name."""


class UnknownTagError(RegistryError):
    """The image is there, that tag or digest of it is not."""


def version_of(tag: str) -> int | None:
    """The number in v<N>; None for every other tag (`latest`, `v01`, `v2-rc1`)."""
    found = _VERSION.fullmatch(tag)
    return int(found.group(1)) if found else None


def newest_first(tags: Iterable[str]) -> list[str]:
    """Version tags, highest first; tags that are not versions are left out."""
    versions = {number for tag in tags if (number := version_of(tag)) is not None}
    return [f"v{number}" for number in sorted(versions, reverse=True)]


def highest_tag(tags: Iterable[str]) -> str | None:
    return next(iter(newest_first(tags)), None)


def next_tag(tags: Iterable[str]) -> str:
    highest = highest_tag(tags)
    return f"v{(version_of(highest) or 0) + 1}" if highest else "v1"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


@dataclass(frozen=True)
class Registry:
    """`address` as in an image reference (`registry1:5000`); `ca_file` empty means the system's own CAs."""

    address: str
    user: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    timeout_seconds: float = 10.0

    def tags(self, image: str) -> list[str]:
        """Every tag, in the registry's order; an image whose tags were all deleted has none."""
        tags: list[str] = []
        path = f"/v2/{image}/tags/list?n=1000"
        for _ in range(_PAGES_AT_MOST):
            answer = self._ask("GET", path, image)
            tags += _as_object(answer.body, self.address).get("tags") or []
            link = _NEXT_LINK.search(answer.headers.get("Link", ""))
            if not link:
                return tags
            # Only path and query: a link to another host must not receive our password.
            parts = urllib.parse.urlsplit(urllib.parse.urljoin(f"https://{self.address}{path}", link.group(1)))
            path = f"{parts.path}?{parts.query}"
        raise RegistryError(f"{self.address} lists the tags of {image} without end")

    def tags_or_none(self, image: str) -> list[str]:
        """Tags of an image that may not have been pushed yet."""
        try:
            return self.tags(image)
        except UnknownImageError:
            return []

    def resolve(self, image: str, tag: str) -> str:
        """The digest a tag points at now."""
        answer = self._ask("HEAD", f"/v2/{image}/manifests/{tag}", image, tag, accept=MANIFEST_TYPES)
        digest: str = answer.headers.get("Docker-Content-Digest", "")
        if not _DIGEST.fullmatch(digest):
            raise RegistryError(f"{self.address} told no digest for {image}:{tag}")
        return digest

    def has(self, image: str, tag: str) -> bool:
        try:
            self.resolve(image, tag)
        except (UnknownImageError, UnknownTagError):
            return False
        return True

    def labels(self, image: str, reference: str) -> dict[str, str]:
        """Labels from the image's configuration; of a multi-platform image, those of its first platform."""
        manifest = self._manifest(image, reference)
        for child in manifest.get("manifests") or []:
            manifest = self._manifest(image, child["digest"])
            break
        digest = (manifest.get("config") or {}).get("digest")
        if not digest:
            raise RegistryError(f"{image}@{reference} on {self.address} has no configuration")
        blob = self._ask("GET", f"/v2/{image}/blobs/{digest}", image, str(digest))
        config = _as_object(blob.body, self.address).get("config") or {}
        return {str(name): str(value) for name, value in (config.get("Labels") or {}).items()}

    def move_tag(self, image: str, tag: str, digest: str) -> None:
        """Let `tag` point at a manifest that is already there. For `latest`; version tags never move."""
        if version_of(tag) is not None:
            raise RegistryError(f"{tag} is a version and never moves")
        found = self._ask("GET", f"/v2/{image}/manifests/{digest}", image, digest, accept=MANIFEST_TYPES)
        kind = found.headers.get("Content-Type", MANIFEST_TYPES[0])
        self._ask("PUT", f"/v2/{image}/manifests/{tag}", image, tag, data=found.body, content_type=kind)

    def delete(self, image: str, digest: str) -> None:
        """Remove a manifest with every tag that points at it; its layers go at the next garbage collection."""
        if not _DIGEST.fullmatch(digest):
            raise RegistryError(f"only a digest can be deleted, not {digest!r}")
        self._ask("DELETE", f"/v2/{image}/manifests/{digest}", image, digest)

    def _manifest(self, image: str, reference: str) -> dict[str, Any]:
        path = f"/v2/{image}/manifests/{reference}"
        return _as_object(self._ask("GET", path, image, reference, accept=MANIFEST_TYPES).body, self.address)

    def _ask(
        self,
        method: str,
        path: str,
        image: str,
        reference: str = "",
        *,
        accept: tuple[str, ...] = (),
        data: bytes | None = None,
        content_type: str = "",
    ) -> Answer:
        request = urllib.request.Request(f"https://{self.address}{path}", data=data, method=method)
        if accept:
            request.add_header("Accept", ", ".join(accept))
        if content_type:
            request.add_header("Content-Type", content_type)
        if self.user:
            token = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            # Unredirected: blobs may live in an object store of somebody else.
            request.add_unredirected_header("Authorization", f"Basic {token}")
        try:
            with self._opener().open(request, timeout=self.timeout_seconds) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error, method, image, reference) from None
        except (http.client.HTTPException, OSError) as error:
            raise UnreachableError(f"registry {self.address}: {_reason(error)}") from None

    def _opener(self) -> urllib.request.OpenerDirector:
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
        except (OSError, ssl.SSLError) as error:
            raise UnreachableError(f"CA file {self.ca_file} cannot be used: {_reason(error)}") from None
        # No proxies: the registry is a host of ours, and a proxy would not know its name.
        return urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )

    def _refusal(self, error: urllib.error.HTTPError, method: str, image: str, reference: str) -> RegistryError:
        code = _error_code(error)
        if error.code in (401, 403):
            who = f"user {self.user}" if self.user else "no user"
            return UnauthorisedError(f"registry {self.address} refused {who} for {image} (HTTP {error.code})")
        if error.code == 404:
            # Registries answer HEAD without a body: a missing image then shows as a missing tag.
            if code == "NAME_UNKNOWN" or not reference:
                return UnknownImageError(f"registry {self.address} has no image {image}")
            return UnknownTagError(f"registry {self.address} has no {image}:{reference}")
        if error.code == 405 and method == "DELETE":
            return RegistryError(f"registry {self.address} has deletion switched off")
        detail = f", {code}" if code else ""
        return RegistryError(f"registry {self.address}: {method} of {image} failed (HTTP {error.code}{detail})")


def _reason(error: BaseException) -> str:
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, (TimeoutError, socket.timeout)):
        return "no answer in time"
    if isinstance(inner, http.client.IncompleteRead):
        return "the answer was cut short"
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({inner.verify_message})"
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return str(inner) or type(inner).__name__


def _error_code(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["errors"][0]["code"])
    except (ValueError, LookupError, TypeError, OSError, http.client.HTTPException):
        return ""


def _as_object(body: bytes, address: str) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UnreachableError(f"registry {address}: the answer is not the JSON object it should be")
    return found
