"""A registry that fails between the moment a tag is looked up and the moment hosts pull it."""

from __future__ import annotations

import base64
import ssl
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from faults import Good, busy_hosts, refused, registry_down
from fleet import Fleet, Run
from load import Visitors
from story import Faulty, assert_serving

Break = Callable[[Fleet, str, ExitStack], None]


def dies(fleet: Fleet, _tag: str, until_the_end: ExitStack) -> None:
    """The registry answers nobody from now on."""
    until_the_end.enter_context(registry_down(fleet))


def loses(fleet: Fleet, tag: str, _until_the_end: ExitStack) -> None:
    """The registry has the tag's image no more."""
    password = (fleet.folder / "secrets" / "registry_push").read_text().split()[0]
    user = base64.b64encode(f"push:{password}".encode()).decode()
    trusted = ssl.create_default_context(cafile=str(fleet.folder / "pki" / "ca.pem"))
    trusted.check_hostname = False  # the certificate names the registry as hosts know it
    accept = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"

    def ask(method: str, reference: str) -> str:
        request = urllib.request.Request(
            f"https://127.0.0.1:{fleet.port_base + 201}/v2/web/manifests/{reference}",
            method=method,
            headers={"Authorization": f"Basic {user}", "Accept": accept},
        )
        with urllib.request.urlopen(request, timeout=30, context=trusted) as answer:  # noqa: S310  see above
            return str(answer.headers["Docker-Content-Digest"])

    ask("DELETE", ask("HEAD", tag))


def deploy_with_registry(fleet: Fleet, tag: str, breaks: Break) -> Run:
    """Deploy a tag that no host has; the registry breaks when the tag has been looked up."""
    with ExitStack() as until_the_end:
        with busy_hosts(fleet):
            rollout = fleet.start("deploy", service="web", tag=tag, watch="off")
            rollout.until_it_says("Ask the registry what the tag stands for")  # printed when it has answered
            breaks(fleet, tag, until_the_end)
        return rollout.wait()


# In this order: what is gone cannot be lost by a registry that dies.
@pytest.mark.parametrize("breaks", [dies, loses])
def test_an_image_that_cannot_be_pulled_any_more_touches_nobody(
    fleet: Fleet, good: Good, faulty: Faulty, breaks: Break
) -> None:
    with Visitors(fleet.url) as visitors:
        run = deploy_with_registry(fleet, faulty.unknown_to_hosts, breaks)
    refused(
        run,
        f"{faulty.unknown_to_hosts} could not be pulled: ",
        f"web1 still serves {good.live}",
        f"Serving now: {good.live} on web1, web2.",
        "Next: ",
    )
    assert "switched to" not in run.output
    assert_serving(fleet, good.live)
    assert visitors.failed == {}
