"""A loopback HTTP server whose answers can be made to fail, request by request, the way the real ones do."""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, cast
from urllib.parse import parse_qsl, urlsplit

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The clock of a fake that nobody drives."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request. As it stands: an empty 200, and nothing done."""

    accept: bool = False  # the work is done before the answer fails
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = b""  # None: the true answer (with `accept`), late or in crumbs
    reset: bool = False  # no answer: the connection is reset
    hang: bool = False  # no answer at all, for as long as the server lives
    delay_seconds: float = 0
    crumb_seconds: float = 0  # between one byte of the answer and the next


def says(payload: object, *, status: int = 200, accept: bool = False, **headers: str) -> Fault:
    """An answer of `payload` as JSON. Underscores in header names become dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fault(
        accept, status, {"Content-Type": "application/json; charset=utf-8"} | named, json.dumps(payload).encode()
    )


HTML = b"<!DOCTYPE html><html><body><h1>Sign in to the guest network</h1></body></html>"
RESET = Fault(reset=True)
ACCEPT_THEN_RESET = Fault(accept=True, reset=True)
BLACKHOLE = Fault(hang=True)
ACCEPT_THEN_HANG = Fault(accept=True, hang=True)
HTML_PAGE = Fault(headers={"Content-Type": "text/html"}, body=HTML)
TRUNCATED_JSON = Fault(headers={"Content-Type": "application/json"}, body=b'{"ok": true, "chan')
NO_CONTENT = Fault(status=204, body=b"")
GZIP_LIE = Fault(headers={"Content-Type": "application/json", "Content-Encoding": "gzip"}, body=b'{"ok": true}')


def status(code: int, body: bytes = HTML, **headers: str) -> Fault:
    """An answer from in front of the service: `code` with a page of HTML."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fault(status=code, headers={"Content-Type": "text/html"} | named, body=body)


@dataclass(frozen=True)
class Request:
    """One request as it came in."""

    verb: str
    path: str
    values: dict[str, Any]  # query, form and JSON body together
    headers: Mapping[str, str]  # names in lower case
    at: datetime
    size: int = 0

    @property
    def name(self) -> str:
        """The last part of the path, which is the method at Slack."""
        return self.path.rstrip("/").rsplit("/", 1)[-1]

    def header(self, name: str) -> str:
        """A header, whatever the case of its letters."""
        return self.headers.get(name.lower(), "")


@dataclass(frozen=True)
class Answer:
    """What the service says when nothing goes wrong."""

    payload: object
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class FakeServer:
    """Listens on 127.0.0.1. Subclasses say what a request does (`answer`) and what a person sees."""

    def __init__(self, *, clock: Clock = utc_now, port: int = 0) -> None:
        self.clock = clock
        self.requests: list[Request] = []
        self.outage: Callable[[Request], Fault | None] | None = None
        self.lock = threading.RLock()
        self._faults: list[tuple[str, Fault]] = []
        self._port = port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def answer(self, request: Request) -> Answer:
        """Do what `request` asks and say so."""
        raise NotImplementedError

    def fail(self, *faults: Fault, on: str = "") -> None:
        """Let the next requests whose path ends with `on` meet `faults`, one each, in this order."""
        with self.lock:
            self._faults += [(on, fault) for fault in faults]

    def heal(self) -> None:
        """Forget every fault not yet met, and the outage."""
        with self.lock:
            self._faults, self.outage = [], None

    def count(self, name: str) -> int:
        """How many requests for `name` came, failed ones too."""
        with self.lock:
            return sum(request.name == name for request in self.requests)

    def _fault(self, request: Request) -> Fault | None:
        for place, (end, fault) in enumerate(self._faults):
            if request.path.endswith(end):
                del self._faults[place]
                return fault
        return self.outage(request) if self.outage else None

    def take(self, request: Request) -> tuple[Fault | None, Answer | None]:
        """What becomes of `request`: how it fails, and the answer if it was accepted."""
        with self.lock:
            self.requests.append(request)
            fault = self._fault(request)
            answer = self.answer(request) if fault is None or fault.accept else None
            return fault, answer

    @property
    def port(self) -> int:
        """The port it listens on, or did."""
        return self._port

    def start(self) -> Self:
        """Listen; the second time on the same port again."""
        self._server = _Server(self, self._port)
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening: connections are refused from here on. What was seen stays."""
        if self._server and self._thread:
            self._server.released.set()
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, fake: FakeServer, port: int) -> None:
        self.fake = fake
        self.released = threading.Event()
        super().__init__(("127.0.0.1", port), _Handler)

    def shutdown_request(self, request: Any) -> None:
        # The usual way says goodbye first, which a client takes for an end, not for a reset.
        request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away early are what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body leave in two writes: without this each answer waits 40 ms for the client's acknowledgement.
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        server = cast(_Server, self.server)
        fault, answer = server.fake.take(self._read())
        fault = fault or Fault(accept=True, body=None)
        if fault.hang:
            server.released.wait()
        if fault.hang or fault.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        if fault.delay_seconds:
            server.released.wait(fault.delay_seconds)
        if fault.body is None:
            truth = answer or Answer({})
            body = json.dumps(truth.payload).encode()
            self._send(truth.status, {"Content-Type": "application/json"} | dict(truth.headers), body, fault)
        else:
            self._send(fault.status, fault.headers, fault.body, fault)

    do_GET = do_POST = do_PUT = do_DELETE = _serve

    def _read(self) -> Request:
        split = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        values: dict[str, Any] = dict(parse_qsl(split.query, keep_blank_values=True))
        if body and "json" in self.headers.get("Content-Type", ""):
            said = json.loads(body)
            values |= said if isinstance(said, dict) else {"": said}
        elif body:
            values |= dict(parse_qsl(body.decode(), keep_blank_values=True))
        fake = cast(_Server, self.server).fake
        return Request(
            self.command,
            split.path,
            values,
            {name.lower(): value for name, value in self.headers.items()},
            fake.clock(),
            len(body),
        )

    def _send(self, code: int, headers: Mapping[str, str], body: bytes, fault: Fault) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        if code != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault.crumb_seconds:
            for byte in body:
                self.wfile.write(bytes([byte]))
                if cast(_Server, self.server).released.wait(fault.crumb_seconds):
                    return
        else:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """A test says what it needs to say by itself."""


def serve_until_interrupted(fake: FakeServer, show: Callable[[], str]) -> None:
    """Run `fake` as a program: its address first, then what is seen whenever that changes."""
    with fake:
        print(f"http://127.0.0.1:{fake.port}/", flush=True)
        seen = ""
        try:
            while True:
                if (new := show()) != seen:
                    seen = new
                    print(seen, flush=True)
                time.sleep(0.2)
        except KeyboardInterrupt:
            return
