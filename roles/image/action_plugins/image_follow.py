"""Show a build run as it happens, until it is done; fail with the failing step and the end of its log."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

_OUTPUT = re.compile(r"\[ *[0-9.]+s\] ([^ :]+):   \| ")
_START_SECONDS = 30
# pip compiling, a slow disk: people must see that it is not stuck.
_QUIET_SECONDS = 15
# A build server may restart its sshd, or a laptop its network.
_LOST_SECONDS = 60
_AGAIN_SECONDS = 5


def worth_showing(lines: list[str], everything: bool) -> list[str]:
    """Each step; of what programs say only the last line an image, as a sign of life."""
    if everything:
        return lines
    last = {found.group(1): number for number, line in enumerate(lines) if (found := _OUTPUT.match(line))}
    return [line for number, line in enumerate(lines) if not _OUTPUT.match(line) or number in last.values()]


def explain(result: Mapping[str, Any]) -> str:
    """What went wrong, for a person: every failing image with its step and the end of its log."""
    return "\n".join(_explain_lines(result))


def _explain_lines(result: Mapping[str, Any]) -> Iterator[str]:
    if result.get("problem"):
        yield str(result["problem"])
    for image, failure in result.get("failures", {}).items():
        if tag := failure.get("pushed"):
            yield f"{image} {tag} was pushed, and then failed at {failure['step']}: {failure['message']}"
        else:
            failed = f"It failed at {failure['step']}: {failure['message']}"
            yield f"{image} was not built, nothing of it was pushed. {failed}"
        yield from (f"    {line}" for line in failure["tail"])
        yield f"  Whole log, on the build server: {failure['log']}"
        if tag:
            yield f"  Next: make build IMAGE={image} for a tag with a record of its build; {tag} is never overwritten"
        elif failure["step"] != "skipped":
            yield f"  What runs is as it was. Next, once that is mended: make build IMAGE={image}"


def brief(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if isinstance(value, str) and value}


class ActionModule(ActionBase):  # type: ignore[misc]
    _VALID_ARGS = frozenset({"work_dir", "run", "deadline_seconds"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = super().run(tmp, task_vars)
        display = Display()
        arguments = self._task.args
        place = {"work_dir": arguments["work_dir"], "run": arguments["run"]}
        started = spoke = time.monotonic()
        offset, last = 0, "the run starts"
        where = f"{place['work_dir']}/runs/{place['run']}/log"
        goes_on = f"the build goes on there, and pushes when it succeeds. Next: make build again, or read {where} there"
        answered = started
        while True:
            try:
                news = self._execute_module("image_log", {**place, "offset": offset}, task_vars=task_vars)
            except AnsibleConnectionFailure as error:
                if time.monotonic() - answered > _LOST_SECONDS:
                    raise AnsibleConnectionFailure(f"the build server is lost: {error}; {goes_on}") from None
                display.display("  … the build server does not answer, the build goes on there")
                time.sleep(_AGAIN_SECONDS)
                continue
            answered = time.monotonic()
            if news.get("failed"):
                return {**answer, **news, "msg": f"{news.get('msg', 'no answer')}; {goes_on}"}
            offset = news["offset"]
            for line in worth_showing(news["lines"], display.verbosity > 0):
                display.display(line, color=C.COLOR_ERROR if ": FAILED at " in line else None)
                last, spoke = line, time.monotonic()
            if news["state"] == "done":
                break
            if time.monotonic() - spoke > _QUIET_SECONDS:
                spoke = time.monotonic()
                display.display(f"  … still at: {last}")
            waited = time.monotonic() - started
            lost = news["state"] == "dead" or (news["state"] == "absent" and waited > _START_SECONDS)
            if lost or waited > float(arguments["deadline_seconds"]):
                what = "ended without a result" if lost else f"is not done after {waited:.0f} s"
                msg = f"build run {place['run']} {what}, after: {last}. Its log is in {where}. Next: make build again"
                return {**answer, "failed": True, "msg": msg}
        result: dict[str, Any] = news["result"]
        answer.update(changed=result["changed"], builds=result["builds"], failures=result["failures"])
        if result["failed"]:
            # Ansible prints a failed result as a whole: what `msg` says already is left out.
            answer.update(
                failed=True,
                msg=explain(result),
                builds={image: brief(build) for image, build in result["builds"].items()},
                failures={image: brief(failure) for image, failure in result["failures"].items()},
            )
        return answer
