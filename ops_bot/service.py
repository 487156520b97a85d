"""The running bot: intake and page, one sender a sink, the follower of errors, the watchdog; and how they end."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from ops_bot import page, views
from ops_bot.delivery import Sender
from ops_bot.errors.follower import Follower
from ops_bot.intake import application
from ops_bot.ledger import Ledger, LedgerError
from ops_bot.settings import Settings
from ops_bot.sinks.base import Sink
from ops_bot.sinks.datadog import Datadog
from ops_bot.sinks.metrics import Metrics
from ops_bot.sinks.plan import plan
from ops_bot.sinks.slack import Slack
from ops_bot.watchdog import Watchdog

log = logging.getLogger(__name__)

# Told on SIGTERM what is due already, so long; what is left the next process tells. Docker kills after ten seconds.
DRAIN_SECONDS = 3.0
JOIN_SECONDS = 3.0
BEAT_SECONDS = 10.0
# What somebody may hold open at once: pages that update live, senders that are slow.
_CONNECTIONS = 300

Loop = Callable[[threading.Event], None]


def _now() -> datetime:
    return datetime.now(UTC)


def sinks(settings: Settings) -> list[Sink]:
    """The sinks that are configured. The page's feed is none: it shows what the ledger holds."""
    made: list[Sink] = []
    if settings.slack_token:
        made.append(Slack(settings))
    if settings.datadog_api_key:
        made.append(Datadog(settings))
    if settings.statsd_host:
        made.append(Metrics(settings))
    return made


class Workers:
    """Threads that run until they are told to stop. One that breaks begins again: the others need not know."""

    RESTART_SECONDS = 1.0

    def __init__(self, loops: Mapping[str, Loop]) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._guard, args=(name, loop), name=name, daemon=True)
            for name, loop in loops.items()
        ]
        self.broken: dict[str, str] = {}

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float) -> None:
        """Have them end, and wait for it that long."""
        self._stop.set()
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _guard(self, name: str, loop: Loop) -> None:
        while not self._stop.is_set():
            try:
                loop(self._stop)
                return
            except Exception as error:
                log.exception("%s broke, and begins again", name)
                self.broken[name] = f"{type(error).__name__}: {error}"
                self._stop.wait(self.RESTART_SECONDS)


def beat(ledger: Ledger, metrics: Metrics, names: Sequence[str], stop: threading.Event) -> None:
    """Say every ten seconds that the bot lives, and what waits."""
    while not stop.wait(BEAT_SECONDS):
        try:
            metrics.beat([(name, ledger.backlog(name)) for name in names])
        except LedgerError as error:
            log.error("no heartbeat: %s", error)


class Bot:
    """Everything that runs, made of settings."""

    def __init__(self, settings: Settings) -> None:
        """Raises LedgerError."""
        self._settings = settings
        self.ledger = Ledger.open(settings.ledger_url, plan=partial(plan, settings=settings))
        # Which process sends: of two on one ledger, one does.
        owner = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}"
        made = sinks(settings)
        self._senders = [Sender(self.ledger, sink, settings, clock=_now, owner=f"{owner}-{sink.name}") for sink in made]
        loops: dict[str, Loop] = {f"sender of {one.sink.name}": one.run for one in self._senders}
        loops["watchdog"] = Watchdog(self.ledger, settings, _now).run
        for sink in made:
            if isinstance(sink, Metrics):
                loops["heartbeat"] = partial(beat, self.ledger, sink, [one.name for one in made])
        if settings.journal_dir:
            counting = next((one.count_errors for one in made if isinstance(one, Metrics)), lambda *_: None)
            loops["follower of errors"] = Follower(self.ledger, settings, _now, counting).run
        self.workers = Workers(loops)

    def web(self, routes: Sequence[BaseRoute] | None = None) -> Starlette:
        """The web application: intake, health and page."""
        pages = page.routes(self.ledger, self._settings) if routes is None else routes
        return application(self.ledger, self._settings, routes=pages, health=self.health)

    def health(self) -> Mapping[str, Any]:
        """What `/healthz` tells beyond its status: each sink's state and backlog, and which workers broke once."""
        told = [
            {key: one[key] for key in ("sink", "state", "waiting", "oldest_seconds")}
            for one in views.sinks(self.ledger, self._settings)
        ]
        return {"sinks": told} | ({"broke": sorted(self.workers.broken)} if self.workers.broken else {})

    def stop(self) -> None:
        """Tell on what is due, for a while; end every worker; give up every lease."""
        until = time.monotonic() + DRAIN_SECONDS
        try:
            while time.monotonic() < until and self._due():
                time.sleep(0.05)
        except LedgerError as error:
            log.error("nothing more is told: %s", error)
        self.workers.stop(JOIN_SECONDS)
        self.ledger.close()

    def _due(self) -> bool:
        now = _now()
        return any(
            self.ledger.sink_state(one.sink.name).state == "ok"
            and (at := self.ledger.next_due(one.sink.name)) is not None
            and at <= now
            for one in self._senders
        )


def listen(settings: Settings) -> socket.socket:
    """The socket to take connections from. Raises OSError, which names the address."""
    family = socket.AF_INET6 if ":" in settings.listen else socket.AF_INET
    try:
        listener = socket.create_server((settings.listen, settings.port), family=family, backlog=_CONNECTIONS)
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), f"{settings.listen}:{settings.port}") from error
    # Connections inherit it. Without, the body of an answer waits 40 ms for the client to acknowledge the head: asyncio
    # sets it by itself only on sockets that it made.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def serve(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT. What is accepted is on disk, so that being killed loses nothing either.

    Raises LedgerError and OSError when it cannot begin.
    """
    listener = listen(settings)
    bot = Bot(settings)
    server = uvicorn.Server(
        uvicorn.Config(
            bot.web(),
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=2,
        )
    )
    # The server gives signals it caught back to whoever handled them before it; without this they would kill us
    # before the sinks are drained.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    if settings.token is None:
        log.warning("OPS_BOT_TOKEN is not set: no event is taken")
    log.info("listening on %s:%d", *listener.getsockname()[:2])
    bot.workers.start()
    try:
        server.run(sockets=[listener])
    finally:
        bot.stop()
    return 0 if server.started else 1
