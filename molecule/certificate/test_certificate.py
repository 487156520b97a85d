"""A certificate is worth what a client makes of it: every test is a TLS handshake with a server that uses the pair."""

import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from scenario import FLEET

PORT = 4433
SERVER = f"""
import http.server, ssl
class Server(http.server.ThreadingHTTPServer):
    def get_request(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain("/etc/ssl/host.pem", "/etc/ssl/private/host.key")
        connection, address = super().get_request()
        return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address
Server(("", {PORT}), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture(autouse=True, scope="module")
def server(hosts: Callable[[str], Any], eventually: Callable[..., None]) -> Iterator[None]:
    host = hosts("host1")
    host.run("systemd-run --collect --unit=server python3 -c %s", SERVER)
    eventually(lambda: host.socket(f"tcp://0.0.0.0:{PORT}").is_listening)
    yield
    host.run("systemctl stop server")


@pytest.fixture
def certificate(address: Callable[[str], str]) -> Callable[..., dict[str, Any]]:
    """The certificate a client gets that trusts the authority and asks for a name."""

    def handshake(name: str = "host1") -> dict[str, Any]:
        context = ssl.create_default_context(cafile=FLEET / "pki/ca.pem")
        with (
            socket.create_connection((address("host1"), PORT), timeout=5) as connection,
            context.wrap_socket(connection, server_hostname=name) as secured,
        ):
            found = secured.getpeercert()
            assert found
            return dict(found)

    return handshake


@pytest.mark.parametrize("name", ["host1", "host1.example.com", "127.0.0.1"])
def test_clients_of_the_authority_accept_every_name(certificate: Callable[..., dict[str, Any]], name: str) -> None:
    assert certificate(name)


def test_another_name_is_refused(certificate: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=r"doesn't match|not valid for"):
        certificate("host2")


def test_the_authority_on_the_host_is_the_one_that_signed(hosts: Callable[[str], Any]) -> None:
    assert hosts("host1").file("/etc/ssl/ca.pem").content_string == (FLEET / "pki/ca.pem").read_text()


def test_only_its_owner_reads_the_key(hosts: Callable[[str], Any]) -> None:
    host = hosts("host1")
    host.run("chmod 0711 /etc/ssl/private")  # let everybody come as far as the key itself
    assert host.run("runuser -u admin cat /etc/ssl/private/host.key").succeeded
    assert "Permission denied" in host.run("runuser -u nobody cat /etc/ssl/private/host.key").stderr


def test_new_names_issue_a_new_certificate(
    certificate: Callable[..., dict[str, Any]], converge: Callable[..., Any]
) -> None:
    before = certificate()
    run = converge("-e", '{"certificate_names": ["host1", "new.example.com"]}')
    assert run.succeeded, run.output
    assert certificate("new.example.com")["serialNumber"] != before["serialNumber"]


def test_it_is_renewed_before_it_ends(certificate: Callable[..., dict[str, Any]], converge: Callable[..., Any]) -> None:
    before = certificate()
    run = converge("-e", '{"certificate_names": ["host1", "new.example.com"], "certificate_renew_days": 366}')
    assert run.succeeded, run.output
    assert certificate()["serialNumber"] != before["serialNumber"]
