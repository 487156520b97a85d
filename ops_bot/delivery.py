"""The one loop that tells a sink what it must show. One `Sender`, with a thread of its own, for each sink.

What it promises: an attempt is noted on disk before the network is touched; after an attempt nobody knows the end of it
looks before it sends; the newest state goes first, and older ones it replaces are never sent.
"""

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

from ops_bot.events import Event, Kind, State, Story, fold_order
from ops_bot.ledger import Delivery, Ledger, LedgerError
from ops_bot.settings import Settings
from ops_bot.sinks import notices
from ops_bot.sinks.base import Absent, Ambiguous, Found, Job, Outcome, Pause, Refused, Retry, Sent, Sink
from ops_bot.sinks.circuit import (
    RETRY_FIRST_SECONDS,
    RETRY_MAX_SECONDS,
    Circuit,
    Jitter,
    backoff_seconds,
    some_jitter,
)
from ops_bot.sinks.deadline import DeadlineExceeded, within

log = logging.getLogger(__name__)

# How often to look for what another process recorded; this one wakes the loop itself.
POLL_SECONDS = 1.0
# One attempt may take that long, all its requests together; the lease has to outlive it.
DEADLINE_SECONDS = 12.0
LEASE_SECONDS = 20.0
# The request an attempt was at when its time was over may still arrive; by then it has or has not.
LINGER_SECONDS = 10.0
# A sink that has taken nothing for longer is worth a message elsewhere; one that refuses us, after the second look.
STUCK_SECONDS = {"slow": 300.0, "paused": 20.0}
# One message that fails alone for longer is, too.
ODD_SECONDS = 3600.0
# It is tried again ever less often.
ALONE_FIRST_SECONDS, ALONE_MAX_SECONDS = 2.0, 600.0
_BATCH = 20
_SUMMARY_MAX = 1_000


