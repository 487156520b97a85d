"""A rollout over its hosts, as the control node conducts it: the only part that knows more than one host.

preflight on all ─► choose ─► switch batch by batch, the first host migrates ─► watch ─► settle (undo, let leases go)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from . import decide, lease

LATE_SECONDS = 15  # a connection is given up after as long: what a host begins later, nobody waits for any more
REASON_LENGTH = 200  # of the release record: enough to know why, without a page of somebody's health answer

Answer = dict[str, Any]
Requests = dict[str, dict[str, Any]]  # host -> the arguments of a step
# Takes one step on some hosts at the same time: requests in, host -> answer out. An answer is what the step returned,
# with `failed` and `msg`, or `unreachable` and `msg`, when it went wrong, and `answered`: when that was, by our
# time.monotonic(). With True it need not wait for the other hosts once one went wrong: their answers are left out then.
# The last requests are for hosts that wait while others are at work: every HOLD_SECONDS, so that their leases last.
Ask = Callable[[Requests, bool, Requests], dict[str, Answer]]
HOLD_SECONDS = lease.SECONDS / 2


# Told about every rollout of this process as it goes on, see `Conductor._tell`: whoever reports rollouts adds to it.
LISTENERS: list[Callable[[dict[str, Any]], None]] = []

# What a host's state is called after a step that changed it.
STATES = {"switch": "switched", "undo": "undone"}


@dataclass
class Wish:
    """What a person asked for, checked and resolved."""

    action: str  # deploy or rollback
    service: str
    hosts: list[str]
    batches: list[int | str]
    rollout: dict[str, Any]  # id, by and what
    tag: str = ""
    release: dict[str, Any] | None = None  # a deploy's: tag, digest, image, revision and spec
    secrets: dict[str, str] = field(default_factory=dict)
    environment_name: str = ""
    undo: bool = True
    skip_unreachable: bool = False
    force: bool = False
    check: bool = False
    min_free_mb: int = 0
    migrate_seconds: int = 600
    watch: dict[str, Any] = field(default_factory=dict)  # seconds, factor and errors, see watch.py; empty: do not
    watch_behind: bool = False  # the caller does the watching, see `Conductor.watch`, when the leases are gone


@dataclass
class Outcome:
    """How a rollout ended."""

    message: str
    failed: bool
    changed: bool
    statuses: dict[str, dict[str, Any]]
    diffs: list[dict[str, str]]
    timings: dict[str, dict[str, float]]
    report: dict[str, Any] = field(default_factory=dict)


class Conductor:
    """Conducts one rollout.

    Args:
        wish: what is to happen.
        ask: how hosts are asked to take a step.
        say: told about every step as it ends, for the person who waits.
        interrupted: says what has interrupted the rollout, or ''; asked before each batch.
    """

    def __init__(
        self, wish: Wish, ask: Ask, say: Callable[[str], None], interrupted: Callable[[], str] = lambda: ""
    ) -> None:
        self._wish = wish
        self._hosts = list(wish.hosts)
        self._ask = ask
        self._say = say
        self._interrupted = interrupted
        self._uptimes: dict[str, tuple[float, float]] = {}  # host -> its uptime, and ours when it told
        self._statuses: dict[str, dict[str, Any]] = {}
        self._refusals: list[dict[str, str]] = []
        self._before: dict[str, Answer] = {}
        self._at_switch: dict[str, Answer] = {}
        self._switched: list[str] = []
        self._undone: list[str] = []
        self._states = dict.fromkeys(wish.hosts, "waiting")
        self._left: str = ""
        self._way_on = ""  # the command that goes on without the hosts that cannot be reached, where that is possible
        self._blamed = False  # the release, by some host: then its tag is bad
        self._diffs: list[dict[str, str]] = []
        self._timings: dict[str, dict[str, float]] = {}

    def run(self) -> Outcome:
        """Conduct the rollout to its end, good or bad. Never raises for what a host does."""
        wish = self._wish
        choice: dict[str, Any] = {}
        self._preflight()
        if not self._refusals:
            choice = self._choose()
            migrates = self._needs_migration(choice)
            for batch in decide.batches(self._hosts, wish.batches, alone_first=migrates):
                if not self._refusals and (reason := self._interrupted()):
                    self._refusals.append({"host": "", "step": "switch", "message": reason, "log": ""})
                if not self._refusals:
                    self._switch(batch, choice, migrates and batch == self._hosts[:1])
            if wish.watch and not wish.watch_behind and not self._refusals:
                self._watch()
        self._settle()
        return self._outcome(choice)

    def watch(self) -> Outcome | None:
        """Watch the release that `run` has left live, and undo it when it gets worse; None when it stayed good."""
        self._watch()
        if not self._refusals:
            return None
        self._settle()
        outcome = self._outcome({})
        self._tell(state="failed", **outcome.report)
        return outcome

    @property
    def is_to_watch(self) -> bool:
        """Whether `run` has left hosts to `watch`."""
        wish = self._wish
        return bool(wish.watch and wish.watch_behind and self._switched and not self._refusals and not wish.check)

    def _outcome(self, choice: dict[str, Any]) -> Outcome:
        wish = self._wish
        if self._refusals:
            message = decide.verdict(self._refusals, self._statuses, wish.service, self._undone, self._way_on)
        elif wish.check and self._switched:
            message = (
                f"Dry run, nothing was changed: {wish.service} would be {choice['tag']} on {', '.join(self._hosts)}."
            )
        else:
            message = decide.success(self._statuses, wish.action, wish.service, bool(self._switched))
        changed = bool(self._switched)
        report = self._report(choice)
        return Outcome(message, bool(self._refusals), changed, self._statuses, self._diffs, self._timings, report)

    def _report(self, choice: dict[str, Any]) -> dict[str, Any]:
        """Return what happened as facts, for whoever was not at the terminal."""
        wish, failed = self._wish, bool(self._refusals)
        release = wish.release or {}
        tag = choice.get("tag") or release.get("tag") or wish.tag
        first = self._refusals[0] if failed else {"host": "", "step": "", "message": "", "log": ""}
        back = f"make rollback ENV={wish.environment_name} SERVICE={wish.service}" if wish.action == "deploy" else ""
        live: dict[str, Any] = next((status["live"] for status in self._statuses.values() if status.get("live")), {})
        return {
            "tag": tag,
            "from_tag": self._left,
            "digest": release.get("digest") or ("" if failed else live.get("digest", "")),
            "revision": release.get("revision") or ("" if failed else live.get("revision", "")),
            "migrations": bool(release.get("spec", {}).get("migrate")) if release else None,
            "forced": bool(wish.rollout.get("forced")) or wish.force,
            "reason": wish.rollout.get("forced", ""),
            "step": first["step"],
            "failed_host": first["host"],
            "error": first["message"],
            "log_tail": first["log"],
            "undone": (not (set(self._switched) - set(self._undone))) if failed and self._switched else None,
            "marked_bad": (self._blamed or (wish.action == "rollback" and not failed)) if not wish.check else None,
            "next_command": f"make status ENV={wish.environment_name}" if failed else back,
            "hosts": self._hosts_now(),
        }

    def _hosts_now(self) -> list[dict[str, Any]]:
        messages = {entry["host"]: entry["message"] for entry in self._refusals}
        return [
            {
                "name": host,
                "state": state,
                "tag": ((self._statuses.get(host) or {}).get("live") or {}).get("tag", ""),
                "message": messages.get(host, ""),
                "seconds": round(sum(self._timings.get(host, {}).values()), 1) or None,
            }
            for host, state in self._states.items()
        ]

    def _tell(self, **facts: Any) -> None:
        """Tell the listeners how far the rollout has come."""
        for listen in LISTENERS:
            listen({"hosts": self._hosts_now(), **facts})

    def _preflight(self) -> None:
        wish = self._wish
        release = wish.release if wish.action == "deploy" else None
        free = wish.min_free_mb if release else 0  # a rollback pulls nothing, and a full disk is a reason for one
        answers = self._step(
            "preflight",
            wish.hosts,
            lambda host: {"release": release, "first": host == wish.hosts[0], "min_free_mb": free},
        )
        lost = [host for host, answer in answers.items() if answer.get("unreachable")]
        possible = lost and len(lost) < len(answers)
        if possible and not wish.skip_unreachable and len(lost) == len(self._refusals):
            tag = f" TAG={told}" if (told := (release or {}).get("tag") or wish.tag) else ""
            self._way_on = f"make {wish.action} SERVICE={wish.service}{tag} SKIP=1{' FORCE=1' if wish.force else ''}"
        if possible and wish.skip_unreachable:
            self._hosts = [host for host in wish.hosts if host not in lost]
            self._refusals = [entry for entry in self._refusals if entry["host"] not in lost]
            # Kept in the release record: the next site.yml brings these hosts to this release when they are back.
            wish.rollout["skipped"] = lost
            self._say(f"goes on without {', '.join(lost)}; when they are back: make site")
        self._before = {host: answer.get("answers", {}) for host, answer in answers.items()}
        serving = [status["live"]["tag"] for status in self._statuses.values() if status.get("live")]
        self._left = max(sorted(set(serving)), key=serving.count, default="")
        if not self._refusals:
            self._say(f"ready: {', '.join(self._hosts)}")
            self._tell(state="progress", step="preflight", from_tag=self._left)

    def _choose(self) -> dict[str, Any]:
        wish = self._wish
        if wish.action == "rollback":
            choice = decide.choose_rollback(self._statuses, wish.tag, wish.service)
        else:
            choice = decide.choose_deploy(self._statuses, wish.release or {}, wish.service, wish.force)
        if choice.get("failed"):
            self._refusals.append({"host": "", "step": "choice", "message": choice["msg"], "log": ""})
        return choice

    def _needs_migration(self, choice: dict[str, Any]) -> bool:
        release = self._wish.release
        return bool(release and release["spec"].get("migrate") and choice.get("differs") and not self._wish.check)

    def _switch(self, batch: list[str], choice: dict[str, Any], migrates: bool) -> None:
        wish = self._wish
        back = wish.action == "rollback"
        answers = self._step(
            "switch",
            batch,
            lambda host: {
                "release": decide.release_of(self._statuses[host]["releases"], choice["tag"]) if back else wish.release,
                "secrets": wish.secrets,
                "left": "rolled_back" if back else "standby",
                "reason": f"{wish.rollout['what']} by {wish.rollout['by']}" if back else "",
                "force": wish.force,
                "migrate_seconds": wish.migrate_seconds if migrates else 0,
                # A good rollback is over here: its leases go with the switch, which spares a round trip.
                "last": back,
            },
        )
        for host, answer in answers.items():
            if answer.get("changed"):
                self._switched.append(host)
                self._at_switch[host] = answer.get("answers", {})
                spent = " ".join(f"{name} {seconds:.1f} s" for name, seconds in answer.get("timings", {}).items())
                done = "would switch" if wish.check else "switched"
                self._say(f"{host} {done} to {choice['tag']}" + (f" ({spent})" if spent else ""))
            if "diff" in answer:
                self._diffs.append(answer["diff"])
        if not wish.check and not self._refusals:
            self._tell(state="progress", step="switch", tag=choice["tag"])

    def _watch(self) -> None:
        wish = self._wish
        if not self._switched or wish.check:
            return
        self._say(f"watching for {wish.watch['seconds']:g} s")
        if not wish.watch_behind:
            self._tell(state="progress", step=f"watch for {wish.watch['seconds']:g} s")
        self._step(
            "watch",
            self._switched,
            lambda host: {
                "watch": {**wish.watch, "before": self._before[host], "at_switch": self._at_switch[host]},
            },
            until_one_fails=True,
        )

    def _settle(self) -> None:
        wish = self._wish
        if wish.check or (wish.action == "rollback" and not self._refusals):
            return
        first = self._refusals[0] if self._refusals else {"host": "", "message": ""}
        left = "rolled_back" if self._blamed else "replaced"
        reason = f"{first['host']}: {first['message']}"[:REASON_LENGTH]
        undo = bool(self._refusals) and wish.undo
        refusals, self._refusals = self._refusals, []
        answers = self._step(
            "undo" if undo else "finish",
            self._hosts,
            lambda _host: {"secrets": wish.secrets, "reason": reason, "left": left, "last": True},
        )
        self._undone = [host for host, answer in answers.items() if undo and answer.get("changed")]
        # That a host cannot be reached is told once; what fails while undoing matters as much as what failed first.
        known = {entry["host"] for entry in refusals}
        lost = [entry for entry in self._refusals if entry["host"] not in known]
        if lost and not refusals:  # what was asked for is done
            hosts = ", ".join(entry["host"] for entry in lost)
            self._say(f"{hosts} could not be told that it is over: the lease there ends by itself within a minute")
        self._refusals = refusals + (lost if refusals else [])

    def _step(
        self, step: str, hosts: list[str], arguments: Callable[[str], dict[str, Any]], until_one_fails: bool = False
    ) -> dict[str, Answer]:
        wish = self._wish
        common = {
            "step": step,
            "service": wish.service,
            "rollout": wish.rollout,
            "environment_name": wish.environment_name,
        }
        requests = {host: {**common, "host_name": host, **arguments(host)} for host in hosts}
        for host, (theirs, ours) in self._uptimes.items():
            if step == "switch" and host in requests:
                requests[host]["begin_by"] = theirs + time.monotonic() - ours + LATE_SECONDS
        hold = {} if wish.check else {host: {**common, "host_name": host, "step": "hold"} for host in self._hosts}
        answers = self._ask(requests, until_one_fails, hold)
        for host, answer in answers.items():
            if "uptime" in answer:
                self._uptimes[host] = (answer["uptime"], answer["answered"])
            if answer.get("status"):
                self._statuses[host] = answer["status"]
            if answer.get("timings"):
                self._timings.setdefault(host, {}).update(answer["timings"])
            wrong = "unreachable" if answer.get("unreachable") else "failed" if answer.get("failed") else ""
            if wrong or step == "preflight":
                self._states[host] = wrong or "ready"
            elif answer.get("changed") and step in STATES:
                self._states[host] = STATES[step]
            self._blamed = self._blamed or bool(answer.get("blames"))
            if wrong:
                entry = {"host": host, "step": step, "message": answer["msg"], "log": answer.get("log") or ""}
                self._refusals.append(entry)
        return answers
