"""Engines as they run, whatever their configuration file says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from environment import Environment

pytestmark = pytest.mark.groups("docker")


@pytest.fixture
def info(host: Any) -> dict[str, Any]:
    return dict(json.loads(host.check_output("docker info --format '{{json .}}'")))


def test_the_engine_runs_as_configured(environment: Environment, info: dict[str, Any]) -> None:
    expected = environment.expected["docker"]
    assert {key: info[key] for key in expected} == expected


def test_no_registry_is_spoken_to_without_tls(info: dict[str, Any]) -> None:
    registries = info["RegistryConfig"]
    assert [name for name, index in registries["IndexConfigs"].items() if not index["Secure"]] == []
    assert set(registries["InsecureRegistryCIDRs"]) <= {"127.0.0.0/8", "::1/128"}  # what Docker itself brings


def test_the_engine_trusts_the_registry_and_root_may_pull(environment: Environment, host: Any) -> None:
    registry = environment.fact("registry")
    logins = json.loads(host.file("/root/.docker/config.json").content_string)["auths"]
    ask = f"curl --silent --show-error --output /dev/null --write-out '%%{{http_code}}' https://{registry}/v2/"
    trust = f"--cacert /etc/docker/certs.d/{registry}/ca.crt"
    # By way of standard input, or the password would be in the list of processes.
    answer = host.run(f"echo %s | {ask} {trust} --header @-", f"Authorization: Basic {logins[registry]['auth']}")
    assert answer.stdout == "200", answer.stderr