class Sender:
    """Drains the outbox of one sink. `step` is one turn; `run` takes turns until it is told to stop."""

    def __init__(
        self,
        ledger: Ledger,
        sink: Sink,
        settings: Settings,
        *,
        clock: Callable[[], datetime],
        owner: str = "",
        jitter: Jitter = some_jitter,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self.sink = sink
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self._owner = owner or uuid4().hex
        self._jitter = jitter
        self._deadline_seconds = deadline_seconds
        self._circuit = Circuit(ledger, sink.name, jitter)
        self._lanes: dict[str, Circuit] = {}
        self._leads_until: datetime | None = None
        self._last = clock()
        self._awake = threading.Event()
        ledger.subscribe(self._awake.set)

    def run(self, stop: threading.Event) -> None:
        """Take turns until `stop` is set, and then until the turn that is under way has ended."""
        while not stop.is_set():
            self._awake.clear()
            try:
                wait = self.step()
            except LedgerError:
                log.exception("%s: the ledger does not answer", self.sink.name)
                wait = POLL_SECONDS
            if wait > 0:
                self._awake.wait(min(wait, POLL_SECONDS))
        self._ledger.release(self._owner)

    def wake(self) -> None:
        """Take the next turn now."""
        self._awake.set()

    def step(self) -> float:
        """Tell one thing, if one may be told now. Returns how long there is nothing to do, in seconds."""
        now = self._clock()
        self._mind_the_clock(now)
        if not self._leads(now):
            return POLL_SECONDS
        if wait := self._circuit.wait_seconds(now):
            self._notice(self._circuit, "", now)
            return wait
        delivery, wait = self._next(now)
        if delivery is None:
            return wait
        self._attempt(delivery, now)
        return 0.0

    # Whose turn it is.

    def _leads(self, now: datetime) -> bool:
        # Renewed early: what remains is always longer than an attempt takes.
        enough = timedelta(seconds=(LEASE_SECONDS + self._deadline_seconds) / 2)
        if self._leads_until is not None and self._leads_until - now >= enough:
            return True
        led = self._leads_until is not None
        if not self._ledger.lead(self.sink.name, self._owner, now, LEASE_SECONDS):
            self._leads_until = None
            return False
        self._leads_until = now + timedelta(seconds=LEASE_SECONDS)
        if not led:
            self._circuit.load()
        return True

    def _mind_the_clock(self, now: datetime) -> None:
        if self._last - now > timedelta(seconds=5):
            log.warning("the clock was set back by %s", self._last - now)
            self._ledger.hurry(self.sink.name, now)
            if self._leads_until is not None:
                self._leads_until = now  # to be renewed by the new time
            for circuit in (self._circuit, *self._lanes.values()):
                circuit.hurry()
        self._last = now

    def _next(self, now: datetime) -> tuple[Delivery | None, float]:
        """What to tell now; if nothing, how long to wait."""
        waits = {lane: circuit.wait_seconds(now) for lane, circuit in self._lanes.items()}
        blocked = {lane: wait for lane, wait in waits.items() if wait > 0}
        while True:
            due = self._ledger.due(self.sink.name, now, _BATCH, without_lanes=blocked)
            # A message goes before the replies under it.
            for delivery in sorted(due, key=lambda one: (-one.wanted, one.key != one.correlation)):
                if delivery.lane in blocked:
                    continue
                wait = self.sink.wait_seconds(delivery, now)
                if wait <= 0:
                    return delivery, 0.0
                blocked[delivery.lane] = wait
            if len(due) < _BATCH:
                break
        later = self._ledger.next_due(self.sink.name)
        if later is not None and later > now:
            blocked[""] = (later - now).total_seconds()
        return None, min(blocked.values(), default=60.0)

    # One attempt.

    def _attempt(self, delivery: Delivery, now: datetime) -> None:
        outcome: Outcome | Found
        # What goes wrong here by a mistake of ours must not hold up the others.
        try:
            job = self._job(delivery)
        except (ValueError, LookupError, TypeError) as error:
            log.exception("%s: the story of %s cannot be read", self.sink.name, delivery.key)
            self._conclude(delivery, Retry(f"{type(error).__name__}: {error}"[:300], alone=True), now)
            return
        if job is None:
            self._ledger.park(delivery, "its story has been forgotten")
            return
        self._ledger.begin(delivery, now)
        try:
            outcome = within(self._deadline_seconds, partial(self._tell, job, now))
        except DeadlineExceeded as error:
            outcome = Ambiguous(str(error), after_seconds=LINGER_SECONDS)
        except Exception as error:
            log.exception("%s: %s", self.sink.name, delivery.key)
            outcome = Ambiguous(f"{type(error).__name__}: {error}"[:300], alone=True)
        self._conclude(delivery, outcome, self._clock())

    def _job(self, delivery: Delivery) -> Job | None:
        if delivery.key != delivery.correlation and not delivery.key.startswith(f"{delivery.correlation}#"):
            story = _as_of(self._ledger.events(delivery.correlation), delivery.key)
            return Job(delivery, story) if story else None
        story = self._ledger.story(delivery.correlation)
        if story is None:
            return None
        told = self._ledger.deliveries(self.sink.name, delivery.correlation)
        parent = next((one for one in told if one.key == one.correlation != delivery.key), None)
        return Job(delivery, story, parent, self._missed(story))

    def _missed(self, story: Story) -> list[Story]:
        told = story.model_extra or {}
        if story.kind != Kind.ALERT or story.state != State.FINISHED or told.get("sink") != self.sink.name:
            return []
        since = self._ledger.stories(since=story.started_at, limit=_SUMMARY_MAX)
        return [one for one in since if one.kind != Kind.ALERT]

    def _tell(self, job: Job, now: datetime) -> Outcome | Found:
        if job.delivery.attempt_started is not None and job.delivery.ref is None:
            looked = self.sink.reconcile(job, now)
            if not isinstance(looked, Absent):
                return looked
        return self.sink.deliver(job, now)

    def _conclude(self, delivery: Delivery, outcome: Outcome | Found, now: datetime) -> None:
        # How long the sink as a whole waits is its circuit's business. This one waits as well, so that one message
        # which makes the other side fail does not go first for ever; when an outage ends, none waits longer than that.
        tries = delivery.attempts + 1
        own = backoff_seconds(tries, RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS) * self._jitter()
        alone = backoff_seconds(tries, ALONE_FIRST_SECONDS, ALONE_MAX_SECONDS) * self._jitter()
        match outcome:
            case Sent(ref):
                self._ledger.settle(delivery, delivery.wanted, ref)
            case Found(ref):  # written down first: the edit that follows may fail as well
                self._ledger.settle(delivery, delivery.shown, ref)
            case Retry(error, after, alone=True):
                self._ledger.retry(delivery, now + timedelta(seconds=after or alone), error)
                if after is None and (now - delivery.waiting_since).total_seconds() > ODD_SECONDS:
                    self._complain(delivery, error, now, for_good=False)
            case Retry(error, after):
                self._ledger.retry(delivery, now + timedelta(seconds=own), error)
                self._circuit.failed(error, now, after)
            case Ambiguous(error, after):
                wait = max(self.sink.doubt_seconds, alone if outcome.alone else own, after or 0.0)
                self._ledger.ambiguous(delivery, now + timedelta(seconds=wait), error)
                if not outcome.alone:
                    self._circuit.failed(error, now, after)
            case Pause(error, lane):
                self._ledger.retry(delivery, now, error)
                (self._lane(delivery.lane) if lane else self._circuit).refused(error, now)
            case Refused(error):
                self._ledger.park(delivery, error)
                self._complain(delivery, error, now, for_good=True)
        self._judge(delivery, outcome, now)

    # How the sink is.

    def _judge(self, delivery: Delivery, outcome: Outcome | Found, now: datetime) -> None:
        """Say that something is stuck, or works again."""
        if not isinstance(outcome, Sent | Found):
            log.warning("%s: %s: %s", self.sink.name, delivery.key, outcome)
        lane = self._lane(delivery.lane) if delivery.lane else None
        answered = isinstance(outcome, Sent | Found | Refused) or (isinstance(outcome, Pause) and outcome.lane)
        if answered:
            self._over(self._circuit, "", now)
        if lane and isinstance(outcome, Sent | Found):
            self._over(lane, delivery.lane, now)
        for circuit, name in [(self._circuit, ""), *([(lane, delivery.lane)] if lane else [])]:
            self._notice(circuit, name, now)

    def _complain(self, delivery: Delivery, error: str, now: datetime, *, for_good: bool) -> None:
        environment = self._settings.environment_name
        self._ledger.record([notices.refused(delivery, error, now, environment, for_good=for_good)])

    def _lane(self, lane: str) -> Circuit:
        if lane not in self._lanes:
            self._lanes[lane] = Circuit(self._ledger, f"{self.sink.name} {lane}"[:50], self._jitter)
            self._lanes[lane].load()
        return self._lanes[lane]

    def _notice(self, circuit: Circuit, lane: str, now: datetime) -> None:
        name, state, since = self.sink.name, circuit.state.state, circuit.state.since
        if state == "ok" or since is None or (now - since).total_seconds() < STUCK_SECONDS[state]:
            return
        if self._ledger.event(notices.stuck_id(name, lane, since)) is None:
            backlog, environment = self._ledger.backlog(name), self._settings.environment_name
            reason = circuit.state.reason
            self._ledger.record(
                [notices.stuck(name, lane, since, now, reason=reason, backlog=backlog, environment=environment)]
            )

    def _over(self, circuit: Circuit, lane: str, now: datetime) -> None:
        name, since = self.sink.name, circuit.state.since
        if circuit.state.state == "ok" or since is None:
            return
        if self._ledger.event(notices.stuck_id(name, lane, since)) is not None:
            backlog, environment = self._ledger.backlog(name), self._settings.environment_name
            self._ledger.record([notices.recovered(name, lane, since, now, backlog=backlog, environment=environment)])
        circuit.worked()


def _as_of(events: list[Event], event_id: str) -> Story | None:
    """The story as it stood when the event `event_id` was told."""
    last = next((event for event in events if event.id == event_id), None)
    if last is None:
        return None
    return Story.of(event for event in events if fold_order(event) <= fold_order(last))
