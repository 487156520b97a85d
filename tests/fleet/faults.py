"""What the tests of faults share: breaking things, waiting for what must happen, and mending."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml
from fleet import ROOT, Fleet, Run
from story import assert_serving

UNLOCKED_WITHIN_SECONDS = 60  # whatever happened to the rollout before


@dataclass(frozen=True)
class Good:
    """Two good tags: the one that serves everywhere when a test begins, and the other."""

    live: str
    other: str


def tag_everywhere(fleet: Fleet) -> str | None:
    """The tag that every web host answers with; None when there is no such tag."""
    with contextlib.suppress(subprocess.SubprocessError):
        if len(tags := set(fleet.serving().values())) == 1:
            return tags.pop()
    return None


def recovers(fleet: Fleet, tag: str) -> None:
    """Deploy a tag as a person does who is told to wait: again and again, for 60 s. Nobody unlocks anything."""
    patience = time.monotonic() + UNLOCKED_WITHIN_SECONDS
    while not (run := fleet.deploy(tag)).ok:
        if "is marked bad" in run.output:
            run = fleet.deploy(tag, force=True)
            break
        assert "holds the lease" in run.output, run.tail
        assert time.monotonic() < patience, run.tail
    assert run.ok, run.tail
    assert_serving(fleet, tag)


def refused(run: Run, *words: str) -> None:
    """The run failed and says all of these."""
    assert not run.ok
    for word in words:
        assert word in run.output, f"no {word!r} in:{run.tail}"


def catalogue(**changes: dict[str, Any]) -> dict[str, Any]:
    """The services as an extra variable: those of the repository, with some keys of some services changed or added."""
    file = ROOT / "playbooks/group_vars/all/services.yml"
    services: dict[str, Any] = yaml.safe_load(file.read_text())["services"]
    for name, keys in changes.items():
        services[name] = {**services.get(name, {}), **keys}
    return services


@contextmanager
def registry_down(fleet: Fleet) -> Iterator[None]:
    """The registry host answers nobody."""
    fleet.host("registry1", "systemctl stop nginx docker-registry")
    try:
        yield
    finally:
        fleet.host("registry1", "systemctl start docker-registry nginx")


@contextmanager
def busy_hosts(fleet: Fleet) -> Iterator[None]:
    """A prune is at work on the web hosts: a rollout gets as far as their leases, and waits there for some seconds."""
    prune = {"id": "prune-1", "by": "ann", "what": "prune", "brief": True, "confirmed": False, "since": 0}
    for host in fleet.web_hosts():
        uptime = float(fleet.host(host, "cat /proc/uptime").split()[0])
        lease = json.dumps({**prune, "until": uptime + 600})
        fleet.host(host, f"mkdir -p /run/tagboat; echo '{lease}' > /run/tagboat/web.lease")
    try:
        yield
    finally:
        for host in fleet.web_hosts():
            fleet.host(host, "grep -q prune-1 /run/tagboat/web.lease && rm /run/tagboat/web.lease || true")


@contextmanager
def held_up(fleet: Fleet, host: str, by: str = "web.lock") -> Iterator[None]:
    """A step of a rollout of web begins on a host, and does not get on: something else holds a lock.

    Args:
        fleet: whose host it is.
        host: where.
        by: `web.lock`, which the switch needs, or `web.lease.lock`, which the preflight needs before.
    """
    fleet.console(host, f"setsid flock --close /run/tagboat/{by} sleep 97 >/dev/null 2>&1 &")
    try:
        yield
    finally:
        fleet.console(host, "pkill --full '^sleep 97'")


@contextmanager
def full_disk(fleet: Fleet, host: str, folder: str) -> Iterator[None]:
    """A folder of a host is on a file system of its own, with the same files, and no byte is free there."""
    fleet.host(
        host,
        f"rm -rf /root/before && cp -a {folder} /root/before && mount -t tmpfs -o size=64k,mode=0755 full {folder}"
        f" && cp -a /root/before/. {folder}/ && ! cat /dev/zero > {folder}/filler 2>/dev/null",
    )
    try:
        yield
    finally:
        fleet.host(host, f"umount {folder}; rm -r /root/before")


WRONG_CLOCK = "/usr/local/bin/python-with-a-wrong-clock"
WRONG_CLOCK_LIBRARY = """
struct timespec { long seconds, nanoseconds; };
void *dlsym(void *library, const char *name);
int clock_gettime(int clock, struct timespec *now)
{
    static int (*right)(int, struct timespec *);
    if (!right) right = dlsym((void *) -1L, "clock_gettime");
    int result = right(clock, now);
    if (result == 0 && clock == 0) now->seconds += SECONDS;
    return result;
}
"""


@contextmanager
def wrong_clock(fleet: Fleet, host: str, seconds: int) -> Iterator[str]:
    """A host whose time of day is wrong, as far as rollouts see it; yields the interpreter to give to them.

    The hosts of a fleet share one clock, so it is Python on that host that is told a wrong one. Uptime stays right.
    (Debian's libfaketime will not do: with the clock of uptime left alone, every sleep fails with EINVAL.)
    """
    library = WRONG_CLOCK_LIBRARY.replace("SECONDS", str(seconds))
    wrapper = f'#!/bin/sh\nLD_PRELOAD={WRONG_CLOCK}.so exec /usr/bin/python3 "$@"\n'
    fleet.host(
        host,
        f"command -v tcc || {{ apt-get -q update && apt-get -qy install --no-install-recommends tcc; }};"
        f" printf %s {shlex.quote(library)} | tcc -shared -nostdlib -o {WRONG_CLOCK}.so -"
        f" && printf %s {shlex.quote(wrapper)} > {WRONG_CLOCK} && chmod 755 {WRONG_CLOCK}",
    )
    try:
        believed = float(fleet.host(host, f"{WRONG_CLOCK} -c 'import time; print(time.time())'"))
        assert abs(believed - time.time() - seconds) < 60, "the clock is right: this would test nothing"
        yield f"{{{{ '{WRONG_CLOCK}' if inventory_hostname == '{host}' else '/usr/bin/python3' }}}}"
    finally:
        fleet.host(host, f"rm {WRONG_CLOCK} {WRONG_CLOCK}.so")


@contextmanager
def cut_off(fleet: Fleet, host: str, only_ssh: bool = False) -> Iterator[None]:
    """A host's packets are lost, in both directions, as with its cable out; or only those of SSH."""
    inward, outward = ("tcp dport 22", "tcp sport 22") if only_ssh else ("iif != lo", "oif != lo")
    rules = (
        f"chain in {{ type filter hook input priority -300; {inward} drop; }};"
        f" chain out {{ type filter hook output priority -300; {outward} drop; }};"
    )
    if not only_ssh:
        rules += " chain through { type filter hook forward priority -300; drop; };"
    fleet.console(host, f"nft 'table inet cable {{ {rules} }}'")
    try:
        yield
    finally:
        fleet.console(host, "nft delete table inet cable")


def at_once(*jobs: Callable[[], Run]) -> list[Run]:
    """Do several runs side by side."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result() for future in [pool.submit(job) for job in jobs]]


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until a condition holds; a look that fails counts as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
            if condition():
                return
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.5)
