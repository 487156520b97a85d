"""The balancer's configuration: which host gets a request, and which requests get a second try."""

from typing import Any

from render import render, section

WEB = {"public_port": 80, "health": {"path": "/healthz"}, "hosts": ["web1", "web2"]}


def balancer(**overrides: Any) -> str:
    inputs = {"balancer_services": {"web": WEB}} | overrides
    return render("etc/haproxy/haproxy.cfg.j2", "haproxy", "balancer", **inputs)


def servers(text: str, backend: str) -> list[str]:
    return [line for line in section(text, f"backend {backend}") if line.startswith("server ")]


def test_every_host_is_a_server_on_the_public_port() -> None:
    assert servers(balancer(), "web") == ["server web1 web1:80", "server web2 web2:80"]


def test_a_host_that_dns_does_not_know_has_its_address() -> None:
    assert servers(balancer(balancer_addresses={"web2": "10.0.0.2"}), "web")[1] == "server web2 10.0.0.2:80"


def test_a_host_is_asked_for_its_health_through_its_edge() -> None:
    backend = section(balancer(balancer_check_seconds=0.25), "backend web")
    assert "http-check send meth GET uri /healthz ver HTTP/1.1 hdr Host web hdr User-Agent haproxy" in backend
    assert "http-check expect status 200-499" in backend, "who does not know the path is alive"
    assert any(line.startswith("default-server check inter 250ms fastinter 100ms fall 2 rise 1 ") for line in backend)


def test_a_host_without_address_does_not_keep_the_balancer_from_starting() -> None:
    for backend in ("web", "web-unhealthy"):
        defaults = [line for line in section(balancer(), f"backend {backend}") if line.startswith("default-server")]
        assert any("init-addr libc,none" in line and "resolvers hosts" in line for line in defaults)


def test_dns_failures_take_no_host_away() -> None:
    resolvers = section(balancer(), "resolvers hosts")
    assert {f"hold {reason} 20d" for reason in ("nx", "other", "refused", "timeout")} <= set(resolvers)
    assert not any("obsolete" in line for line in resolvers)  # it would keep the old address of a host that moved


def test_only_reads_are_repeated_after_they_were_sent() -> None:
    backend = section(balancer(), "backend web")
    assert "retry-on conn-failure empty-response 503" in backend
    assert "http-request disable-l7-retry unless { method GET HEAD OPTIONS }" in backend
    assert "option redispatch 1" in backend


def test_a_retry_does_not_wait() -> None:
    backend = section(balancer(), "backend web")
    assert "balance roundrobin" in backend  # leastconn sleeps a second before another host
    assert "timeout connect 300ms" in backend


def test_without_a_healthy_host_the_hosts_answer_themselves() -> None:
    text = balancer()
    assert "use_backend web-unhealthy if { nbsrv(web) eq 0 }" in section(text, "frontend web")
    assert servers(text, "web-unhealthy") == servers(text, "web")
    assert not any("check" in line for line in section(text, "backend web-unhealthy"))
