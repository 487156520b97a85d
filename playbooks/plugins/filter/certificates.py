"""Filters about the certificates that an environment's own authority has signed: nobody else watches when they end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

HOSTS_DAYS = 30  # `make site` renews them from 60 days before their end on
AUTHORITY_DAYS = 180  # a new one must be trusted by every host before anything may be signed with it


def certificates_ending(folder: str, now: datetime | None = None) -> list[str]:
    """Say which certificates end soon, and what to do: one line each, none where all is well.

    Args:
        folder: `ca.pem` and `hosts/*.pem`, as role `certificate` keeps them on the control node.
        now: the time, with its zone; this moment unless a test says otherwise.
    """
    from cryptography import x509  # noqa: PLC0415  only this needs it, and all filters are loaded at every start

    now = now or datetime.now(tz=UTC)
    found = []
    for path, days, then in (
        *((path, HOSTS_DAYS, "Next: make site") for path in sorted(Path(folder, "hosts").glob("*.pem"))),
        (Path(folder, "ca.pem"), AUTHORITY_DAYS, "Next: make a new one, have every host trust both, then make site"),
    ):
        if path.is_file():
            end = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
            if end - now < timedelta(days=days):
                verb = "ends" if end > now else "ended"
                what = "the certificate authority" if path.name == "ca.pem" else f"the certificate {path.stem}"
                found.append(f"{what} {verb} on {end:%Y-%m-%d}. {then}")
    return found


class FilterModule:
    """Filters about certificates."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """Name the filters for Ansible."""
        return {"certificates_ending": certificates_ending}
