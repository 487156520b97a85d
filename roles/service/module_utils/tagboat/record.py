"""The release record: what a host runs, ran and refused to run, per service.

One JSON file that Ansible reads as a local fact. It is the truth about which slot is live: at every instant the slot
it names runs a healthy release, because the old slot is only let go after the record names the new one.
"""

from __future__ import annotations

import json
from typing import Any

from .host import Host

PATH = "/etc/ansible/facts.d/tagboat.fact"
KEEP = 20  # releases remembered per service; containers and images are bounded separately

LIVE, STANDBY, REPLACED, FAILED, ROLLED_BACK = "live", "standby", "replaced", "failed", "rolled_back"
GOOD = (LIVE, STANDBY, REPLACED)
BAD = (FAILED, ROLLED_BACK)

Release = dict[str, Any]


class RecordError(Exception):
    """The release record is there and cannot be read: nobody can tell from it what serves."""


def recorded_services(host: Host) -> list[str]:
    """Name every service this host's record knows."""
    return list(read(host)["services"])


def read(host: Host) -> dict[str, Any]:
    """Return the whole record.

    Raises:
        RecordError: it is damaged.
    """
    try:
        text = host.read(PATH)
        record: dict[str, Any] = json.loads(text) if text else {"services": {}}
        for own in record["services"].values():
            _ = own["live"], [(release["tag"], release["result"]) for release in own["releases"]]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RecordError(
            f"its release record {PATH} cannot be read ({type(error).__name__}: {error}); what serves goes on."
            " Next: put a good copy of it there; without one, see docs/runbooks.md"
        ) from None
    return record


class Record:
    """The part of a host's release record that belongs to one service."""

    def __init__(self, host: Host, service: str) -> None:
        self._host = host
        self._service = service
        own = read(host)["services"].get(service, {})
        self.live_slot: str | None = own.get("live")
        self.releases: list[Release] = own.get("releases", [])

    @property
    def live(self) -> Release | None:
        """The release that serves."""
        return next((release for release in self.releases if release["result"] == LIVE), None)

    @property
    def standby(self) -> Release | None:
        """The release kept ready in the other slot."""
        return next((release for release in self.releases if release["result"] == STANDBY), None)

    def is_bad(self, tag: str) -> str | None:
        """Say why a tag is marked bad, or None: its newest release here decides."""
        for release in self.releases:
            if release["tag"] == tag:
                return str(release.get("reason", release["result"])) if release["result"] in BAD else None
        return None

    def left_by(self, rollout_id: str) -> Release | None:
        """The release that served until this rollout."""
        return next((release for release in self.releases if release.get("left_by") == rollout_id), None)

    def went_live(self, release: Release, slot: str, left: str, reason: str = "") -> None:
        """Note that `release` serves from `slot`; what served before has now the result `left`, for this `reason`.

        Written before the old slot is let go: see the module's text.
        """
        for other in self.releases:
            if other["result"] == STANDBY:
                other["result"] = REPLACED
            elif other["result"] == LIVE:
                other["result"] = left
                other["left_by"] = release["rollout"]
                if reason:
                    other["reason"] = reason
        self.live_slot = slot
        self._add({**release, "slot": slot, "result": LIVE})

    def has_failed(self, release: Release, reason: str) -> None:
        """Note that `release` was tried and refused: its tag is bad from now on."""
        self._add({**release, "result": FAILED, "reason": reason})

    def nothing_serves(self, reason: str) -> None:
        """Note that the live release was rolled back and that there is none to go back to."""
        for release in self.releases:
            if release["result"] == LIVE:
                release.update(result=ROLLED_BACK, reason=reason)
        self.live_slot = None
        self._save()

    def forget(self) -> None:
        """Drop everything known of this service."""
        with self._host.lock("/run/tagboat/record.lock"):
            record = read(self._host)
            if record["services"].pop(self._service, None) is not None:
                self._write(record)
        self.live_slot, self.releases = None, []

    def mark(self, release: Release, result: str) -> None:
        """Give a remembered release another result."""
        release["result"] = result
        self._save()

    def _add(self, release: Release) -> None:
        self.releases.insert(0, release)
        keep = self.releases[:KEEP]
        keep += [release for release in self.releases[KEEP:] if release["result"] in (LIVE, STANDBY)]
        self.releases = keep
        self._save()

    def _save(self) -> None:
        with self._host.lock("/run/tagboat/record.lock"):  # another service may be rolled out here at the same time
            record = read(self._host)
            record["services"][self._service] = {"live": self.live_slot, "releases": self.releases}
            self._write(record)

    def _write(self, record: dict[str, Any]) -> None:
        self._host.write(PATH, json.dumps(record, indent=1, sort_keys=True) + "\n")
