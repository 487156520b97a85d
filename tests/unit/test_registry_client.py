"""The registry client against a registry made of dictionaries that answers over real TLS."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import plugin_loading
import pytest
from ansible.module_utils import registry_client as client

registry_tags = plugin_loading.load("playbooks/plugins/action/registry_tags.py")

MANIFEST, INDEX = client.MANIFEST_TYPES[0], client.MANIFEST_TYPES[3]
LABELS = {
    "org.opencontainers.image.revision": "abc1234",
    "org.opencontainers.image.created": "2026-11-21T10:00:00Z",
    "org.opencontainers.image.authors": "Ann <ann@example.org>",
    "tagboat.subject": "Greet",
    "tagboat.commits": '[{"revision":"abc1234","subject":"Greet"}]',
}


def digest_of(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


class Store:
    """What the registry holds, and how it misbehaves."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.tags: dict[str, list[str]] = {}
        self.page = 100
        self.trouble = ""
        self.seen: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []

    def push(self, image: str, tag: str, labels: dict[str, str], kind: str = MANIFEST) -> str:
        config = json.dumps({"config": {"Labels": labels}}).encode()
        self.blobs[digest_of(config)] = config
        body = json.dumps({"config": {"digest": digest_of(config)}, "layers": []}).encode()
        return self.put(image, tag, kind, body)

    def put(self, image: str, tag: str, kind: str, body: bytes) -> str:
        digest = digest_of(body)
        self.manifests[image, digest] = self.manifests[image, tag] = (kind, body)
        if tag != digest and tag not in self.tags.setdefault(image, []):
            self.tags[image].append(tag)
        return digest


