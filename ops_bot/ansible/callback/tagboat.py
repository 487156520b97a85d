"""Callback `tagboat`: what a person at the terminal sees of a playbook. Changes, failures and how long; no more.

Ansible's own output, with every task and host, comes with -v.
"""

from __future__ import annotations

import io
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible import context
from ansible.plugins.callback.default import CallbackModule as Default

DOCUMENTATION = """
name: tagboat
type: stdout
short_description: Changes, failures and how long, for people
description:
  - A line for every play, change and failure, with the time that has passed. With -v Ansible's own output.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
"""


# A line of a service's log, which is shown as it was written, stands behind a bar.
_VERBS = "site|build|deploy|rollback|status|remove|prune|logs|exec|maintenance|freeze|thaw"
_COMMAND = re.compile(rf"\bmake (?:{_VERBS})\b(?! ENV=)")


def environment_of(inventories: Sequence[str]) -> str:
    """Name the environment of a run as `make` takes it; '' for the local one, which is `make`'s own choice."""
    folders = [Path(inventory).resolve() for inventory in inventories]
    names = [folder.name for folder in folders if folder.parent.name == "inventories"]
    return names[0] if names and names[0] != "local" else ""


def with_environment(text: str, environment: str) -> str:
    """Complete the `make` commands of a text, so that what was said about production is not typed for another."""
    if not environment:
        return text
    lines = (line.partition(" | ") for line in text.split("\n"))
    return "\n".join(_COMMAND.sub(rf"\g<0> ENV={environment}", ours) + bar + theirs for ours, bar, theirs in lines)


def outlive_reader(stream: io.TextIOWrapper) -> None:
    """Let what is written after the reader of a pipe has gone, as in `make status | head`, go nowhere.

    Ansible's thread that takes the workers' results ends at an error of its output, and the playbook waits for ever.
    """

    def patient(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*data: bytes) -> Any:
            try:
                return method(*data)
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
                return method(*data)

        return call

    buffer = stream.buffer
    buffer.write = patient(buffer.write)  # type: ignore[method-assign]
    buffer.flush = patient(buffer.flush)  # type: ignore[method-assign]


class CallbackModule(Default):  # type: ignore[misc]  # ansible-core ships no types
    """Says less than Ansible's own, unless asked with -v."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "tagboat"

    def __init__(self) -> None:
        super().__init__()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(line_buffering=True)  # progress is read as it comes, through `tee` and in CI as well
                outlive_reader(stream)
        # What actions and workers show goes through the same display.
        if environment := environment_of(context.CLIARGS.get("inventory") or ()):
            display = self._display.display
            self._display.display = lambda msg, *options, **more: display(
                with_environment(str(msg), environment), *options, **more
            )
        self._begin = time.monotonic()
        # One line that is written over: only where there is a cursor to go back.
        self._live = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._shown = False

    @property
    def _brief(self) -> bool:
        return bool(self._display.verbosity < 1)

    def _say(self, text: str, colour: str | None = None) -> None:
        self._wipe()
        self._display.display(f"[{time.monotonic() - self._begin:5.1f} s] {text}", color=colour)

    def _wipe(self) -> None:
        if self._shown:
            sys.stdout.write("\r\033[K")
            sys.stdout.flush()
            self._shown = False

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Say what begins."""
        if not self._brief:
            super().v2_playbook_on_play_start(play)
        else:
            self._play = play
            self._say(play.get_name().strip())

    def _task_start(self, task: Any, prefix: str | None = None) -> None:
        """Show on one line what is under way, where there is a terminal."""
        if not self._brief:
            super()._task_start(task, prefix=prefix)
        elif self._live and task.get_name():
            width = self._display.columns - 1
            sys.stdout.write(f"\r\033[K[{time.monotonic() - self._begin:5.1f} s]   {task.get_name()} …"[: width + 4])
            sys.stdout.flush()
            self._shown = True

    def _print_task_banner(self, task: Any) -> None:
        """Name the task that a diff belongs to."""
        if not self._brief:
            super()._print_task_banner(task)
        else:
            self._last_task_banner = task._uuid
            self._say(f"  {task.get_name()}", C.COLOR_CHANGED)

    def v2_runner_on_ok(self, result: Any) -> None:
        """Say what changed."""
        if not self._brief:
            super().v2_runner_on_ok(result)
        elif not (result._task.loop and "results" in result._result):
            self._changed(result, "")

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """Say which one of a loop changed."""
        if not self._brief:
            super().v2_runner_item_on_ok(result)
        else:
            self._changed(result, f" ({self._get_item_label(result._result)})")

    def _changed(self, result: Any, item: str) -> None:
        self._wipe()
        self._handle_warnings_and_exception(result)
        told = result._result
        if result._task.action in C._ACTION_DEBUG:
            self._display.display(str(told.get("msg", "")))
        elif told.get("changed"):
            would = "would change" if result._task.check_mode else "changed"
            self._say(f"  {self.host_label(result)} {would}: {result._task.get_name()}{item}", C.COLOR_CHANGED)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Say what failed, and the whole of why."""
        if not self._brief:
            super().v2_runner_on_failed(result, ignore_errors)
        elif not ignore_errors:
            self._failed(result, "FAILED")

    def v2_runner_item_on_failed(self, result: Any) -> None:
        """Say which one of a loop failed, and why."""
        if not self._brief:
            super().v2_runner_item_on_failed(result)
        else:
            self._failed(result, f"FAILED ({self._get_item_label(result._result)})")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Say which host does not answer."""
        if not self._brief:
            super().v2_runner_on_unreachable(result)
        elif not result._task.ignore_unreachable:
            self._failed(result, "UNREACHABLE")

    def _failed(self, result: Any, what: str) -> None:
        told = result._result
        text = str(told.get("msg") or told.get("censored") or "no reason given").rstrip()
        more = [str(told[key]).rstrip() for key in ("stdout", "stderr") if told.get(key) and key not in text]
        self._say(f"  {self.host_label(result)} {what}: {result._task.get_name()}", C.COLOR_ERROR)
        for line in "\n".join([text, *more]).splitlines():
            self._display.display(f"    {line}", color=C.COLOR_ERROR)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Nothing happened: nothing is said."""
        if not self._brief:
            super().v2_runner_on_skipped(result)

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        """Nothing happened: nothing is said."""
        if not self._brief:
            super().v2_runner_item_on_skipped(result)

    def v2_playbook_on_include(self, included_file: Any) -> None:
        """How playbooks are put together is nobody's business at the terminal."""
        if not self._brief:
            super().v2_playbook_on_include(included_file)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """A play for hosts this environment does not have."""
        if not self._brief:
            super().v2_playbook_on_no_hosts_matched()

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Sum it up."""
        if not self._brief:
            super().v2_playbook_on_stats(stats)
            return
        hosts = sorted(stats.processed)
        bad = {host for host in hosts if stats.failures.get(host) or stats.dark.get(host)}
        changed = [host for host in hosts if stats.changed.get(host)]
        count = sum(stats.changed.values())
        changes = f"{count} change{'' if count == 1 else 's'}"
        parts = [f"{changes} on {', '.join(changed)}" if changed else "nothing changed"]
        if bad:
            parts = [f"failed on {', '.join(sorted(bad))}", *parts]
        self._say("; ".join(parts), C.COLOR_ERROR if bad else C.COLOR_OK)
