"""The registry, asked from the control node as rollouts ask it."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from base64 import b64encode

import pytest
from environment import Environment


def ask(environment: Environment, login: str = "", trusted: bool = True) -> int:
    address = environment.fact("registry_here")
    headers = {"Authorization": f"Basic {b64encode(login.encode()).decode()}"} if login else {}
    context = ssl.create_default_context(cafile=environment.fact("ca_file") if trusted else None)
    question = urllib.request.Request(f"https://{address}/v2/", headers=headers)
    try:
        with urllib.request.urlopen(question, context=context, timeout=10) as answer:  # noqa: S310 - https
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        return refusal.code


def test_its_certificate_is_signed_by_the_environments_authority(environment: Environment) -> None:
    assert ask(environment, environment.fact("login")) == 200


def test_whoever_does_not_trust_the_authority_is_warned(environment: Environment) -> None:
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        ask(environment, trusted=False)


@pytest.mark.parametrize("login", ["", "pull:", "pull:guess", "admin:admin"])
def test_it_asks_for_a_password(environment: Environment, login: str) -> None:
    assert ask(environment, login) == 401
