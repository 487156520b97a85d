"""The edge's configuration: who answers on which port, and how a switch reaches a request."""

from typing import Any

import pytest
from ansible.errors import AnsibleError
from render import MANAGED, render, section

WEB = {"public_port": 80, "health": {"path": "/healthz"}}
ADMIN = {"public_port": 8080, "health": {"path": "/up"}}


def edge(**overrides: Any) -> str:
    inputs = {"edge_services": {"web": WEB}} | overrides
    return render("etc/haproxy/haproxy.cfg.j2", "haproxy", "edge", **inputs)


def test_every_request_asks_the_map_for_the_live_backend() -> None:
    frontend = section(edge(), "frontend web")
    assert "bind :80" in frontend
    assert "use_backend %[str(web),map(/etc/haproxy/tagboat.map,web-none)]" in frontend
    assert frontend[-1] == "default_backend web-none"


@pytest.mark.parametrize(("slot", "port"), [("a", 10080), ("b", 20080)])
def test_a_slot_is_one_checked_server_on_its_loopback_port(slot: str, port: int) -> None:
    backend = section(edge(), f"backend web-{slot}")
    assert f"server {slot} 127.0.0.1:{port} check inter 2s fall 3 rise 1" in backend
    assert "http-check send meth GET uri /healthz ver HTTP/1.1 hdr Host web hdr User-Agent haproxy" in backend
    assert "http-check expect ! rstatus ^5" in backend, "who does not know the path is alive"
    assert "option http-server-close" in backend


@pytest.mark.parametrize("backend", ["backend web-none", "backend web-maintenance"])
def test_without_a_release_the_answer_is_503_and_when_to_come_back(backend: str) -> None:
    (answer,) = section(edge(edge_retry_after_seconds=7), backend)
    assert answer.startswith("http-request return status 503 ")
    assert "hdr Retry-After 7 " in answer


def test_only_public_ports_are_opened() -> None:
    binds = [line for line in edge(edge_services={"web": WEB, "admin": ADMIN}).splitlines() if "bind " in line]
    assert binds == ["    bind :8080", "    bind :80"]


def test_a_service_with_tls_is_served_with_the_edges_certificate() -> None:
    frontend = section(edge(edge_services={"web": WEB | {"tls": True}}), "frontend web")
    assert "bind :80 ssl crt /etc/haproxy/edge.pem alpn h2,http/1.1" in frontend
    assert "http-request set-header X-Forwarded-Proto https" in frontend


def test_the_admin_socket_is_for_root_only() -> None:
    assert "stats socket /run/haproxy/admin.sock user root mode 600 level admin expose-fd listeners" in section(
        edge(), "global"
    )


def test_a_stranger_cannot_choose_the_client_address() -> None:
    frontend = section(edge(), "frontend web")
    assert "http-request set-header X-Forwarded-For %[src]" in frontend
    assert "http-request set-header X-Forwarded-Proto http" in frontend
    assert not any("set-src" in line for line in frontend)


def test_a_trusted_proxy_says_who_the_client_is() -> None:
    frontend = section(edge(haproxy_trusted_proxies=["10.0.0.5", "10.1.0.0/24"]), "frontend web")
    proto, source, address = (
        next(number for number, line in enumerate(frontend) if text in line)
        for text in ("X-Forwarded-Proto", "set-src", "set-header X-Forwarded-For")
    )
    assert "acl trusted src 10.0.0.5 10.1.0.0/24" in frontend
    assert proto < source < address  # set-src changes what `trusted` sees


def test_the_log_has_no_query_string_and_no_health_checks() -> None:
    text = edge()
    assert "path=%{+Q}HPO" in text
    assert "http-request set-log-level silent if { path /healthz }" in section(text, "frontend web")


def test_a_host_without_http_services_has_no_frontend() -> None:
    assert "frontend" not in edge(edge_services={})


def test_a_service_without_health_is_refused() -> None:
    with pytest.raises(AnsibleError, match="health"):
        edge(edge_services={"web": {"public_port": 80}})


def test_the_maintenance_page_shows_its_text_as_text() -> None:
    page = render("etc/haproxy/maintenance.html.j2", "edge", edge_maintenance_text="Back at <5> & later")
    assert page.startswith("<!--")
    assert MANAGED in page
    assert "<p>Back at &lt;5&gt; &amp; later</p>" in page
