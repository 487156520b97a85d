"""The edge: HAProxy on the host. One map file says which backend of each http service is live."""

from __future__ import annotations

from .host import Host

MAP = "/etc/haproxy/tagboat.map"


def lines(text: str) -> dict[str, str]:
    """Read a map file: key -> value."""
    pairs = (line.split() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return {pair[0]: pair[1] for pair in pairs}


class Edge:
    """One http service at the edge of a host."""

    def __init__(self, host: Host, service: str) -> None:
        self._host = host
        self._service = service

    def points_to(self) -> str | None:
        """Name the backend that requests go to now, or None when the edge does not know the service yet."""
        for line in self._host.haproxy(f"show map {MAP}").splitlines():
            fields = line.split()  # <address of the entry> <key> <value>
            if len(fields) == 3 and fields[1] == self._service:
                return fields[2]
        return None

    def flip(self, backend: str, usable: str | None) -> None:
        """Send requests to `backend` from the next one on, now and after a restart of the edge.

        Args:
            backend: a backend of this service, e.g. `web-b`.
            usable: server in it that is known to be healthy, so that the edge need not wait for its own check.
        """
        if usable:
            self._host.haproxy(f"set server {backend}/{usable} health up")
        verb = "set" if self.points_to() is not None else "add"
        refused = self._host.haproxy(f"{verb} map {MAP} {self._service} {backend}")
        if refused:
            raise OSError(f"the edge refused to switch: {refused}")
        with self._host.lock("/run/tagboat/edge.lock"):  # other services on this host have lines in the same file
            entries = {**self._entries(), self._service: backend}
            self._host.write(MAP, "".join(f"{key} {value}\n" for key, value in sorted(entries.items())))

    def agrees(self, backends: tuple[str, ...]) -> bool:
        """Tell whether requests go to one of these backends now, and will after a restart of the edge."""
        now = self.points_to()
        return now in backends and now == self._entries().get(self._service)

    def _entries(self) -> dict[str, str]:
        return lines(self._host.read(MAP) or "")

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
