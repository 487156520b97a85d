"""Action `rollout`: a whole rollout in one task.

Ansible brings inventory, variables, connection and privilege; the conductor says what happens on which host when. A
step is one remote execution: Python on the host gets its own code and the arguments on standard input, so nothing shows
in a process list, and only the code stays there, under /run. That is what makes a rollback a matter of a second or two:
a task of its own for every step would spend more time in Ansible than on the hosts.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import shlex
import signal
import sys
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType
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

from ansible.module_utils.tagboat.conductor import (  # noqa: E402  found by the line above
    HOLD_SECONDS,
    Conductor,
    Requests,
    Wish,
)

CONTROL_NODE_ONLY = {"conductor.py", "decide.py"}
MARK = "TAGBOAT-ANSWER "
CODE_FOLDER = "/run/tagboat/code"  # empty after every boot
# Read by the host's Python from its command line; all else comes on standard input. The code is unpacked once and
# compiled by the first step that uses it: that spares every later one some 60 ms of a core.
BOOTSTRAP = f"""
import sys, json
given = json.load(sys.stdin)
folder = "{CODE_FOLDER}/" + given["code_name"]
try:
    sys.path.insert(0, folder)
    from tagboat.steps import take
except ImportError:
    import base64, io, os, tempfile, zipfile
    os.makedirs("{CODE_FOLDER}", exist_ok=True)
    unpacked = tempfile.mkdtemp(dir="{CODE_FOLDER}")
    zipfile.ZipFile(io.BytesIO(base64.b64decode(given["code"]))).extractall(unpacked)
    try:
        os.rename(unpacked, folder)
    except OSError:
        import atexit, shutil
        sys.path[0] = unpacked
        atexit.register(shutil.rmtree, unpacked, True)
    sys.path_importer_cache.clear()
    sys.modules.pop("tagboat", None)
    from tagboat.steps import take
