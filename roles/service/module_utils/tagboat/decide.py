"""Decisions of a rollout that need all hosts at once, and what people read of it. Pure functions, control node only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

GOOD = ("live", "standby", "replaced")
BAD = ("failed", "rolled_back")

Status = Mapping[str, Any]


def newest(status: Status, tag: str) -> Mapping[str, Any] | None:
    """Return a host's newest release of a tag, or None."""
    return next((release for release in status["releases"] if release["tag"] == tag), None)


def newest_good(status: Status, tag: str) -> Mapping[str, Any] | None:
    """Return a host's newest release of a tag that was live, or None."""
    return next((r for r in status["releases"] if r["tag"] == tag and r["result"] in (*GOOD, "rolled_back")), None)


def bad_tag(statuses: Mapping[str, Status], tag: str) -> str:
    """Say why a tag is marked bad on some host, or '' when it is not."""
    for host, status in statuses.items():
        release = newest(status, tag)
        if release and release["result"] in BAD:
            return f"{tag} is marked bad since {release['at']} on {host}: {release.get('reason') or release['result']}"
    return ""


def choose_rollback(statuses: Mapping[str, Status], tag: str, service: str) -> dict[str, Any]:
    """Choose the tag to roll back to: the one given, or the last that was live on every host and is not bad.

    Args:
        statuses: host -> its status of the service.
        tag: what the person asked for, or ''.
        service: for the next command in messages.

    Returns:
        `tag`, or `failed` and `msg`, naming the tags that would do.
    """
    everywhere = []
    for release in next(iter(statuses.values()))["releases"]:
        name = release["tag"]
        if name not in everywhere and all(newest_good(status, name) for status in statuses.values()):
            everywhere.append(name)
    live = {status["live"]["tag"] if status["live"] else "" for status in statuses.values()}
    choices = [name for name in everywhere if live != {name}]
    if tag in everywhere:
        return {"tag": tag}
    if tag:
        known = f"Ran everywhere: {', '.join(choices)}." if choices else "No other release ran everywhere."
        command = f" Next: make rollback SERVICE={service} TAG={choices[0]}" if choices else ""
        return _refuse(f"{service} {tag} was never live on every host. {known}{command}")
    good = [name for name in choices if not bad_tag(statuses, name)]
    if good:
        return {"tag": good[0]}
    return _refuse(
        f"{service} has no earlier release that was live on every host and is not marked bad."
        f" Next: make deploy SERVICE={service} TAG=..."
    )


def choose_deploy(
    statuses: Mapping[str, Status], release: Mapping[str, Any], service: str, force: bool
) -> dict[str, Any]:
    """Check the tag to deploy.

    Returns:
        `tag`, and `differs`: whether any host would change; or `failed` and `msg` when the tag is marked bad on some
        host, and `force` is false.
    """
    tag = str(release["tag"])
    reason = bad_tag(statuses, tag)
    if reason and not force:
        return _refuse(
            f"{service} {reason}. Next: build a new tag, or, knowing better:"
            f" make deploy SERVICE={service} TAG={tag} FORCE=1"
        )
    live = [status["live"] for status in statuses.values()]
    differs = any(not now or now["digest"] != release["digest"] or now["spec"] != release["spec"] for now in live)
    return {"tag": tag, "differs": force or differs}


def _refuse(message: str) -> dict[str, Any]:
    return {"failed": True, "msg": message}


def release_of(releases: Sequence[Mapping[str, Any]], tag: str) -> Mapping[str, Any]:
    """Return a host's own release of a tag: the image and the configuration it ran with."""
    found = newest_good({"releases": releases}, tag)
    if found is None:
        raise LookupError(f"{tag} was never live here")
    return found


def success(statuses: Mapping[str, Status], action: str, service: str, changed: bool) -> str:
    """Say in a line what a good rollout led to, and how to go back."""
    hosts = ", ".join(statuses)
    live = next(iter(statuses.values()))["live"]
    if not changed:
        return f"Nothing to do: {service} {live['tag']} is live on {hosts} already, with the same configuration."
    done = "deployed" if action == "deploy" else "rolled back"
    back = f" To go back: make rollback SERVICE={service}" if action == "deploy" else ""
    return f"{service} {done}: {live['tag']} ({live['digest'][7:19]}) is live on {hosts}.{back}"


