"""What a playbook run reports: facts that Ansible and the roles know, turned into events."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from ops_bot.events import Event, HostState, Kind, State
from ops_bot.scrub import scrub
from ops_bot.text import one_line

LOG_LINES = 15


@dataclass
class Report:
    """One thing that a run reports, from its start to its end.

    Args:
        kind: what it is.
        facts: what every event of it says: environment, service, actor …
        now: the time.
        correlation: its story; made here when empty.
    """

    kind: Kind
    facts: dict[str, Any]
    now: Any
    correlation: str = ""
    begun: datetime | None = None
    ended: bool = False
    sequence: int = field(default=0)

    def __post_init__(self) -> None:
        self.correlation = self.correlation or f"{self.kind.value}:{uuid4().hex}"

    def event(self, state: State, **facts: Any) -> Event:
        """The next event of this story; texts are scrubbed of secrets here, before anything is kept."""
        at: datetime = self.now()
        self.begun = self.begun or at
        # Other processes of the run count too: the clock orders what two of them say, to the microsecond.
        self.sequence = max(self.sequence + 1, int((at - self.begun) / timedelta(microseconds=1)))
        told = {key: value for key, value in (self.facts | facts).items() if value not in (None, "", [])}
        for name in ("error", "reason", "step", "title"):
            if name in told:
                told[name] = one_line(scrub(str(told[name])), 480)
        if "log_tail" in told:
            told["log_tail"] = scrub("\n".join(str(told["log_tail"]).splitlines()[-LOG_LINES:]))
        if "hosts" in told:
            told["hosts"] = [_host(host) for host in told["hosts"]]
        if state in (State.FAILED, State.LOST):
            told.setdefault("next_command", self._look())
        if "next_command" in told and (environment := self.facts.get("environment")):
            told["next_command"] = re.sub(r"^(make \w+)(?! ENV=)\b", rf"\1 ENV={environment}", told["next_command"])
        if state in (State.FINISHED, State.FAILED):
            self.ended = True
            told["duration_seconds"] = round((at - self.begun).total_seconds(), 1)
        return Event.model_validate(
            {"kind": self.kind, "state": state, "correlation": self.correlation, "at": at, "sequence": self.sequence}
            | {"started_at": self.begun}
            | told
        )

    def unfinished(self) -> Event:
        """What is told when the run ends without a word."""
        true = "no host was touched" if self.kind == Kind.BUILD else "every host serves a healthy release"
        return self.event(State.LOST, error=f"the playbook was ended from outside; {true}")

    def _look(self) -> str:
        """What to type after a failure that names nothing better."""
        if self.kind == Kind.BUILD:
            return f"make build IMAGE={self.facts['image']}"
        return "make status"


def _host(told: Mapping[str, Any]) -> dict[str, Any]:
    host = {key: value for key, value in told.items() if value not in (None, "")}
    if "message" in host:
        host["message"] = one_line(scrub(str(host["message"])), 480)
    return HostState.model_validate(host).model_dump(exclude_unset=True)


def builds(result: Mapping[str, Any], services: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Image -> facts of its end, from the result of the task that follows a build: built ones and failed ones.

    Args:
        result: of that task.
        services: image -> the first service that runs it.
    """
    found: dict[str, dict[str, Any]] = {}
    for image, build in (result.get("builds") or {}).items():
        found[image] = {
            "state": State.FINISHED,
            "tag": build.get("tag"),
            "digest": build.get("digest"),
            "revision": build.get("revision"),
            "commits": [
                {key: str(one[key]) for key in ("revision", "author", "subject") if one.get(key)}
                for one in build.get("commits") or []
            ],
            "next_command": f"make deploy SERVICE={services[image]} TAG={build.get('tag')}"
            if image in services
            else "",
        }
    for image, failure in (result.get("failures") or {}).items():
        found[image] = {
            "state": State.FAILED,
            "step": failure.get("step"),
            "error": failure.get("message"),
            "log_tail": "\n".join(failure.get("tail") or []),
        }
    return found