print({MARK!r} + json.dumps(take(given["arguments"], given["check"])))
"""


def packed_code() -> bytes:
    """Pack what hosts need of module_utils/tagboat as a zip archive; the same code makes the same bytes."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for source in sorted(CODE.glob("tagboat/*.py")):
            if source.name not in CONTROL_NODE_ONLY:
                name = zipfile.ZipInfo(str(source.relative_to(CODE)))
                file.writestr(name, source.read_bytes(), zipfile.ZIP_DEFLATED)
    return archive.getvalue()


Connect = Callable[[str], tuple[Any, str]]


class Hosts:
    """The hosts of a rollout, each asked in a thread of its own while a `with` block runs.

    Args:
        names: the hosts.
        connect: returns a host's connection plugin, and the command that starts Python there.
        check: hosts are to change nothing.
        say: told who is waited for, every HOLD_SECONDS.
    """

    def __init__(self, names: list[str], connect: Connect, check: bool, say: Callable[[str], None]) -> None:
        self._connections = {host: connect(host) for host in names}
        self._connect = connect
        self._check = check
        self._say = say
        # A connection plugin serves one thread at a time: to hold on, a host is asked by one of its own.
        self._holds: dict[str, tuple[tuple[Any, str], Future[dict[str, Any]]]] = {}
        code = packed_code()
        # Named by what is in it: another version of this project, at work at the same time, finds its own.
        self._code = {"code": base64.b64encode(code).decode(), "code_name": hashlib.sha256(code).hexdigest()[:16]}

    def __enter__(self) -> Hosts:
        """Get ready to ask: a host may be asked while it still thinks about what was, and to hold on as well."""
        self._pool = ThreadPoolExecutor(max_workers=3 * len(self._connections) or 1)
        self._holds.clear()
        self._hold_at = time.monotonic() + HOLD_SECONDS
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for what is under way."""
        self._pool.shutdown(cancel_futures=True)

    def ask(self, requests: Requests, until_one_fails: bool, hold: Requests) -> dict[str, dict[str, Any]]:
        """Take one step on some hosts; see `conductor.Ask`."""
        jobs = {self._submit(self._connections[host], arguments): host for host, arguments in requests.items()}
        waited_for = set(jobs)
        answers: dict[str, dict[str, Any]] = {}
        while waited_for:
            came, waited_for = wait(waited_for, max(0.0, self._hold_at - time.monotonic()), FIRST_COMPLETED)
            answers.update({jobs[job]: job.result() for job in came})
            wrong = [host for host, answer in answers.items() if answer.get("failed") or answer.get("unreachable")]
            if until_one_fails and wrong:
                break
            if time.monotonic() >= self._hold_at:
                self._hold_at = time.monotonic() + HOLD_SECONDS
                slow = {jobs[job] for job in waited_for}
                step = next(iter(requests.values()))["step"]
                if slow and step != "watch":  # which is meant to take its time, and was announced
                    self._say(f"waiting for {', '.join(host for host in requests if host in slow)} ({step})")
                self._hold({host: hold[host] for host in hold.keys() - slow})
        return {host: answers[host] for host in requests if host in answers}

    def _hold(self, requests: Requests) -> None:
        """Ask hosts to hold on; what comes of it, the next step there will tell."""
        for host, arguments in requests.items():
            connection, last = self._holds.get(host) or (self._connect(host), None)
            if last is None or last.done():
                self._holds[host] = (connection, self._submit(connection, arguments))

    def _submit(self, connection: tuple[Any, str], arguments: dict[str, Any]) -> Future[dict[str, Any]]:
        return self._pool.submit(_ask_one, *connection, self._code, arguments, self._check)


def watch_behind(conductor: Conductor, hosts: Hosts, name: str) -> Path:
    """Go on watching in a process of its own that outlives this one and its terminal; return where it writes."""
    log = Path(constants.ANSIBLE_HOME) / "tagboat" / f"watch-{name}.log"
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return log
    try:
        os.setsid()
        if os.fork() == 0:  # nobody's child, so that nobody waits for it
            _become_a_daemon(log)
            with hosts:
                outcome = conductor.watch()
            Display().display(outcome.message if outcome else "Nothing went wrong while it was watched.")
    finally:
        os._exit(0)


def heed_signals() -> Callable[[], str]:
    """Keep Ctrl-C and SIGTERM for the conductor, who goes back between two batches; return what tells of them.

    Otherwise this process, which Ansible forked for the task, would die in the middle of a step that goes on on the
    hosts, and leave a mixed fleet.
    """
    came: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, _frame: came.append(got))
    return lambda: f"interrupted by {signal.Signals(came[0]).name}" if came else ""


def _become_a_daemon(log: Path) -> None:
    """Write to a file, and let go of everything else: whoever reads the playbook's output waits for its end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115  a file descriptor, for good
    sys.stderr = sys.stdout
    Display()._final_q = None  # what Ansible displays in a worker goes to its parent, which is gone


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core ships no types
    """Conduct the rollout that the task's arguments (the fields of `Wish`) describe; fail with its verdict."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run it, telling the person who waits about every step."""
        super().run(tmp, task_vars)
        begin = time.monotonic()
        wish = Wish(**{**_plain(self._task.args), "check": self._task.check_mode})
        hostvars = (task_vars or {})["hostvars"]

        def say(line: str) -> None:
            with contextlib.suppress(OSError):  # the playbook may have been killed: that must not end the rollout
                Display().display(f"[{time.monotonic() - begin:5.1f} s] {line}")

        hosts = Hosts(wish.hosts, lambda host: self._connect(host, hostvars[host]), wish.check, say)
        conductor = Conductor(wish, hosts.ask, say, heed_signals())
        with hosts:
            outcome = conductor.run()
        if outcome.failed:
            raise AnsibleActionFail(outcome.message, result={"report": outcome.report})
        say(outcome.message)
        if conductor.is_to_watch:
            log = watch_behind(conductor, hosts, f"{wish.environment_name}-{wish.service}")
            say(f"Watched for {wish.watch['seconds']:g} s more, and undone if it gets worse; see {log}")
        return {
            "changed": outcome.changed,
            "diff": outcome.diffs,
            "statuses": outcome.statuses,
            "timings": outcome.timings,
            "report": outcome.report,
        }

    def _connect(self, host: str, variables: Any) -> tuple[Any, str]:
        """Return a host's connection plugin, set up from its variables, and the command that starts its Python."""
        context = self._play_context.copy()
        context.remote_addr = host
        name = variables.get("ansible_connection", "ssh")
        connection = connection_loader.get(name, context, None)
        # -IS: from the standard library only, which starts sooner, and from no folder or variable of a user.
        command = f"{variables.get('ansible_python_interpreter', 'python3')} -IS -c {shlex.quote(BOOTSTRAP)}"
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


def _ask_one(
    connection: Any, command: str, code: dict[str, str], arguments: dict[str, Any], check: bool
) -> dict[str, Any]:
    """Take one step on one host."""
    request = json.dumps({**code, "arguments": arguments, "check": check}).encode()
    try:
        status, out, err = connection.exec_command(command, in_data=request, sudoable=True)
    except (AnsibleConnectionFailure, AnsibleError) as error:
        return {"unreachable": True, "msg": f"cannot be reached: {str(error).strip()}"}
    _, found, answer = out.decode(errors="replace").rpartition(MARK)
    if found:
        parsed: dict[str, Any] = json.loads(answer)
        return {**parsed, "answered": time.monotonic()}
    last = (err or out).decode(errors="replace").strip()[-1000:]
    kind = "unreachable" if status == 255 else "failed"
    return {kind: True, "msg": f"gave no answer (exit code {status}): {last}"}


def _plain(value: Any) -> Any:
    """Copy Ansible's tagged and lazy values into plain ones."""
    return json.loads(json.dumps(value, default=str))
