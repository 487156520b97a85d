"""Where events come in: `POST /events`. What was answered with 200 is on disk; nothing in a request makes it fail."""

import asyncio
import hmac
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ops_bot.events import Event
from ops_bot.ledger import Ledger, LedgerError, Recorded
from ops_bot.ledger.history import dump
from ops_bot.reading import Read, Refused, read
from ops_bot.settings import Settings
from ops_bot.writer import Overloaded, Writer

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1 << 20
MAX_QUARANTINED_CHARACTERS = 64 << 10
BODY_SECONDS = 10.0  # a sender slower than that holds a connection for nothing
# Above this size a body is read in a thread of its own: the loop has others to answer.
_INLINE_BYTES = 16 << 10
_SENDERS = 1000  # whose pace is remembered

Health = Callable[[], Mapping[str, Any]]


class Refusal(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.headers = status, headers


class Pace:
    """`per_second` events from each sender, a second's worth at once."""

    def __init__(self, per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._clock = per_second, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, sender: str, count: int) -> float:
        """0 when `count` events may come now, else the seconds to wait. Too many for any second come alone."""
        now = self._clock()
        left, at = self._left.pop(sender, (float(self._per_second), now))
        left = min(float(self._per_second), left + (now - at) * self._per_second)
        wait = (min(count, self._per_second) - left) / self._per_second
        self._left[sender] = (left if wait > 0 else left - count, now)
        while len(self._left) > _SENDERS:
            self._left.popitem(last=False)
        return max(0.0, wait)


class Intake:
    """The endpoints, and the thread behind them."""

    def __init__(self, ledger: Ledger, settings: Settings, health: Health) -> None:
        self._ledger, self._health = ledger, health
        self._token = settings.token.get_secret_value().encode() if settings.token else None
        self._pace = Pace(settings.rate_limit)
        self.writer = Writer(ledger)

    async def events(self, request: Request) -> Response:
        """Record one event or a list. Answers when they are on disk."""
        try:
            sender = request.client.host if request.client else ""
            self._authenticate(request)
            body = await self._body(request)
            told = await run_in_threadpool(read, body) if len(body) > _INLINE_BYTES else read(body)
            if wait := self._pace.take(sender, len(told.events) + len(told.refused)):
                raise Refusal(429, "too many events a second", {"Retry-After": str(int(wait) + 1)})
            return await self._record(told, sender)
        except Refusal as refusal:
            return JSONResponse({"reason": str(refusal)}, refusal.status, refusal.headers)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads this

    def _authenticate(self, request: Request) -> None:
        if self._token is None:
            raise Refusal(401, "this bot takes no events: set OPS_BOT_TOKEN")
        said = request.headers.get("authorization", "").encode("latin-1")
        scheme, _, token = said.partition(b" ")
        # Compared first, so that the time it takes says nothing.
        if not hmac.compare_digest(token.strip(), self._token) or scheme.lower() != b"bearer":
            log.warning("refused an event from %s: wrong token", request.client.host if request.client else "?")
            raise Refusal(
                401, "wrong token: send 'Authorization: Bearer <OPS_BOT_TOKEN>'", {"WWW-Authenticate": "Bearer"}
            )

    async def _body(self, request: Request) -> bytes:
        kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if kind != "application/json" or request.headers.get("content-encoding", "identity") != "identity":
            raise Refusal(415, "send JSON, uncompressed, as application/json")
        length = request.headers.get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > MAX_BODY_BYTES:
            raise Refusal(413, f"send at most {MAX_BODY_BYTES} bytes at once")
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > MAX_BODY_BYTES:
                        raise Refusal(413, f"send at most {MAX_BODY_BYTES} bytes at once")
        except TimeoutError:
            raise Refusal(408, f"the body did not come within {BODY_SECONDS:.0f} s", {"Connection": "close"}) from None
        return bytes(body)

    async def _record(self, told: Read, sender: str) -> Response:
        try:
            recorded, failed = await self._write(told.events)
            for one in (*told.refused, *failed):
                text = one.body[:MAX_QUARANTINED_CHARACTERS]
                await run_in_threadpool(self._ledger.quarantine, sender, one.reason, text)
        except (LedgerError, Overloaded) as error:
            # Not the sender's fault; what it keeps it may send again, ids see to it that it counts once.
            raise Refusal(503, str(error), {"Retry-After": "5"}) from error
        duplicates = sum(one.duplicate for one in recorded)
        answer = {
            "recorded": len(recorded) - duplicates,
            "duplicates": duplicates,
            "refused": [{"index": one.index, "reason": one.reason} for one in told.refused]
            + [{"index": None, "reason": one.reason} for one in failed],
        }
        return JSONResponse(answer, 422 if answer["refused"] else 200)

    async def _write(self, events: Sequence[Event]) -> tuple[list[Recorded], list[Refused]]:
        """Record `events`. Those that a bug of ours keeps from it go to the quarantine: a sender that is told 500
        would send them for ever, with everything else it has queued behind them."""
        if not events:
            return [], []
        try:
            return await asyncio.wrap_future(self.writer.submit(events)), []
        except (LedgerError, Overloaded):
            raise
        except Exception as error:
            if len(events) == 1:
                reason = f"this bot cannot record it ({type(error).__name__}); its log says why"
                return [], [Refused(0, reason, dump(events[0]))]
        recorded: list[Recorded] = []
        failed: list[Refused] = []
        for event in events:
            one, wrong = await self._write([event])
            recorded += one
            failed += wrong
        return recorded, failed

    def healthz(self, _request: Request) -> Response:
        """200 while events can be recorded. Sinks that are stuck are told of, but change nothing: restarting us
        would not mend them."""
        told: dict[str, Any] = {"status": "ok"}
        try:
            self._ledger.check()
            told |= self._health()
        except LedgerError as error:
            told |= {"status": "failing", "reason": str(error)}
        if self.writer.trouble or not self.writer.alive:
            told |= {"status": "failing", "reason": self.writer.trouble or "the writer has ended"}
        return JSONResponse(told, 200 if told["status"] == "ok" else 503, {"Cache-Control": "no-store"})


def application(
    ledger: Ledger, settings: Settings, *, routes: Sequence[BaseRoute] = (), health: Health = dict
) -> Starlette:
    """The bot's web application: intake, `/healthz` (which `health` adds facts to), and `routes` of others."""
    intake = Intake(ledger, settings, health)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        intake.writer.start()
        yield
        await run_in_threadpool(intake.writer.stop)

    own = [Route("/events", intake.events, methods=["POST"]), Route("/healthz", intake.healthz, methods=["GET"])]
    return Starlette(routes=[*own, *routes], lifespan=lifespan)
