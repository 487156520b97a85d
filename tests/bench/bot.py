"""`make bench-bot`: what the ops bot takes, how fast it answers and tells, and what a million events cost it.

    python tests/bench/bot.py [--events 1000000] [--seconds 20] [--folder reports/bench] [--only intake,tell,history]
                              [--reuse]

The bot is the real program, one process on this machine; Slack and Datadog are the fakes of the tests, in this process.
Senders are processes of their own. The disk is the one that `--folder` is on: what is answered has been flushed to it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import multiprocessing
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from fakes.datadog import API_KEY, APP_KEY, FakeDatadog  # noqa: E402
from fakes.slack import TOKEN, FakeSlack  # noqa: E402

from ops_bot.ledger import Ledger  # noqa: E402

BOT_TOKEN = "a-token-of-the-bench"
EVENTS_OF_A_STORY = 10
STATES = ["started", *["progress"] * (EVENTS_OF_A_STORY - 2), "finished"]
SERVICES = ["web", "eval_worker", "search", "mailer"]


@dataclass(frozen=True)
class Figure:
    """One line of the table. `good` is what it has to be, `ok` whether it is."""

    what: str
    is_: float
    unit: str
    good: str
    ok: bool


def at_least(what: str, value: float, unit: str, target: float) -> Figure:
    return Figure(what, value, unit, f">= {target:,g}", value >= target)


def less_than(what: str, value: float, unit: str, target: float) -> Figure:
    return Figure(what, value, unit, f"< {target:,g}", value < target)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of `values` do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


class Bot:
    """`ops-bot serve` on a ledger of its own."""

    def __init__(self, folder: Path, **settings: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.ledger_url = f"sqlite:///{folder.resolve()}/ledger.db"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OPS_BOT_")}
        environment |= {
            "PYTHONPATH": str(ROOT),
            "OPS_BOT_LEDGER_URL": self.ledger_url,
            "OPS_BOT_PORT": str(self.port),
            "OPS_BOT_TOKEN": BOT_TOKEN,
            "OPS_BOT_PAGE_URL": f"http://127.0.0.1:{self.port}",
            "OPS_BOT_RATE_LIMIT": "1000000",
        } | {f"OPS_BOT_{name.upper()}": value for name, value in settings.items()}
        self.log = (folder / "bot.log").open("w")
        command = [sys.executable, "-m", "ops_bot", "serve"]
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=self.log)
        for _ in range(600):
            try:
                self.get("/healthz")
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"the bot does not start: see {folder}/bot.log")

    def get(self, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path)
        response = connection.getresponse()
        said = response.read()
        connection.close()
        if response.status != 200:
            raise RuntimeError(f"{path} answered {response.status}")
        return said

    def memory_mb(self, field: str = "VmRSS") -> float:
        """What the process has of the machine's memory now; `VmHWM`: what it had at most (proc(5))."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.log.close()


@contextmanager
def bot(folder: Path, *, reuse: bool = False, **settings: str) -> Iterator[Bot]:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("ledger.db*") if not reuse else ():
        old.unlink()
    running = Bot(folder, **settings)
    try:
        yield running
    finally:
        running.stop()


def event(story: int, turn: int, at: datetime) -> dict[str, Any]:
    """A typical event of a rollout over four hosts."""
    return {
        "id": f"bench-{story}-{turn}",
        "correlation": f"deploy:bench-{story}",
        "sequence": turn,
        "kind": "deploy",
        "state": STATES[turn],
        "at": at.isoformat(),
        "environment": ["staging", "production"][story % 2],
        "service": SERVICES[story % len(SERVICES)],
        "image": "web",
        "tag": f"v{story}",
        "from_tag": f"v{story - 1}",
        "revision": "0123456789abcdef0123456789abcdef01234567",
        "actor": "ann",
        "cause": "playbook deploy.yml",
        "step": "wait until it is healthy",
        "hosts": [
            {"name": f"web{n}", "state": "switched" if n <= turn else "waiting", "tag": f"v{story}"} for n in range(4)
        ],
        "commits": [{"revision": "0123456789ab", "author": "ann", "subject": "Lessons load faster on old phones"}],
    }


