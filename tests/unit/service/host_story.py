"""What tests of a rollout on one host are told with: services, releases, whole rollouts, and what must be true."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

import plugin_loading
from ansible.module_utils.tagboat import slot
from ansible.module_utils.tagboat.record import PATH
from ansible.module_utils.tagboat.rollout import Rollout
from fake_host import WANTS, FakeHost, Image

services = plugin_loading.load("playbooks/plugins/filter/services.py")

SECRETS = {"DATABASE_URL": "postgresql://web:hunter2@data1/web"}

HTTP: dict[str, Any] = {
    "image": "web",
    "hosts": "web",
    "port": 8000,
    "public_port": 80,
    "secrets": ["DATABASE_URL"],
    "migrate": ["python", "-m", "app", "migrate"],
}
WORKER: dict[str, Any] = {"image": "web", "hosts": "web", "secrets": ["DATABASE_URL"]}
SINGLETON = WORKER | {"overlap": False}


def spec(raw: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A service as the catalogue describes it, every default filled in."""
    checked: dict[str, Any] = services.checked_services({"web": raw | changes})["web"]
    return checked


def release(tag: str, of: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What a deploy asks for."""
    digest = f"sha256:{tag}"
    return {"tag": tag, "digest": digest, "image": f"r1:5000/web@{digest}", "spec": spec(of, **changes)}


def prepared(init: str = "systemd", /, **images: Image) -> FakeHost:
    """A host after site.yml, without a release. The registry has v1, v2 and v3, good ones unless told otherwise."""
    host = FakeHost(init)
    for tag, image in ({"v1": Image(), "v2": Image(), "v3": Image()} | images).items():
        host.registry[f"r1:5000/web@sha256:{tag}"] = image
    return host


def rollout(host: FakeHost, name: str) -> Rollout:
    """One remote execution of the rollout of this name."""
    return Rollout(host, "web", {"id": name, "by": "ann", "what": f"deploy web ({name})"}, "production", "web1")


def deploy(host: FakeHost, name: str, wanted: dict[str, Any], **how: Any) -> bool:
    """What a rollout does on a host, in three remote executions."""
    rollout(host, name).preflight(wanted, first=True, min_free_mb=1000)
    changed = rollout(host, name).switch(wanted, how.pop("secrets", SECRETS), **how)
    rollout(host, name).finish()
    return changed


def undo(host: FakeHost, name: str, **how: Any) -> bool:
    """What the same rollout does on a host that switched when another host refused."""
    changed = rollout(host, name).undo(how.pop("secrets", SECRETS), "web2 refused it")
    rollout(host, name).finish()
    return changed


@dataclass
class Recorded:
    """The record of the service as it is on disk."""

    live_slot: str | None
    releases: list[dict[str, Any]]

    def with_result(self, result: str) -> dict[str, Any] | None:
        found = [entry for entry in self.releases if entry["result"] == result]
        assert len(found) <= 1, f"{len(found)} releases are {result}"
        return found[0] if found else None

    @functools.cached_property
    def live(self) -> dict[str, Any] | None:
        return self.with_result("live")

    @functools.cached_property
    def standby(self) -> dict[str, Any] | None:
        return self.with_result("standby")


def record(host: FakeHost) -> Recorded:
    """Read the record without going through the host: looking is no effect."""
    return parsed(host.files.get(PATH, '{"services": {}}'))


@functools.lru_cache
def parsed(text: str) -> Recorded:
    own = json.loads(text)["services"].get("web", {})
    return Recorded(own.get("live"), own.get("releases", []))


def results(host: FakeHost) -> list[tuple[str, str]]:
    """The history, newest first."""
    return [(entry["tag"], entry["result"]) for entry in record(host).releases]


def at_boot(host: FakeHost) -> set[str]:
    """The slots that the init system starts at boot."""
    return {name for name in slot.SLOTS if f"{WANTS}/web@{name}.service" in host.links} | {
        name for name in slot.SLOTS if f"/etc/tagboat/web/{name}.boot" in host.files
    }


def assert_serves(host: FakeHost) -> None:
    """Nobody notices: whatever requests may go to is healthy, and so is what the record calls live."""
    now = record(host)
    if now.live:
        assert now.live_slot == now.live["slot"]
        assert host.healthy(f"web-{now.live_slot}"), f"the record's live {now.live['tag']} is not healthy"
        assert host.containers[f"web-{now.live_slot}"].label("tagboat.digest") == now.live["digest"]
    for backend in host.edge_points_to("web"):
        if backend == "web-maintenance":
            continue  # a person's doing
        if backend != "web-none":
            assert host.healthy(backend), f"the edge points to {backend}, which is not healthy"
        elif now.live:
            assert "port" not in now.live["spec"], "the edge points nowhere"


def assert_survives_reboot(host: FakeHost) -> None:
    """A host that reboots comes back with its live release, asking nobody."""
    again = host.copy()
    again.registry = {}
    again.reboot()
    assert_serves(again)


def assert_settled(host: FakeHost, tag: str | None) -> None:
    """No trace of an interruption: record, edge, init system and containers tell the same story."""
    now = record(host)
    assert (now.live["tag"] if now.live else None) == tag
    assert_serves(host)
    assert_survives_reboot(host)
    running = {name for name in slot.SLOTS if host.running(f"web-{name}")}
    if now.live is None:
        assert (running, at_boot(host), host.edge_points_to("web")) == (set(), set(), {"web-none"})
        return
    live = now.live["slot"]
    container = host.containers[f"web-{live}"]
    assert at_boot(host) == {live}
    assert container.env.items() >= SECRETS.items()
    assert f"--memory={now.live['spec']['memory_mb']}m" in container.arguments
    assert len([entry for entry in now.releases if entry["result"] in ("live", "standby")]) <= 2
    if now.live["spec"].get("port"):
        assert host.edge_points_to("web") == {f"web-{live}"}
        if slot.other(live) in running:
            assert now.standby is not None, "something runs beside the live release that no one knows of"
            assert now.standby["digest"] == host.containers[f"web-{slot.other(live)}"].label("tagboat.digest")
    else:
        assert running == {live}
    assert "/run/tagboat/web.lease" not in host.files
    assert host.locks == set()
    host.pass_time(601)
    assert {name for name in slot.SLOTS if host.running(f"web-{name}")} == {live}, "a standby runs for ever"
