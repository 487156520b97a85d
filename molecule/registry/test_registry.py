"""Who may do what with images, asked over the registry's own API from the control node."""

import hashlib
import socket
import ssl
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from scenario import FLEET

PULL, PUSH = "pull:pull-password", "push:push-password"
LAYER = b"not much of a layer"
DIGEST = f"sha256:{hashlib.sha256(LAYER).hexdigest()}"
Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def ask(address: Callable[[str], str]) -> Ask:
    """Send a request and return status and headers."""

    def request(method: str, path: str, login: str = "", body: bytes | None = None) -> tuple[int, Any]:
        url = path if path.startswith("https://") else f"https://{address('registry1')}:5000{path}"
        headers = {"Content-Type": "application/octet-stream"}
        if login:
            headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
        context = ssl.create_default_context(cafile=FLEET / "pki/ca.pem")
        question = urllib.request.Request(url, method=method, data=body, headers=headers)  # noqa: S310 - https
        try:
            with urllib.request.urlopen(question, context=context, timeout=10) as answer:  # noqa: S310
                return answer.status, answer.headers
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.headers

    return request


def push_layer(ask: Ask, repository: str) -> int:
    status, headers = ask("POST", f"/v2/{repository}/blobs/uploads/", PUSH)
    assert status == 202
    return ask("PUT", f"{headers['Location']}&digest={DIGEST}", PUSH, LAYER)[0]


@pytest.mark.parametrize("login", ["", "pull:wrong", "push:wrong", "nobody:pull-password", "push:pull-password"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_a_password_nothing_works(ask: Ask, method: str, login: str) -> None:
    path = "/v2/" if method == "GET" else "/v2/web/blobs/uploads/"
    # Who claims to be the pulling user is told that it may not push before the password is looked at.
    assert ask(method, path, login)[0] == (403 if (method, login) == ("POST", "pull:wrong") else 401)


def test_the_pushing_user_pushes_and_the_pulling_user_pulls(ask: Ask) -> None:
    assert push_layer(ask, "web") == 201
    status, headers = ask("GET", f"/v2/web/blobs/{DIGEST}", PULL)
    assert (status, headers["Content-Length"]) == (200, str(len(LAYER)))


def test_the_pulling_user_does_not_push_or_delete(ask: Ask) -> None:
    push_layer(ask, "web")
    for method, path in [
        ("POST", "/v2/web/blobs/uploads/"),
        ("PUT", "/v2/web/manifests/v1"),
        ("PATCH", "/v2/web/blobs/uploads/1"),
        ("DELETE", f"/v2/web/blobs/{DIGEST}"),
    ]:
        assert ask(method, path, PULL, b"{}" if method != "DELETE" else None)[0] == 403, method
    assert ask("HEAD", f"/v2/web/blobs/{DIGEST}", PULL)[0] == 200


def test_the_pushing_user_deletes(ask: Ask) -> None:
    push_layer(ask, "old")
    assert ask("DELETE", f"/v2/old/blobs/{DIGEST}", PUSH)[0] == 202
    assert ask("HEAD", f"/v2/old/blobs/{DIGEST}", PULL)[0] == 404


def test_a_client_without_the_authority_is_warned(address: Callable[[str], str]) -> None:
    with (
        socket.create_connection((address("registry1"), 5000), timeout=5) as connection,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        ssl.create_default_context().wrap_socket(connection, server_hostname=address("registry1"))


def test_nobody_gets_past_nginx(address: Callable[[str], str], hosts: Callable[[str], Any]) -> None:
    assert hosts("registry1").socket("tcp://127.0.0.1:5001").is_listening
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((address("registry1"), 5001), timeout=5)


def test_images_outlive_the_registry(ask: Ask, hosts: Callable[[str], Any], eventually: Callable[..., None]) -> None:
    push_layer(ask, "web")
    hosts("registry1").check_output("systemctl restart docker-registry nginx")
    eventually(lambda: ask("HEAD", f"/v2/web/blobs/{DIGEST}", PULL)[0] == 200)


def test_passwords_are_nobodys_business(hosts: Callable[[str], Any]) -> None:
    read = "runuser -u admin cat /etc/nginx/htpasswd /etc/nginx/registry.key"
    assert hosts("registry1").run(read).stderr.count("Permission denied") == 2


def test_a_new_password_holds_at_once(ask: Ask, converge: Callable[..., Any]) -> None:
    assert converge("-e", "registry_pull_password=new-password").succeeded
    assert ask("GET", "/v2/", PULL)[0] == 401
    assert ask("GET", "/v2/", "pull:new-password")[0] == 200
