"""Callback `tagboat_report`: every build, deploy, rollback, freeze and thaw reports to the ops bot.

Reads `ops_bot_url`, `ops_bot_token` and `ca_file` of the environment. Whatever goes wrong here, the playbook goes on:
an event that cannot be sent stays on disk and goes with the next run, or with `ops-bot flush`.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.callback import CallbackBase
from ansible.template import Templar, trust_as_template

ROOT = str(Path(__file__).resolve().parents[3])
if ROOT not in sys.path:
    sys.path.append(ROOT)  # the bundle is a checkout, not an installed package

DOCUMENTATION = """
name: tagboat_report
type: notification
short_description: Report to the ops bot
description: Builds, rollouts, freezes and thaws are reported from their start to their end.
"""

SERVICES = """dict((services | default({})) | dict2items | reverse | map(attribute='value.image')
    | zip((services | default({})) | list | reverse)) | to_json"""
VARIABLES = ("environment_name", "ops_bot_url", "ops_bot_token", "ca_file")


class CallbackModule(CallbackBase):  # type: ignore[misc]  # ansible-core ships no types
    """Looks for the tasks that a story is about, and tells it."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "tagboat_report"

    def __init__(self) -> None:
        super().__init__()
        self._play: Any = None
        self._postman: Any = None
        self._services: dict[str, str] = {}  # image -> the first service that runs it
        self._reports: dict[str, Any] = {}  # by what they are about: an image, or "" for what a run has one of
        self._pid = os.getpid()

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Remember whose variables hold."""
        self._play = play

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:  # noqa: ARG002
        """Begin a story where its task begins; for everything else this costs one comparison."""
        action = task.action.rpartition(".")[2]
        if action in ("rollout", "image_build", "service_freeze") and not task.check_mode and not self._reports:
            self._safely(self._begin, action, task)

    def v2_runner_on_ok(self, result: Any) -> None:
        """End the story that this task was."""
        self._safely(self._result, result, False)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """End the story that this task was, badly."""
        if not ignore_errors:
            self._safely(self._result, result, True)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """A build server that is gone; what a rollout's hosts do, the rollout itself tells."""
        self._safely(self._result, result, True)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """The run is over."""
        self._safely(self._finish, any(stats.failures.values()) or any(stats.dark.values()))

    def _safely(self, do: Any, *arguments: Any) -> None:
        """Reporting never breaks a playbook: what goes wrong is one warning."""
        if os.getpid() != self._pid:
            return
        try:
            do(*arguments)
        except Exception as error:
            self._display.warning(f"not reported to the ops bot: {type(error).__name__}: {error}")

    def _begin(self, action: str, task: Any) -> None:
        from ops_bot.ansible.postman import Postman  # noqa: PLC0415  only runs that report pay for it
        from ops_bot.ansible.reports import Report  # noqa: PLC0415
        from ops_bot.events import Kind, State  # noqa: PLC0415

        say = self._speaker(task)
        said = {name: say(f"{name} | default('')") for name in VARIABLES}
        if not said["ops_bot_url"]:
            return  # an environment without a bot: nobody would ever read it
        directory = Path(constants.ANSIBLE_HOME) / "tagboat" / f"spool-{said['environment_name']}{_fleet()}"
        self._postman = Postman(directory, said["ops_bot_url"], said["ops_bot_token"], said["ca_file"])
        if old := self._postman.waiting():
            self._display.display(f"{old} events of earlier runs wait for the ops bot; they are sent again now")
        actor = os.environ.get("TAGBOAT_BY") or getpass.getuser()
        facts = {"environment": said["environment_name"], "actor": actor, "cause": "playbook"}

        def report(kind: Any, about: str, **more: Any) -> Any:
            made = self._reports[about] = Report(kind, facts | more, lambda: datetime.now(UTC))
            return made

        if action == "rollout":
            kind = Kind(str(task.get_vars()["service_action"]))
            begun = report(kind, "", service=say("service"), image=say("services[service].image"))
            hosts = say("groups[services[service].hosts] | join(',')").split(",")
            more: dict[str, Any] = {"tag": say("tag | default('')"), "reason": say("reason | default('')")}
            more["hosts"] = [{"name": host, "state": "waiting"} for host in hosts]
            self._postman.start(begun.unfinished)
            self._postman.report(begun.event(State.STARTED, **more))
            _listen(begun, self._postman)
        elif action == "image_build":
            self._services = json.loads(say(SERVICES))
            names = [name for name in say("image | default('')").split(",") if name]
            begun = [report(Kind.BUILD, name, image=name) for name in names]
            self._postman.start(begun[0].unfinished)
            for one in begun:
                self._postman.report(one.event(State.STARTED))
        else:
            report(Kind.FREEZE, "", reason=say("reason | default('')"))
            self._postman.start(self._reports[""].unfinished)

    def _result(self, result: Any, failed: bool) -> None:
        if not self._reports:
            return
        from ops_bot.ansible.reports import builds  # noqa: PLC0415
        from ops_bot.events import Kind, State  # noqa: PLC0415

        action, told = result._task.action.rpartition(".")[2], result._result
        if action == "rollout":
            state = State.FAILED if failed else State.FINISHED
            self._postman.report(self._reports[""].event(state, **told.get("report", {"error": told.get("msg", "")})))
        elif action == "image_follow":
            for image, facts in builds(told, self._services).items():
                one = self._reports.get(image) or self._another(image)
                self._postman.report(one.event(**facts))
        elif action == "service_freeze" and not failed:
            one = self._reports[""]
            freeze = told.get("freeze")
            if freeze and not one.ended:
                until = datetime.fromisoformat(freeze["until"])
                facts = {"actor": freeze["by"], "reason": freeze["reason"], "until": until}
                if not one.begun:  # every host answers; the first one is the story
                    self._postman.report(one.event(State.STARTED, **facts))
            elif told.get("changed") and not one.begun:
                self._postman.report(one.event(State.FINISHED))
        elif failed and one_kind(self._reports) == Kind.BUILD:
            for one in self._reports.values():
                if not one.ended:
                    facts = {"step": result._task.get_name(), "error": str(told.get("msg", ""))}
                    self._postman.report(one.event(State.FAILED, failed_host=result._host.get_name(), **facts))

    def _another(self, image: str) -> Any:
        """A parent that was built because it had no tag yet."""
        from ops_bot.ansible.reports import Report  # noqa: PLC0415

        first = next(iter(self._reports.values()))
        one = self._reports[image] = Report(first.kind, first.facts | {"image": image}, first.now)
        one.begun = first.begun
        return one

    def _finish(self, failed: bool) -> None:
        from ops_bot.events import Kind, State  # noqa: PLC0415

        for one in self._reports.values():
            if one.kind != Kind.FREEZE and not one.ended:
                why = "the playbook failed" if failed else "the playbook ended before it was done"
                self._postman.report(one.event(State.FAILED, error=why))
        if self._postman:
            self._postman.end()

    def _speaker(self, task: Any) -> Callable[[str], str]:
        """What renders an expression with the variables that hold on the control node."""
        manager = self._play.get_variable_manager()
        here = manager._inventory.get_host("localhost")
        variables = manager.get_vars(play=self._play, host=here, task=task)
        templar = Templar(loader=self._play.get_loader(), variables=variables)
        return lambda expression: str(templar.template(trust_as_template(f"{{{{ {expression} }}}}")) or "")


def one_kind(reports: dict[str, Any]) -> Any:
    """What kind of story this run tells."""
    return next(iter(reports.values())).kind


def _fleet() -> str:
    """Local fleets live side by side, each with a bot of its own."""
    name = os.environ.get("LAB_NAME", "")
    return f"-{name}" if name else ""


def _listen(report: Any, postman: Any) -> None:
    """Have the rollout, which runs in a worker forked off this process, tell how far it has come."""
    import ansible.module_utils  # noqa: PLC0415

    from ops_bot.events import State  # noqa: PLC0415

    code = str(Path(ROOT) / "roles" / "service" / "module_utils")
    if code not in ansible.module_utils.__path__:
        ansible.module_utils.__path__.append(code)
    from ansible.module_utils.tagboat import conductor  # noqa: PLC0415

    def listen(facts: dict[str, Any]) -> None:
        try:
            postman.report(report.event(State(facts.pop("state")), **facts))
            if report.ended:  # told by the process that watches behind a rollout, when the run is long over
                postman.send_now()
        except Exception as error:
            print(f"not reported to the ops bot: {type(error).__name__}: {error}", file=sys.stderr)

    conductor.LISTENERS.append(listen)
