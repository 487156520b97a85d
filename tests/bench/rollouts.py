"""`make bench`: how long a rollout takes from start to prompt, beside the same switch by hand, and who noticed it.

By hand means: a script over one SSH connection per host that is open already, on all hosts at once. It pulls, starts
the other container, waits for its health, flips the edge and stops the old one. No Ansible, no preflight, no canary, no
lease, no record, no way back, nobody told: what a rollout could cost at the least. Rollouts tell a real ops bot, which
runs on this machine too. Processor time is told of the control node, of the web hosts, and of the rest: visitors,
balancer, registry, ops bot.

    python tests/bench/rollouts.py [--hosts 2,8,24] [--delays 0,50,100] [--runs 7] [--images bench,web] [--fleet bench]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "fleet"))

from bot import BOT_TOKEN, Bot, bot  # noqa: E402
from fleet import ROOT, Fleet, Run, Source  # noqa: E402
from relay import Relay  # noqa: E402

PER_SECOND = 200  # requests through the balancer, and as many straight at the first host
QUIET_SECONDS = 5
TICKS = os.sysconf("SC_CLK_TCK")
NO_WATCH = {"watch_seconds": 0}  # a wait of 30 s by design says nothing about the tool
BENCH = {
    "image": "bench",
    "hosts": "web",
    "port": 8080,
    "public_port": 8090,
    "memory_mb": 32,
    "health": {"interval_seconds": 0.05},
    "rollout": NO_WATCH,
}
KINDS = ("deploy", "rollback, standby", "rollback, standby, not connected yet", "rollback, cold")
BY_HAND_PORT = 8091
BY_HAND = """
set -e
new=$1 old=$2 port=$3 image=$4 do=$5
case $do in *pull*) docker pull --quiet $image >/dev/null ;; esac
case $do in *start*)
    docker rm --force byhand-$new >/dev/null 2>&1 || true
    docker run --detach --name byhand-$new --network tagboat --read-only --tmpfs /tmp --memory 32m \\
        --publish 127.0.0.1:$port:8080 $image >/dev/null
    until curl --silent --fail --output /dev/null http://127.0.0.1:$port/healthz; do sleep 0.02; done ;;
esac
python3 -c 'import socket, sys
edge = socket.socket(socket.AF_UNIX); edge.connect("/run/haproxy/admin.sock")
edge.sendall(("set map /etc/haproxy/tagboat.map byhand byhand-%s\\n" % sys.argv[1]).encode()); edge.recv(999)' $new
case $do in *stop*) docker stop byhand-$old >/dev/null ;; esac
"""


@dataclass(frozen=True)
class Spent:
    """What this machine's processors did, in seconds of one of them: where the time of a rollout goes.

    Args:
        used: in all.
        unused: what they could have done beside.
        control: by the playbook and what it started, on the control node.
        hosts: by the web hosts, whatever runs on them.
    """

    used: float
    unused: float
    control: float
    hosts: float

    @property
    def busy(self) -> float:
        """The share of the processors' time that was used."""
        return self.used / (self.used + self.unused)

    def since(self, before: Spent) -> Spent:
        """What was done between then and now."""
        return Spent(
            self.used - before.used,
            self.unused - before.unused,
            self.control - before.control,
            self.hosts - before.hosts,
        )