class Handler(BaseHTTPRequestHandler):
    store: ClassVar[Store]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None: ...

    def do_GET(self) -> None:  # noqa: PLR0911 - a table of answers
        store = self.store
        store.seen.append((self.command, self.path))
        store.headers.append(dict(self.headers))
        if store.trouble == "slow":
            time.sleep(1)
        wanted = "Basic " + base64.b64encode(b"push:secret-word").decode()
        if self.headers.get("Authorization") != wanted:
            return self.answer(401, {"errors": [{"code": "UNAUTHORIZED"}]})
        if store.trouble == "500":
            return self.answer(500, {"errors": [{"code": "UNKNOWN"}]})
        if store.trouble == "html":
            return self.raw(200, b"<html>maintenance</html>", {})
        path, _, query = self.path.partition("?")
        parts = path.strip("/").split("/")
        if path.endswith("/tags/list"):
            return self.list_tags("/".join(parts[1:-2]), query)
        image, what, reference = "/".join(parts[1:-2]), parts[-2], parts[-1]
        if what == "blobs" and reference in store.blobs:
            return self.raw(200, store.blobs[reference], {})
        if what == "manifests":
            return self.manifest(image, reference)
        return self.answer(404, {"errors": [{"code": "BLOB_UNKNOWN"}]})

    do_HEAD = do_PUT = do_DELETE = do_GET

    def list_tags(self, image: str, query: str) -> None:
        if image not in self.store.tags:
            return self.answer(404, {"errors": [{"code": "NAME_UNKNOWN"}]})
        tags = self.store.tags[image]
        last = dict(pair.split("=") for pair in query.split("&")).get("last")
        start = tags.index(last) + 1 if last else 0
        page = tags[start : start + self.store.page]
        headers = {}
        if start + self.store.page < len(tags):
            # A relative link, as distribution sends it.
            headers["Link"] = f'</v2/{image}/tags/list?last={page[-1]}&n={self.store.page}>; rel="next"'
        return self.answer(200, {"name": image, "tags": page or None}, headers)

    def manifest(self, image: str, reference: str) -> None:
        store = self.store
        if self.command == "PUT":
            body = self.rfile.read(int(self.headers["Content-Length"]))
            store.put(image, reference, self.headers["Content-Type"], body)
            return self.raw(201, b"", {})
        if (image, reference) not in store.manifests:
            return self.answer(404, {"errors": [{"code": "MANIFEST_UNKNOWN"}]})
        if self.command == "DELETE":
            if store.trouble == "405":
                return self.answer(405, {"errors": [{"code": "UNSUPPORTED"}]})
            del store.manifests[image, reference]
            return self.raw(202, b"", {})
        kind, body = store.manifests[image, reference]
        return self.raw(200, body, {"Content-Type": kind, "Docker-Content-Digest": digest_of(body)})

    def answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        self.raw(status, json.dumps(content).encode(), headers or {})

    def raw(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            # A client that lost patience has gone.
            with contextlib.suppress(OSError):
                self.wfile.write(body[: len(body) // 2] if self.store.trouble == "short" else body)
        self.close_connection = self.store.trouble == "short"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    key = path.with_name("key.pem")
    subprocess.run([*words, "-keyout", str(key), "-out", str(path), *subject], check=True, capture_output=True)
    path.write_text(path.read_text() + key.read_text())
    return path


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def registry(store: Store, certificate: Path) -> Iterator[Any]:
    handler = type("OneHandler", (Handler,), {"store": store})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield client.Registry(f"localhost:{server.server_port}", "push", "secret-word", str(certificate), 5)
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("tags", "highest", "following"),
    [
        ([], None, "v1"),
        (["latest"], None, "v1"),
        (["v1", "v2", "latest"], "v2", "v3"),
        (["v9", "v10", "v8"], "v10", "v11"),
        (["v01", "v2-rc1", "V7", "v0", "release"], None, "v1"),
    ],
)
def test_next_tag_counts_versions_only(tags: list[str], highest: str | None, following: str) -> None:
    assert client.highest_tag(tags) == highest
    assert client.next_tag(tags) == following


def test_newest_first_sorts_by_number() -> None:
    assert client.newest_first(["v2", "latest", "v10", "v2", "v1"]) == ["v10", "v2", "v1"]


def test_tags_follow_every_page(store: Store, registry: Any) -> None:
    store.page = 3
    for number in range(1, 9):
        store.push("web", f"v{number}", LABELS)
    assert registry.tags("web") == [f"v{number}" for number in range(1, 9)]
    assert len(store.seen) == 3


def test_a_link_to_another_host_gets_no_password(store: Store, registry: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store.push("web", "v1", LABELS)
    first = True

    def list_tags(self: Any, *_: str) -> None:
        nonlocal first
        headers = {"Link": '<https://elsewhere.example/v2/web/tags/list?last=v1>; rel="next"'} if first else {}
        first = False
        self.answer(200, {"tags": ["v1"]}, headers)

    monkeypatch.setattr(Handler, "list_tags", list_tags)
    assert registry.tags("web") == ["v1", "v1"]
    assert store.seen[1] == ("GET", "/v2/web/tags/list?last=v1")


def test_an_image_without_tags(store: Store, registry: Any) -> None:
    store.tags["web"] = []
    assert registry.tags("web") == []


def test_unknown_image(registry: Any) -> None:
    with pytest.raises(client.UnknownImageError, match="has no image web"):
        registry.tags("web")
    assert registry.tags_or_none("web") == []


def test_resolve_asks_for_every_manifest_type(store: Store, registry: Any) -> None:
    digest = store.push("team/web", "v1", LABELS)
    assert registry.resolve("team/web", "v1") == digest
    assert store.seen == [("HEAD", "/v2/team/web/manifests/v1")]
    assert store.headers[0]["Accept"] == ", ".join(client.MANIFEST_TYPES)


def test_unknown_tag(store: Store, registry: Any) -> None:
    store.push("web", "v1", LABELS)
    with pytest.raises(client.UnknownTagError, match="has no web:v2"):
        registry.resolve("web", "v2")
    assert registry.has("web", "v1")
    assert not registry.has("web", "v2")


def test_labels(store: Store, registry: Any) -> None:
    assert registry.labels("web", store.push("web", "v1", LABELS)) == LABELS


def test_labels_of_a_multi_platform_image(store: Store, registry: Any) -> None:
    child = store.push("web", "child", LABELS)
    index = json.dumps({"manifests": [{"digest": child}]}).encode()
    assert registry.labels("web", store.put("web", "v1", INDEX, index)) == LABELS


def test_an_image_without_labels(store: Store, registry: Any) -> None:
    config = json.dumps({"config": {"Labels": None}}).encode()
    store.blobs[digest_of(config)] = config
    body = json.dumps({"config": {"digest": digest_of(config)}}).encode()
    assert registry.labels("web", store.put("web", "v1", MANIFEST, body)) == {}


def test_latest_moves_and_a_version_never_does(store: Store, registry: Any) -> None:
    digest = store.push("web", "v1", LABELS)
    registry.move_tag("web", "latest", digest)
    assert registry.resolve("web", "latest") == digest
    assert store.manifests["web", "latest"][0] == MANIFEST
    with pytest.raises(client.RegistryError, match="never moves"):
        registry.move_tag("web", "v1", digest)


def test_delete(store: Store, registry: Any) -> None:
    digest = store.push("web", "v1", LABELS)
    registry.delete("web", digest)
    assert ("web", digest) not in store.manifests
    with pytest.raises(client.UnknownTagError):
        registry.delete("web", digest)
    with pytest.raises(client.RegistryError, match="only a digest"):
        registry.delete("web", "v1")


def test_delete_switched_off(store: Store, registry: Any) -> None:
    digest = store.push("web", "v1", LABELS)
    store.trouble = "405"
    with pytest.raises(client.RegistryError, match="deletion switched off"):
        registry.delete("web", digest)


@pytest.mark.parametrize(
    ("trouble", "error", "text"),
    [
        ("500", client.RegistryError, "HTTP 500, UNKNOWN"),
        ("html", client.UnreachableError, "not the JSON object"),
        ("short", client.UnreachableError, "cut short"),
        ("slow", client.UnreachableError, "no answer in time"),
    ],
)
def test_broken_answers(store: Store, registry: Any, trouble: str, error: type[Exception], text: str) -> None:
    store.push("web", "v1", LABELS)
    store.trouble = trouble
    with pytest.raises(error, match=text):
        replace(registry, timeout_seconds=0.3 if trouble == "slow" else 5).tags("web")


def test_a_wrong_password_is_told_and_never_shown(registry: Any) -> None:
    wrong = replace(registry, password="other-word")
    with pytest.raises(client.UnauthorisedError, match="refused user push") as caught:
        wrong.tags("web")
    assert "other-word" not in str(caught.value)
    assert "other-word" not in repr(wrong)


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(client.UnreachableError, match=r"registry 127\.0\.0\.1:\d+: Connection refused"):
            client.Registry(address).tags("web")


def test_an_untrusted_certificate(registry: Any) -> None:
    with pytest.raises(client.UnreachableError, match="certificate is not trusted"):
        replace(registry, ca_file="").tags("web")


def test_a_missing_ca_file(registry: Any) -> None:
    with pytest.raises(client.UnreachableError, match="CA file /nowhere cannot be used: No such file"):
        replace(registry, ca_file="/nowhere").tags("web")


def test_look_tells_everything_about_a_tag(store: Store, registry: Any) -> None:
    store.push("web", "v1", {})
    digest = store.push("web", "v2", LABELS)
    found = registry_tags.look(registry, "web", "highest", "")
    assert found["tags"] == ["v2", "v1"]
    assert (found["tag"], found["digest"], found["revision"]) == ("v2", digest, "abc1234")
    assert (found["author"], found["created"]) == ("Ann <ann@example.org>", "2026-11-21T10:00:00Z")
    assert found["commits"] == [{"revision": "abc1234", "subject": "Greet"}]


def test_look_lists_only(store: Store, registry: Any) -> None:
    store.push("web", "v1", {})
    assert registry_tags.look(registry, "web", "", "") == {"tags": ["v1"], "highest": "v1"}
    assert registry_tags.look(registry, "eval", "", "") == {"tags": [], "highest": ""}


def test_an_unknown_tag_is_answered_with_the_next_command() -> None:
    said = registry_tags.unknown_tag("web", "v9", ["v3", "v2", "v1"], "make deploy SERVICE=web TAG={tag}")
    assert said == "web has no tag v9. It has v3, v2, v1. Next: make deploy SERVICE=web TAG=v3"
    many = registry_tags.unknown_tag("web", "v99", [f"v{n}" for n in range(14, 0, -1)], "")
    assert "v14, v13, v12, v11, v10, v9, v8, v7, v6, v5 and 4 older. Next: use tag v14" in many
    assert registry_tags.unknown_tag("web", "v1", [], "") == "web has no tags yet. Next: build it, make build IMAGE=web"