def gathered(hosts: Sequence[str], hostvars: Mapping[str, Any]) -> dict[str, dict[str, Status]]:
    """Turn the results that `status.yml` registered on each host into service -> host -> status."""
    found: dict[str, dict[str, Status]] = {}
    for host in hosts:
        for service, status in _told(hostvars[host]).get("statuses", {}).items():
            found.setdefault(service, {})[host] = status
    return found


def orphans(hosts: Sequence[str], hostvars: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return service -> hosts where it is and does not belong: it was taken out of the data, or moved."""
    found: dict[str, list[str]] = {}
    for host in hosts:
        for service in _told(hostvars[host]).get("orphans", []):
            found.setdefault(service, []).append(host)
    return found


def mute(hosts: Sequence[str], hostvars: Mapping[str, Any]) -> list[str]:
    """Name the hosts that did not tell what they run."""
    return [host for host in hosts if "statuses" not in _told(hostvars[host])]


def _told(variables: Mapping[str, Any]) -> Mapping[str, Any]:
    return variables.get("__service_statuses") or {}


def verdict(
    refused: Sequence[Mapping[str, str]],
    statuses: Mapping[str, Status],
    service: str,
    undone: Sequence[str],
    way_on: str = "",
) -> str:
    """Say why a rollout failed, what serves now, and the next command to type.

    Args:
        refused: as `refusals` returns them.
        statuses: host -> status after the rollout, of the hosts that answered.
        service: its name.
        undone: hosts that had switched and went back.
        way_on: the command that goes on without the hosts that cannot be reached.
    """
    lines = []
    for message, log in dict.fromkeys((entry["message"], entry["log"]) for entry in refused):
        hosts = [entry["host"] for entry in refused if (entry["message"], entry["log"]) == (message, log)]
        lines.append(f"{', '.join(hosts)}: {message}" if any(hosts) else message)
        lines += [f"    | {line}" for line in log.splitlines()]
    if undone:
        lines.append(f"Switched hosts that went back: {', '.join(undone)}.")
    tags: dict[str, list[str]] = {}
    for host, status in statuses.items():
        tags.setdefault(status["live"]["tag"] if status.get("live") else "no release", []).append(host)
    lines.append("Serving now: " + "; ".join(f"{tag} on {', '.join(hosts)}" for tag, hosts in tags.items()) + ".")
    lines.append(
        f"Next: make status, make logs SERVICE={service}" if len(tags) < 2 else "The fleet is mixed. Next: make status"
    )
    if way_on:
        lines.append(f"To go on without hosts that cannot be reached: {way_on}")
    return "\n".join(lines)


def fleet_release(statuses: Sequence[Status]) -> Mapping[str, Any] | None:
    """Return the release that most hosts run, the newest of those; None when no host runs any."""
    live = [status["live"] for status in statuses if status.get("live")]
    count: dict[str, int] = {}
    for release in live:
        count[release["digest"]] = count.get(release["digest"], 0) + 1
    return max(live, key=lambda release: (count[release["digest"]], release["at"]), default=None)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _line(text: str) -> str:
    """Make one line of a health answer, however it is laid out."""
    line = " ".join(text.split())
    return line if len(line) <= 120 else line[:117] + "..."


def status_table(
    statuses: Mapping[str, Mapping[str, Status]],
    unreachable: Sequence[str] = (),
    orphaned: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Render service x host: tag, digest, since, by whom, health; then what differs from host to host.

    Args:
        statuses: service -> host -> status.
        unreachable: hosts that did not answer, or could not.
        orphaned: service -> hosts where it is and does not belong.
    """
    rows = [["SERVICE", "HOST", "TAG", "DIGEST", "SINCE", "BY", "HEALTH"]]
    notes = _frozen(statuses)
    for service, hosts in statuses.items():
        tags: dict[str, list[str]] = {}
        for host, status in hosts.items():
            live = status["live"]
            if live:
                tags.setdefault(live["tag"], []).append(host)
                what = [live["tag"], live["digest"][7:19], live["at"], live["by"]]
                rows.append([service, host, *what, _line(status["health"])])
            else:
                tags.setdefault("no release", []).append(host)
                rows.append([service, host, "-", "-", "-", "-", _line(status["health"])])
            if lease := status.get("lease"):
                notes.append(f"{service}: {lease['by']} is at work on {host}: {lease['what']}")
        if resting := [host for host, status in hosts.items() if status.get("maintenance")]:
            back = f"make maintenance SERVICE={service} STATE=off"
            notes.append(f"{service} is in maintenance on {', '.join(resting)}. To end it: {back}")
        if stray := (orphaned or {}).get(service):
            notes.append(
                f"{service} is on {', '.join(stray)}, where services.yml has no such service: nothing deploys it there."
                f" To remove it: make remove SERVICE={service}"
            )
        elif len(tags) > 1:
            mix = "; ".join(f"{tag} on {', '.join(names)}" for tag, names in tags.items())
            best = _mending(hosts, tags)
            notes.append(f"{service} is mixed: {mix}. To mend it: make deploy SERVICE={service} TAG={best}")
    lines = _table(rows) if len(rows) > 1 else ["No service runs anywhere yet."]
    lines += [f"{host} did not tell" for host in unreachable]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def _mending(hosts: Mapping[str, Status], tags: Mapping[str, Sequence[str]]) -> str:
    """Choose the tag that mends a mixed fleet: one that would not be refused, and of those what most hosts run."""
    return max((tag for tag in tags if tag != "no release"), key=lambda tag: (not bad_tag(hosts, tag), len(tags[tag])))


def _frozen(statuses: Mapping[str, Mapping[str, Status]]) -> list[str]:
    """Say who refuses deploys, until when and why: a line a freeze, naming its hosts."""
    found: dict[tuple[str, str], tuple[str, list[str]]] = {}
    for hosts in statuses.values():
        for host, status in hosts.items():
            if freeze := status.get("freeze"):
                until, names = found.get((freeze["by"], freeze["reason"]), ("", []))
                names += [host] if host not in names else []
                found[freeze["by"], freeze["reason"]] = (max(until, freeze["until"]), names)
    return [
        f"Deploys are frozen by {by} until {until}: {reason}. On {', '.join(names)}. To end it: make thaw"
        for (by, reason), (until, names) in found.items()
    ]


def history_table(statuses: Mapping[str, Status], service: str, limit: int = 10) -> str:
    """Render the history of a service over all hosts, newest first: one line a rollout and result."""
    seen: dict[tuple[str, str, str, str], list[str]] = {}
    order: dict[tuple[str, str, str, str], tuple[str, str, str]] = {}
    for host, status in statuses.items():
        for release in status["releases"]:
            why = release.get("reason") or (f"forced: {release['forced']}" if release.get("forced") else "")
            key = (release.get("rollout", ""), release["tag"], release["result"], why)
            seen.setdefault(key, []).append(host)
            order.setdefault(key, (release["at"], release["by"], release["digest"][7:19]))
    newest_first = sorted(seen, key=lambda key: order[key][0], reverse=True)[:limit]
    rows = [[f"HISTORY OF {service}", "TAG", "RESULT", "BY", "HOSTS", "WHY"]]
    for key in newest_first:
        at, by, _ = order[key]
        reason = key[3] if len(key[3]) <= 100 else key[3][:97] + "..."
        rows.append([at, key[1], key[2], by, " ".join(seen[key]), reason])
    return "\n".join(_table(rows))


def batches(hosts: Sequence[str], sizes: Sequence[int | str], alone_first: bool = False) -> list[list[str]]:
    """Cut hosts into batches: `[1, "100%"]` is one canary, then the rest; the last size goes on to the end.

    With `alone_first` the first host is a batch of its own whatever the sizes say: it migrates before anybody switches.
    """
    left = list(hosts)
    cut = []
    if alone_first and left:
        cut.append([left.pop(0)])
        sizes = sizes[1:] if sizes[0] == 1 and len(sizes) > 1 else sizes
    for size in [*sizes, *[sizes[-1]] * len(left)]:
        if left:
            share = str(size).endswith("%")
            count = max(1, len(hosts) * int(str(size)[:-1]) // 100) if share else max(1, int(size))
            cut.append(left[:count])
            left = left[count:]
    return cut
