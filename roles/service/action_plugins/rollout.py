"""Action `rollout`: a whole rollout in one task.

Ansible brings inventory, variables, connection and privilege; the conductor says what happens on which host when. A
step is one remote execution: Python on the host gets its own code and the arguments on standard input, so nothing shows
in a process list and nothing is left behind. That is what makes a rollback a matter of a second or two: a task of its
own for every step would spend more time in Ansible than on the hosts.
"""

from __future__ import annotations

import base64
import io
import json
import shlex
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible import constants
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import become_loader, connection_loader
from ansible.utils.display import Display

CODE = Path(__file__).resolve().parents[1] / "module_utils"
if str(CODE) not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(str(CODE))  # Ansible itself does this for modules only

from ansible.module_utils.tagboat.conductor import Conductor, Wish  # noqa: E402  found by the line above

MARK = "TAGBOAT-ANSWER "
# Read by the host's Python from its command line; everything else comes on standard input.
BOOTSTRAP = (
    "import sys,json,base64,tempfile;"
    "given=json.load(sys.stdin);"
    "code=tempfile.NamedTemporaryFile(suffix='.zip');"
    "code.write(base64.b64decode(given['code']));code.flush();"
    "sys.path.insert(0,code.name);"
    "from tagboat.steps import take;"
    f"print({MARK!r}+json.dumps(take(given['arguments'],given['check'])))"
)


def packed_code() -> str:
    """Pack module_utils/tagboat as a zip archive that Python imports from, in base64."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for source in sorted(CODE.glob("tagboat/*.py")):
            file.write(source, source.relative_to(CODE))
    return base64.b64encode(archive.getvalue()).decode()


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core ships no types
    """Conduct the rollout that the task's arguments (the fields of `Wish`) describe; fail with its verdict."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run it, telling the person who waits about every step."""
        super().run(tmp, task_vars)
        begin = time.monotonic()
        hostvars = (task_vars or {})["hostvars"]
        wish = Wish(**{**_plain(self._task.args), "check": self._task.check_mode})
        code = packed_code()

        def say(line: str) -> None:
            Display().display(f"[{time.monotonic() - begin:5.1f} s] {line}")

        with ThreadPoolExecutor(max_workers=len(wish.hosts) or 1) as pool:
            connections = {host: self._connect(host, hostvars[host]) for host in wish.hosts}

            def ask(requests: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
                jobs = {
                    host: pool.submit(_ask_one, *connections[host], code, arguments, wish.check)
                    for host, arguments in requests.items()
                }
                return {host: job.result() for host, job in jobs.items()}

            outcome = Conductor(wish, ask, say).run()
        if outcome.failed:
            raise AnsibleActionFail(outcome.message)
        say(outcome.message)
        return {
            "changed": outcome.changed,
            "diff": outcome.diffs,
            "statuses": outcome.statuses,
            "timings": outcome.timings,
        }

    def _connect(self, host: str, variables: Any) -> tuple[Any, str]:
        """Return a host's connection plugin, set up from its variables, and the command that starts its Python."""
        context = self._play_context.copy()
        context.remote_addr = host
        name = variables.get("ansible_connection", "ssh")
        connection = connection_loader.get(name, context, None)
        command = f"{variables.get('ansible_python_interpreter', 'python3')} -c {shlex.quote(BOOTSTRAP)}"
        _set_options(connection, "connection", variables, {"host": host})
        _set_options(connection._shell, "shell", variables, {})
        if variables.get("ansible_become"):
            become = become_loader.get(variables.get("ansible_become_method", constants.DEFAULT_BECOME_METHOD))
            _set_options(become, "become", variables, {})
            connection.set_become_plugin(become)
            command = become.build_become_command(command, connection._shell)
        return connection, command


def _set_options(plugin: Any, kind: str, variables: Any, more: dict[str, Any]) -> None:
    known = constants.config.get_plugin_vars(kind, plugin._load_name)
    plugin.set_options(var_options={name: variables[name] for name in known if name in variables}, direct=more)


def _ask_one(connection: Any, command: str, code: str, arguments: dict[str, Any], check: bool) -> dict[str, Any]:
    """Take one step on one host."""
    request = json.dumps({"code": code, "arguments": arguments, "check": check}).encode()
    try:
        status, out, err = connection.exec_command(command, in_data=request, sudoable=True)
    except (AnsibleConnectionFailure, AnsibleError) as error:
        return {"unreachable": True, "msg": f"cannot be reached: {str(error).strip()}"}
    _, found, answer = out.decode(errors="replace").rpartition(MARK)
    if found:
        parsed: dict[str, Any] = json.loads(answer)
        return parsed
    last = (err or out).decode(errors="replace").strip()[-1000:]
    kind = "unreachable" if status == 255 else "failed"
    return {kind: True, "msg": f"gave no answer (exit code {status}): {last}"}


def _plain(value: Any) -> Any:
    """Copy Ansible's tagged and lazy values into plain ones."""
    return json.loads(json.dumps(value, default=str))