class Sender:
    """One connection that is kept open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._connection.connect()
        # Headers and body are two writes: without this the second waits for the first one's acknowledgement.
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, events: Sequence[dict[str, Any]]) -> None:
        headers = {"Authorization": f"Bearer {BOT_TOKEN}", "Content-Type": "application/json"}
        self._connection.request("POST", "/events", json.dumps(events), headers)
        response = self._connection.getresponse()
        said = response.read()
        if response.status != 200:
            raise RuntimeError(f"refused: {response.status} {said[:300]!r}")


def send_stories(port: int, first: int, stories: int, at_once: int) -> None:
    """Post `stories` whole stories, `at_once` events a request, one request after the other."""
    sender = Sender(port)
    begun = datetime.now(UTC)
    waiting: list[dict[str, Any]] = []
    for story in range(first, first + stories):
        for turn in range(EVENTS_OF_A_STORY):
            waiting.append(event(story, turn, begun + timedelta(milliseconds=story * 10 + turn)))
            if len(waiting) == at_once:
                sender.post(waiting)
                waiting = []
    if waiting:
        sender.post(waiting)


def flood(port: int, first: int, events: int, at_once: int, senders: int = 4) -> float:
    """Seconds until `events` events of `senders` processes are recorded."""
    each = events // EVENTS_OF_A_STORY // senders
    processes = [
        multiprocessing.Process(target=send_stories, args=(port, first + number * each, each, at_once))
        for number in range(senders)
    ]
    begun = time.perf_counter()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            raise RuntimeError("a sender failed")
    return time.perf_counter() - begun


def paced(port: int, first: int, per_second: int, seconds: float, connections: int = 16) -> list[float]:
    """Seconds from when each event was due to be sent until its answer, at `per_second` single events."""
    total = int(per_second * seconds)
    begun = time.perf_counter() + 0.5

    def one(number: int) -> list[float]:
        sender = Sender(port)
        took = []
        for place in range(number, total, connections):
            due = begun + place / per_second
            told = [event(first + place // EVENTS_OF_A_STORY, place % EVENTS_OF_A_STORY, datetime.now(UTC))]
            time.sleep(max(0.0, due - time.perf_counter()))
            sender.post(told)
            took.append(time.perf_counter() - due)
        return took

    with ThreadPoolExecutor(connections) as pool:
        return [took for some in pool.map(one, range(connections)) for took in some]


def bench_intake(folder: Path, seconds: float) -> list[Figure]:
    """How many events it takes, and how soon each is answered."""
    events = int(1000 * seconds)
    with bot(folder) as running:
        batched = events / flood(running.port, 0, events, at_once=50)
        single = events / 10 / flood(running.port, 1_000_000, events // 10, at_once=1, senders=8)
        took = paced(running.port, 2_000_000, 200, seconds)
    return [
        at_least("events recorded a second, 50 a request", batched, "/s", 1000),
        Figure("events recorded a second, 1 a request, 8 senders", single, "/s", "", True),
        less_than("acknowledged at 200 events/s, p99", percentile(took, 99) * 1000, "ms", 50),
        Figure("acknowledged at 200 events/s, median", statistics.median(took) * 1000, "ms", "", True),
    ]


def bench_tell(folder: Path, samples: int) -> list[Figure]:
    """How soon an event is a message in Slack: posted, and edited in place."""
    with FakeSlack() as slack, FakeDatadog() as datadog:
        settings: dict[str, Any] = {
            "slack_token": TOKEN,
            "slack_url": slack.url,
            "datadog_api_key": API_KEY,
            "datadog_app_key": APP_KEY,
            "datadog_url": datadog.url,
        }
        posted: list[float] = []
        edited: list[float] = []
        with bot(folder, **settings) as running:
            sender = Sender(running.port)
            for story in range(samples):
                for turn, took in ((0, posted), (EVENTS_OF_A_STORY - 1, edited)):
                    begun = time.perf_counter()
                    sender.post([event(story, turn, datetime.now(UTC))])
                    wanted = f"deploy:bench-{story}", STATES[turn]
                    while not any((one.key, one.state) == wanted for one in slack.seen()):
                        if time.perf_counter() - begun > 30:
                            raise RuntimeError(f"{wanted} is not told")
                        time.sleep(0.002)
                    took.append(time.perf_counter() - begun)
                # Slack takes one message a second: what is measured is the bot, not a queue of our own making.
                time.sleep(1.2)
    return [
        less_than("event to Slack, posted, p95", percentile(posted, 95) * 1000, "ms", 1000),
        less_than("event to Slack, edited, p95", percentile(edited, 95) * 1000, "ms", 1000),
    ]


def bench_history(folder: Path, events: int, *, reuse: bool) -> list[Figure]:
    """What it costs to have taken `events`, and to look at them."""
    name = f"{events:,} events"
    taken = []
    with bot(folder, reuse=reuse) as running:
        if not reuse:
            took = flood(running.port, 0, events, at_once=200, senders=2)
            taken.append(Figure(f"{name} taken, 200 a request", events / took, "/s", "", True))
            taken.append(less_than(f"memory at most while taking {name}", running.memory_mb("VmHWM"), "MB", 120))
        pages = {}
        sender, news = Sender(running.port), int(time.time()) * 1000
        for path in (
            "/",
            "/history",
            "/feed",
            "/history?environment=staging&service=web",
            "/stories/deploy:bench-7",
        ):
            seconds = []
            for _ in range(30):
                # Something has happened since the page was last made: it cannot be the one that is remembered.
                sender.post([event(news, 0, datetime.now(UTC))])
                news += 1
                begun = time.perf_counter()
                running.get(path)
                seconds.append(time.perf_counter() - begun)
            pages[path] = percentile(seconds, 95) * 1000
        memory = running.memory_mb()
    ledger = Ledger.open(running.ledger_url)
    queries = []
    for number in range(100):
        begun = time.perf_counter()
        page = ledger.stories(environment="staging", service="web", limit=50)
        if number % 2:
            before = page[-1].last_at - timedelta(hours=number), page[-1].correlation
            ledger.stories(service="mailer", limit=50, before=before)
        queries.append(time.perf_counter() - begun)
    ledger.close()
    size = sum(path.stat().st_size for path in folder.glob("ledger.db*"))
    return [
        *taken,
        less_than(f"memory with {name}, pages looked at", memory, "MB", 120),
        *(less_than(f"GET {path} over {name}, p95", value, "ms", 100) for path, value in pages.items()),
        less_than(f"history query over {name}, p95", percentile(queries, 95) * 1000, "ms", 100),
        Figure(f"ledger on disk, {name}", size / 2**20, "MB", "", True),
    ]


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--events", type=int, default=1_000_000)
    asked.add_argument("--seconds", type=float, default=20)
    asked.add_argument("--folder", type=Path, default=ROOT / "reports/bench")
    asked.add_argument("--reuse", action="store_true", help="look at the ledger of the run before")
    asked.add_argument("--only", default="intake,tell,history")
    given = asked.parse_args()
    folder = given.folder / "bot"
    benches = {
        "intake": lambda: bench_intake(folder / "intake", given.seconds),
        "tell": lambda: bench_tell(folder / "tell", int(given.seconds)),
        "history": lambda: bench_history(folder / "history", given.events, reuse=given.reuse),
    }
    figures: list[Figure] = []
    for name in given.only.split(","):
        for figure in benches[name]():
            figures.append(figure)
            verdict = "" if not figure.good else f"{figure.good:>10}  {'ok' if figure.ok else 'MISSED'}"
            print(f"{figure.what:60} {figure.is_:10,.1f} {figure.unit:3} {verdict}".rstrip(), flush=True)
    told = {
        "at": datetime.now(UTC).isoformat(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "figures": [asdict(one) for one in figures],
    }
    (given.folder / "bot.json").write_text(json.dumps(told, indent=1) + "\n")
    return 0 if all(one.ok for one in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
