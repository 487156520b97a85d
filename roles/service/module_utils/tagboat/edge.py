"""The edge: HAProxy on the host. One map file says which backend of each http service is live."""

from __future__ import annotations

import contextlib

from .host import Host

MAP = "/etc/haproxy/tagboat.map"
ANSWERS = "tagboat-answers"  # the stick table of role edge
NO_ANSWERS = {"requests": 0, "failures": 0, "recent_requests": 0, "recent_failures": 0}
_COLUMNS = {
    "http_req_cnt": "requests",
    "http_fail_cnt": "failures",
    "http_req_rate(60000)": "recent_requests",
    "http_fail_rate(60000)": "recent_failures",
}


def lines(text: str) -> dict[str, str]:
    """Read a map file: key -> value."""
    pairs = (line.split() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return {pair[0]: pair[1] for pair in pairs}


class Edge:
    """One http service at the edge of a host."""

    def __init__(self, host: Host, service: str) -> None:
        self._host = host
        self._service = service
        self._maintenance = f"{service}-maintenance"

    def points_to(self) -> str | None:
        """Name the backend that requests go to now, or None when the edge does not know the service yet."""
        for line in self._host.haproxy(f"show map {MAP}").splitlines():
            fields = line.split()  # <address of the entry> <key> <value>
            if len(fields) == 3 and fields[1] == self._service:
                return fields[2]
        return None

    def flip(self, backend: str, usable: str | None) -> None:
        """Send requests to `backend` from the next one on, now and after a restart of the edge.

        In maintenance they stay where they are: a person took the service out, a person brings it back.

        Args:
            backend: a backend of this service, e.g. `web-b`.
            usable: server in it that is known to be healthy, so that the edge need not wait for its own check.
        """
        if usable:
            self._host.haproxy(f"set server {backend}/{usable} health up")
        self._send_to(backend, even_from_maintenance=False)

    def begin_maintenance(self) -> bool:
        """Answer every request with the maintenance page; return whether that changed anything."""
        return self._send_to(self._maintenance, even_from_maintenance=True)

    def end_maintenance(self, backend: str) -> bool:
        """Send requests to `backend` again; return whether that changed anything."""
        return self._send_to(backend, even_from_maintenance=True)

    def in_maintenance(self) -> bool:
        """Tell whether requests are answered with the maintenance page; an edge that does not run answers none."""
        try:
            return self.points_to() == self._maintenance
        except OSError:
            return False

    def agrees(self, backend: str) -> bool:
        """Tell whether requests go to `backend` now, or to the maintenance page, and will after a restart."""
        now = self.points_to()
        return now in (backend, self._maintenance) and now == self._entries().get(self._service)

    def _send_to(self, backend: str, even_from_maintenance: bool) -> bool:
        with self._host.lock("/run/tagboat/edge.lock"):  # other services on this host have lines in the same file
            now = self.points_to()
            if now == self._maintenance and not even_from_maintenance:
                backend = now
            verb = "add" if now is None else "set"
            refused = self._host.haproxy(f"{verb} map {MAP} {self._service} {backend}")
            if refused:
                raise OSError(f"the edge refused to switch: {refused}")
            self._write({**self._entries(), self._service: backend})
            return now != backend

    def _entries(self) -> dict[str, str]:
        return lines(self._host.read(MAP) or "")

    def _write(self, entries: dict[str, str]) -> None:
        self._host.write(MAP, "".join(f"{key} {value}\n" for key, value in sorted(entries.items())))

    def forget(self) -> None:
        """Send requests nowhere: the service is no more. An edge that does not run forgets when it reads its file."""
        with self._host.lock("/run/tagboat/edge.lock"):
            entries = self._entries()
            if entries.pop(self._service, None) is None:
                return
            with contextlib.suppress(OSError):
                self._host.haproxy(f"del map {MAP} {self._service}")
            self._write(entries)

    def answers(self) -> dict[str, int]:
        """Count requests and 5xx answers since the edge started, and in the last minute; no edge, nothing counted."""
        try:
            shown = self._host.haproxy(f"show table {ANSWERS} key {self._service}")
        except OSError:
            return dict(NO_ANSWERS)
        fields = dict(word.split("=", 1) for word in shown.split() if "=" in word)
        return {name: int(fields.get(column, 0)) for column, name in _COLUMNS.items()}

    def requests_in_flight(self, backend: str) -> int:
        """Count the requests a backend is still answering."""
        answer = self._host.haproxy("show stat")
        names, *rows = answer.lstrip("# ").splitlines()
        columns = names.split(",")
        for row in rows:
            fields = dict(zip(columns, row.split(",")))
            if fields.get("pxname") == backend and fields.get("svname") == "BACKEND":
                return int(fields["scur"] or 0) + int(fields["qcur"] or 0)
        return 0
