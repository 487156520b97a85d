"""What people read of maintenance, freezes and logs. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

HostVars = Mapping[str, Any]


def failures(hosts: Sequence[str], hostvars: HostVars, register: str) -> list[str]:
    """Say what went wrong in the step that registered `register`: a line a host."""
    found = []
    for host in hosts:
        result = hostvars[host].get(register) or {"unreachable": True}
        if result.get("unreachable"):
            found.append(f"{host}: it cannot be reached by SSH")
        elif result.get("failed"):
            found.append(f"{host}: {result.get('stderr') or result['msg']}")
    return found


def maintenance_report(
    hosts: Sequence[str], hostvars: HostVars, service: str, state: str, dry_run: bool = False
) -> str:
    """Say what visitors of a service get now, and from where it does not look well."""
    would = "would be" if dry_run else "is"
    where = ", ".join(hosts)
    if state == "on":
        back = f" To end it: make maintenance SERVICE={service} STATE=off"
        return f"{service} {would} in maintenance on {where}: visitors get a page that says so, and 503.{back}"
    lines = [f"{service} {would} out of maintenance on {where}."]
    for host in hosts:
        status = hostvars[host]["__service_maintained"]["status"]
        tag = status["live"]["tag"] if status["live"] else "no release"
        lines.append(f"{host}: {tag}, {status['health']}")
    return "\n".join(lines)


def freeze_report(hosts: Sequence[str], hostvars: HostVars, state: str, dry_run: bool = False) -> str:
    """Say whether deploys are refused now, by whom and until when."""
    results = {host: hostvars[host].get("__service_frozen") or {} for host in hosts}
    followed = {host: result for host, result in results.items() if "freeze" in result}
    if not followed:
        return "No host followed."
    if dry_run:
        change = [host for host, result in followed.items() if result["changed"]]
        return f"Would {'freeze' if state == 'present' else 'thaw'} {', '.join(change) or 'nothing'}."
    if state == "absent":
        thawed = [host for host, result in followed.items() if result["changed"]]
        return f"Deploys are allowed again on {', '.join(thawed)}." if thawed else "Nothing was frozen."
    freeze = next(iter(followed.values()))["freeze"]
    return f"Deploys are {frozen(freeze)} On {', '.join(followed)}. Rollbacks are allowed. To end it: make thaw"


def frozen(freeze: Mapping[str, str]) -> str:
    """Describe a freeze: `frozen by ann until 2026-01-01T08:00:00Z: release week.`."""
    return f"frozen by {freeze['by']} until {freeze['until']}: {freeze['reason'].rstrip('.')}."


def log_line(entry: Mapping[str, Any]) -> str:
    """Read what a container wrote from an entry of the journal; bytes that are no text come as a list of numbers."""
    message = entry.get("MESSAGE") or ""
    return bytes(message).decode(errors="replace") if isinstance(message, list) else str(message)


def merged_logs(hosts: Sequence[str], hostvars: HostVars, service: str) -> str:
    """Merge the journals of several hosts, newest entry first, by time; each line begins with its time and host."""
    width = max(map(len, hosts))
    found = []
    for host in hosts:
        for raw in (hostvars[host].get("__service_log") or {}).get("stdout_lines", [])[::-1]:
            entry = json.loads(raw)
            microseconds = int(entry["__REALTIME_TIMESTAMP"])
            found.append((microseconds, host, log_line(entry)))
    lines = []
    for microseconds, host, text in sorted(found, key=lambda line: line[0]):
        when = datetime.fromtimestamp(microseconds / 1e6, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        lines += [f"{when} {host:{width}} | {line}" for line in text.splitlines() or [""]]
    return "\n".join(lines or [f"{service} wrote nothing. Is it deployed? make status SERVICE={service}"])


class FilterModule:
    """Filters of reports."""

    def filters(self) -> dict[str, Any]:
        """Name the filters for Ansible."""
        return {
            "failures": failures,
            "freeze_report": freeze_report,
            "maintenance_report": maintenance_report,
            "merged_logs": merged_logs,
        }