@dataclass
class Timed:
    """What was measured of one kind of rollout."""

    hosts: int
    delay_ms: int
    image: str
    what: str
    seconds: list[float] = field(default_factory=list)
    spent: list[Spent] = field(default_factory=list)
    by_hand_seconds: list[float] = field(default_factory=list)
    requests: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    milliseconds: list[float] = field(default_factory=list)
    executions_per_host: int = 0
    pulled_bytes: int = 0

    def row(self) -> dict[str, Any]:
        """Sum it up: medians, and the spread as the lowest and highest."""
        took = sorted(self.milliseconds)
        hand = statistics.median(self.by_hand_seconds) if self.by_hand_seconds else None
        middle = statistics.median(self.seconds)

        def median(of: Callable[[Spent], float]) -> float:
            return statistics.median(map(of, self.spent))

        return {
            "hosts": self.hosts,
            "RTT ms": self.delay_ms,
            "image": self.image,
            "what": self.what,
            "runs": len(self.seconds),
            "median s": round(middle, 2),
            "spread s": f"{min(self.seconds):.2f}-{max(self.seconds):.2f}",
            "busy %": round(100 * median(lambda spent: spent.busy)),
            "control cpu s": round(median(lambda spent: spent.control), 1),
            "hosts cpu s": round(median(lambda spent: spent.hosts), 1),
            "rest cpu s": round(median(lambda spent: spent.used - spent.control - spent.hosts), 1),
            "by hand s": round(hand, 2) if hand else "",
            "ratio": round(middle / hand, 1) if hand else "",
            "executions": self.executions_per_host or "",
            "pulled kB": round(self.pulled_bytes / 1000) if self.pulled_bytes else "",
            "requests": self.requests,
            "failed": sum(self.failed.values()),
            "p50 ms": took[len(took) // 2],
            "p99 ms": took[len(took) * 99 // 100],
            "max ms": took[-1],
        }


class Bench:
    """A provisioned fleet of one size, with two releases of each image; the ops bot `told` is told of all."""

    def __init__(
        self, fleet: Fleet, source: Source, told: Bot, hosts: int, *, images: list[str], provision: bool
    ) -> None:
        os.environ["LAB_WEB_HOSTS"] = str(hosts)
        self.fleet = fleet
        services = yaml.safe_load((ROOT / "playbooks/group_vars/all/services.yml").read_text())["services"]
        by_hand = BENCH | {"public_port": BY_HAND_PORT}
        extra = {
            "services": {"web": services["web"] | {"rollout": NO_WATCH}, "bench": BENCH, "byhand": by_hand},
            "images": {"base": {}, "postgres": {}, "web": {}, "bench": {}},
        }
        self.extra = json.dumps(extra | {"ops_bot_url": f"http://127.0.0.1:{told.port}", "ops_bot_token": BOT_TOKEN})
        self.ports = {"web": 80, "bench": BENCH["public_port"]}
        for playbook in ("lab", "site") if provision else ():
            self.need(playbook)
        self.hosts = fleet.web_hosts()
        self._clocks = [processor_clock(f"tagboat-{fleet.name}-{host}") for host in self.hosts]
        self.addresses = {host: self._address(host) for host in ["lb1", self.hosts[0]]}
        self.tags = {image: [self._release(source, image, number) for number in (1, 2)] for image in images}

    def need(self, playbook: str, *options: str, **extra: str) -> Run:
        """Run a playbook that the measurements stand on; end the bench when it fails."""
        run = self.fleet.play(playbook, "-e", self.extra, *options, **extra)
        if not run.ok:
            sys.exit(run.tail)
        return run

    def _address(self, host: str) -> str:
        shown = subprocess.run(
            [
                *("docker", "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"),
                f"tagboat-{self.fleet.name}-{host}",
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        return shown.stdout.strip()

    def _release(self, source: Source, image: str, number: int) -> str:
        """Build a release; the second one differs from the first by its code only."""
        if image == "bench":
            folder = source.folder / "images" / "bench"
            shutil.copytree(HERE / "image", folder, dirs_exist_ok=True)
            (folder / "www").mkdir(exist_ok=True)
            (folder / "www" / "index.html").write_text(f"release {number}\n")
            (folder / "www" / "healthz").write_text("ok\n")
            source.commit(f"Bench release {number}")
        else:
            source.new_heading(f"Bench release {number}")
        run = self.need("build", image=image, image_source_dir=str(source.folder))
        return str(re.findall(rf"\b{image} (v\d+) sha256:", run.output)[-1])

    def everywhere(self, command: str) -> None:
        """Run a shell command as root on every web host, side by side."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda host: self.fleet.host(host, command), self.hosts))

    def forget(self, image: str, tag_index: int) -> None:
        """Take a release's image away from all hosts, as if it had never been there."""
        tag = self.tags[image][tag_index]
        reference = f"registry1:5000/{image}@{self.digests[image, tag]}"
        self.everywhere(f"docker ps -aq --filter ancestor={reference} | xargs -r docker rm -f >/dev/null 2>&1;"
                        f" docker image rm -f {reference} >/dev/null 2>&1 || true")  # fmt: skip

    def ssh_ports(self) -> list[int]:
        """Return the ports on 127.0.0.1 where the hosts' sshd are reached."""
        text = (self.fleet.folder / "ssh_config").read_text()
        return [int(port) for port in re.findall(r"(?m)^\s+Port (\d+)$", text)]

    @property
    def digests(self) -> dict[tuple[str, str], str]:
        """(image, tag) -> digest, as the builds of this fleet printed them."""
        found = {}
        for log in self.fleet.reports.glob("*-build.log"):
            for image, tag, digest in re.findall(r"\b(\w+) (v\d+) (sha256:\w+)", log.read_text()):
                found[image, tag] = digest
        return found

    def spent(self) -> Spent:
        """What the processors have done until now; see `Spent`."""
        ticks = [int(word) / TICKS for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        idle = ticks[3] + ticks[4]  # with nothing to do, or only a disk to wait for; see proc_stat(5)
        ended = os.times()
        hosts = sum(clock() for clock in self._clocks)
        return Spent(sum(ticks) - idle, idle, ended.children_user + ended.children_system, hosts)

    @contextmanager
    def load(self, image: str, timed: Timed) -> Iterator[None]:
        """Visit through the balancer and straight at the first host, and add what came of it to `timed`."""
        urls = [f"http://{self.addresses[host]}:{self.ports[image]}/" for host in ("lb1", self.hosts[0])]
        command = [sys.executable, str(HERE / "visitors.py")]
        visitors = [
            subprocess.Popen([*command, url, str(PER_SECOND)], stdout=subprocess.PIPE, text=True) for url in urls
        ]
        try:
            for process in visitors:
                assert process.stdout
                process.stdout.readline()
            yield
        finally:
            for process in visitors:
                process.send_signal(signal.SIGTERM)
            for process in visitors:
                told = json.loads(process.communicate(timeout=30)[0])
                timed.requests += told["requests"]
                timed.milliseconds += told["milliseconds"]
                for answer, count in told["failed"].items():
                    timed.failed[answer] = timed.failed.get(answer, 0) + count


def processor_clock(container: str) -> Callable[[], float]:
    """Return what tells how many seconds of a processor a container has used, by its cgroup; v1 first, then v2."""
    shown = subprocess.run(
        ["docker", "inspect", "--format", "{{.Id}}", container], check=True, capture_output=True, text=True
    )
    cgroups, name = Path("/sys/fs/cgroup"), shown.stdout.strip()
    nanoseconds = cgroups / "cpuacct/docker" / name / "cpuacct.usage"
    if nanoseconds.exists():
        return lambda: int(nanoseconds.read_text()) / 1e9
    places = (cgroups / f"system.slice/docker-{name}.scope", cgroups / "docker" / name)
    stat = next(place / "cpu.stat" for place in places if place.exists())
    return lambda: int(stat.read_text().split()[1]) / 1e6  # the first line: usage_usec


class Distance:
    """The fleet as seen from a control node that is `delay_ms` of round trip away.

    Args:
        bench: the fleet.
        relay: what its SSH goes through.
        delay_ms: how far.
    """

    def __init__(self, bench: Bench, relay: Relay, delay_ms: int) -> None:
        self.bench = bench
        self.delay_ms = delay_ms
        text = (bench.fleet.folder / "ssh_config").read_text()
        for port, relayed in relay.ports.items():
            text = re.sub(rf"(?m)^(\s+Port) {port}$", rf"\1 {relayed}", text)
        self.config = bench.fleet.folder / f"ssh_config.{delay_ms}ms"
        self.config.write_text(text)
        self.options = [
            *("-e", json.dumps({"ansible_ssh_common_args": f'-F "{self.config}"'})),
            *("-e", f"ansible_control_path_dir=~/.ansible/cp/{bench.fleet.name}-{delay_ms}"),
        ]
        self._slot = "a"

    def hang_up(self) -> None:
        """Close the connections that Ansible keeps open for its next run."""
        for socket in (Path.home() / ".ansible" / "cp" / f"{self.bench.fleet.name}-{self.delay_ms}").glob("*"):
            subprocess.run(
                ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "host"], capture_output=True, check=False
            )

    def play(self, verb: str, image: str, **extra: str) -> Run:
        """Run a rollout; end the bench when it fails."""
        return self.bench.need(verb, *self.options, service=image, **extra)

    def by_hand(self, image: str, index: int, do: str) -> float:
        """Switch by hand on all hosts at once; return the seconds it took."""
        old, self._slot = self._slot, "b" if self._slot == "a" else "a"
        port = {"a": 10000, "b": 20000}[self._slot] + BY_HAND_PORT
        reference = f"registry1:5000/{image}@{self.bench.digests[image, self.bench.tags[image][index]]}"
        arguments = [self._slot, old, str(port), reference, do]

        def one(host: str) -> None:
            ssh = ["ssh", "-F", str(self.config), "-o", "ControlMaster=auto", "-o", "ControlPersist=60s"]
            ssh += ["-o", f"ControlPath=~/.ansible/cp/byhand-{self.delay_ms}-%C", host]
            subprocess.run(
                [*ssh, "sudo", "sh", "-s", *arguments], input=BY_HAND, text=True, check=True, capture_output=True,
                timeout=120,
            )  # fmt: skip

        with ThreadPoolExecutor(len(self.bench.hosts)) as pool:
            begin = time.monotonic()
            list(pool.map(one, self.bench.hosts))
            return time.monotonic() - begin


def measure(distance: Distance, image: str, runs: int, by_hand: bool) -> list[Timed]:
    """Time every kind of rollout, the kinds and the floor taking turns, so that noise falls on all of them alike."""
    bench = distance.bench
    old, new = bench.tags[image]
    kinds = {what: Timed(len(bench.hosts), distance.delay_ms, image, what) for what in KINDS}

    def timed(what: str, verb: str, **extra: str) -> None:
        with bench.load(image, kinds[what]):
            before = bench.spent()
            kinds[what].seconds.append(distance.play(verb, image, **extra).seconds)
            kinds[what].spent.append(bench.spent().since(before))

    def timed_by_hand(what: str, index: int, do: str) -> None:
        with bench.load(image, Timed(0, 0, image, "by hand")):
            kinds[what].by_hand_seconds.append(distance.by_hand(image, index, do))

    distance.play("deploy", image, tag=old, force="true")
    with bench.load(image, Timed(0, 0, image, "no rollout")):
        before = bench.spent()
        time.sleep(QUIET_SECONDS)
        quiet = bench.spent().since(before)
    print(f"  without a rollout, the processors are {quiet.busy:.0%} busy with visitors and idle hosts", flush=True)
    if by_hand:
        distance.by_hand(image, 0, "pull+start")
    for _ in range(runs):
        bench.forget(image, 1)
        timed("deploy", "deploy", tag=new, force="true")
        timed("rollback, standby", "rollback", tag=old)
        distance.play("deploy", image, tag=new, force="true")
        distance.hang_up()
        timed("rollback, standby, not connected yet", "rollback", tag=old)
        distance.play("deploy", image, tag=new, force="true")
        bench.everywhere(
            f"slot=$(docker ps --filter label=tagboat.service={image} --filter label=tagboat.tag={old}"
            f" --format '{{{{.Names}}}}'); systemctl stop {image}@${{slot#{image}-}}"
        )
        timed("rollback, cold", "rollback", tag=old)
        if by_hand:
            bench.forget(image, 1)
            timed_by_hand("deploy", 1, "pull+start")
            timed_by_hand("rollback, standby", 0, "flip")
            timed_by_hand("rollback, cold", 0, "start+stop")
    count(distance, image, kinds)
    return list(kinds.values())


def count(distance: Distance, image: str, kinds: dict[str, Timed]) -> None:
    """Count remote executions per host, and the bytes that a deploy pulls, in runs that are not timed."""
    bench = distance.bench
    old, new = bench.tags[image]
    log = bench.fleet.folder / "executions"
    wrapper = bench.fleet.folder / "counting-ssh"
    wrapper.write_text(f'#!/bin/sh\necho x >>"{log}"\nexec ssh "$@"\n')
    wrapper.chmod(0o755)

    def counted(verb: str, **extra: str) -> int:
        log.write_text("")
        distance.play(verb, image, ansible_ssh_executable=str(wrapper), **extra)
        return -(-len(log.read_text().split()) // len(bench.hosts))  # one host migrates: rounded up

    bench.forget(image, 1)
    received = "cat /sys/class/net/eth0/statistics/rx_bytes"
    before = int(bench.fleet.host(bench.hosts[0], received))
    kinds["deploy"].executions_per_host = counted("deploy", tag=new, force="true")
    kinds["deploy"].pulled_bytes = int(bench.fleet.host(bench.hosts[0], received)) - before
    kinds["rollback, standby"].executions_per_host = counted("rollback", tag=old)


def show(rows: list[dict[str, Any]]) -> None:
    """Print the rows for a person."""
    names = list(rows[0])
    table = [names, *([str(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(names))]
    for line in table:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", default="2", help="sizes of the fleet, smallest first: 2,8,24")
    parser.add_argument("--delays", default="0,50,100", help="milliseconds of round trip to add")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--images", default="bench,web", help="web is measured at the first delay only")
    parser.add_argument("--fleet", default="bench")
    parser.add_argument("--provisioned", action="store_true", help="the fleet is as an earlier bench left it")
    given = parser.parse_args()
    delays = [int(delay) for delay in given.delays.split(",")]
    fleet = Fleet(given.fleet, ROOT / "reports" / "bench", show=lambda line: print(f"  {line}", flush=True))
    source = Source(fleet.folder / "source")
    source.reset()
    results: list[Timed] = []
    with bot(fleet.reports / "bot") as told:
        for size in given.hosts.split(","):
            bench = Bench(
                fleet, source, told, int(size), images=given.images.split(","), provision=not given.provisioned
            )
            fleet.show = lambda _line: None
            for delay in delays:
                with Relay(bench.ssh_ports(), delay / 1000) as relay:
                    distance = Distance(bench, relay, delay)
                    for image in bench.tags if delay == delays[0] else ["bench"]:
                        print(f"{size} hosts, {delay} ms, {image}", flush=True)
                        results += measure(distance, image, given.runs, by_hand=image == "bench")
                        (fleet.reports / "rollouts.json").write_text(
                            json.dumps([timed.row() | {"all s": timed.seconds} for timed in results], indent=1) + "\n"
                        )
    show([timed.row() for timed in results])


if __name__ == "__main__":
    main()
