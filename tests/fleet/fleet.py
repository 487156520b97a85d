"""A fleet as a person at the control node sees it: run a playbook, look at what serves. For the demo and the tests."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
Printer = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """A finished playbook run: its exit code, everything it printed, and how long it took in seconds."""

    command: str
    code: int
    output: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether it ended with exit code 0."""
        return self.code == 0

    @property
    def tail(self) -> str:
        """The end of what it printed, for a failing assertion; the report has it all."""
        return "\n".join(["", self.command, *self.output.splitlines()[-60:]])

    @property
    def changed(self) -> dict[str, int]:
        """Host -> number of changed tasks, from the recap."""
        recap = self.output.rpartition("PLAY RECAP")[2]
        return {host: int(count) for host, count in re.findall(r"^(\S+)\s*:.*?changed=(\d+)", recap, re.MULTILINE)}


class Going:
    """A playbook run under way, in a process group of its own, as a terminal starts it.

    Args:
        command: what runs.
        environment: its environment.
        log: file for everything it prints.
        watcher: told every line.
    """

    def __init__(self, command: list[str], environment: dict[str, str], log: Path, watcher: Digest) -> None:
        self._command = command
        self._watcher = watcher
        self._lines: list[str] = []
        self._said = threading.Condition()
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=[log], daemon=True)
        self._reader.start()

    def _read(self, path: Path) -> None:
        assert self.process.stdout is not None
        with path.open("w") as log:
            log.write(f"$ {' '.join(self._command)}\n")
            for line in self.process.stdout:
                log.write(line)
                log.flush()
                self._watcher.line(line.rstrip("\n"))
                with self._said:
                    self._lines.append(line)
                    self._said.notify_all()

    def until_it_says(self, words: str, seconds: float = 60) -> None:
        """Wait until it has printed these words.

        Raises:
            AssertionError: it did not, in time.
        """
        with self._said:
            found = self._said.wait_for(lambda: any(words in line for line in self._lines), seconds)
            assert found, f"it did not say {words!r} in time:\n{''.join(self._lines)}"

    def interrupt(self, number: signal.Signals) -> None:
        """Send a signal: SIGINT to the whole group, as Ctrl-C does, others to the playbook's own process."""
        with contextlib.suppress(ProcessLookupError):  # it was quicker
            if number == signal.SIGINT:
                os.killpg(self.process.pid, number)
            else:
                os.kill(self.process.pid, number)

    def crash(self) -> None:
        """End it and everything it has started at once, as when the control node loses its power."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGSTOP)  # so that it starts nothing meanwhile
        listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
        parents = {int(pid): int(parent) for pid, parent in (line.split() for line in listed.splitlines())}
        doomed = [self.process.pid]
        for one in doomed:
            doomed += [pid for pid, parent in parents.items() if parent == one]
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def wait(self, seconds: float = 900) -> Run:
        """Wait for its end; what it started and left behind does not count. Whoever ends the waiting ends the run."""
        try:
            code = self.process.wait(seconds)
        except BaseException:
            os.killpg(self.process.pid, signal.SIGTERM)
            raise
        took = time.monotonic() - self.began
        self._reader.join(timeout=10)  # orphans may hold on to its output
        command = " ".join(["ansible-playbook", *self._command[3:]])
        with self._said:
            return Run(command, code, "".join(self._lines), took)


@dataclass
class Fleet:
    """One local fleet, by name.

    Args:
        name: `LAB_NAME` of the fleet.
        reports: folder for the full output of every run, numbered.
        show: told every line of a run that is worth a person's while; nothing by default.
    """

    name: str
    reports: Path
    show: Printer = field(default=lambda _line: None)
    _count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def folder(self) -> Path:
        """Where the fleet's own files are."""
        return ROOT / ".lab" / self.name

    def _environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "LAB_NAME": self.name, "PYTHONUNBUFFERED": "1"}

    def start(self, playbook: str, *options: str, **extra: object) -> Going:
        """Begin to run `playbooks/<playbook>.yml` with `-e name=value` for every keyword."""
        command = ["ansible-playbook", "-i", "inventories/local", f"playbooks/{playbook}.yml", *options]
        for name, value in extra.items():
            structured = isinstance(value, dict | list)
            command += ["-e", json.dumps({name: value}) if structured else f"{name}={value}"]
        with self._lock:  # two runs may begin side by side
            self._count += 1
            log = self.reports / f"{self._count:03d}-{playbook}.log"
        self.reports.mkdir(parents=True, exist_ok=True)
        return Going(command, self._environment(), log, Digest(self.show, time.monotonic()))

    def play(self, playbook: str, *options: str, **extra: object) -> Run:
        """Run `playbooks/<playbook>.yml` and wait for its end; see `start`."""
        return self.start(playbook, *options, **extra).wait()

    def deploy(self, tag: str, *options: str, **extra: object) -> Run:
        """Deploy a tag of web, unwatched unless told otherwise: most tests are over before a watch would be."""
        return self.play("deploy", *options, **{"service": "web", "tag": tag, "watch": "off", **extra})

    def host(self, name: str, command: str) -> str:
        """Run a shell command as root on a host and return what it printed.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        return subprocess.run(
            ["ssh", "-F", str(self.folder / "ssh_config"), name, "sudo", "sh", "-c", _quote(command)],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout

    def container(self, *docker: str) -> None:
        """Do something to a host as to a machine: `container("restart", "web1")`."""
        subprocess.run(
            ["docker", *docker[:-1], f"tagboat-{self.name}-{docker[-1]}"], check=True, capture_output=True, timeout=120
        )

    def console(self, name: str, command: str) -> str:
        """Run a shell command as root on a host, without a network: as on the console of a machine.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        machine = f"tagboat-{self.name}-{name}"
        return subprocess.run(
            ["docker", "exec", machine, "sh", "-c", command], check=True, capture_output=True, text=True, timeout=120
        ).stdout

    @property
    def port_base(self) -> int:
        """First of the fleet's ports on the control node, see role lab."""
        first = next(line for line in (self.folder / "ssh_config").read_text().splitlines() if "Port" in line)
        return int(first.split()[1]) // 250 * 250

    @property
    def url(self) -> str:
        """Address of the balancer on the control node."""
        return f"http://127.0.0.1:{self.port_base + 200}"

    def get(self, path: str) -> tuple[int, str]:
        """Ask the balancer for a page; return status and body."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:  # noqa: S310  always http://127.0.0.1
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def version_on(self, host: str) -> dict[str, str]:
        """Ask a web host's edge which release answers: the JSON of `/version`."""
        answer: dict[str, str] = json.loads(self.host(host, "curl -sS --fail --max-time 5 http://127.0.0.1/version"))
        return answer

    def web_hosts(self) -> list[str]:
        """Name the web hosts of the fleet."""
        text = (self.folder / "ssh_config").read_text()
        return re.findall(r"^Host (web\d+)$", text, re.MULTILINE)

    def serving(self) -> dict[str, str]:
        """Return web host -> tag that answers there."""
        return {host: self.version_on(host)["tag"] for host in self.web_hosts()}


class Digest:
    """Picks the lines of a playbook's output that tell a person how it goes."""

    def __init__(self, show: Printer, begin: float) -> None:
        self._show = show
        self._begin = begin
        self._error = False

    def line(self, line: str) -> None:
        """Look at one line of output."""
        if play := re.match(r"PLAY \[(.*)\] \*", line):
            self._show(f"{time.monotonic() - self._begin:6.1f} s  {play[1]}")
        elif line.startswith("[ERROR]: "):
            self._error = True
            self._show(line.removeprefix("[ERROR]: Task failed: ").removeprefix("Action failed: "))
        elif self._error and (line.startswith("Origin:") or not line):
            self._error = False
        elif self._error or (line and not NOISE.match(line)):
            self._show(line)


# What Ansible prints about each host and task: the log has it, the digest leaves it out.
NOISE = re.compile(
    r"TASK|RUNNING HANDLER|PLAY RECAP|ok:|changed:|skipping:|included:|fatal:|failed:|Task failed|Origin:"
    r"|\.\.\.|<<<|\s|\d+ |[\w.-]+\s+: ok="
)


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


class Source:
    """A clone of this repository to change the app in, so that the real one stays as it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            self._git(ROOT, "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder))

    def _git(self, where: Path, *arguments: str) -> str:
        identity = ["-c", "user.name=Tagboat demo", "-c", "user.email=demo@example.com"]
        done = subprocess.run(["git", *identity, *arguments], cwd=where, check=True, capture_output=True, text=True)
        return done.stdout

    def reset(self) -> None:
        """Go back to the repository's own state."""
        self._git(self.folder, "fetch", "--quiet", "origin", "HEAD")
        self._git(self.folder, "reset", "--quiet", "--hard", "FETCH_HEAD")

    def change(self, file: str, old: str, new: str, message: str) -> None:
        """Replace text in a file and commit it.

        Raises:
            ValueError: the text is not there.
        """
        path = self.folder / file
        text = path.read_text()
        if old not in text:
            raise ValueError(f"{file} does not contain {old!r}")
        path.write_text(text.replace(old, new))
        self._git(self.folder, "commit", "--quiet", "--all", "--message", message)

    def commit(self, message: str) -> None:
        """Commit everything that is in the folder, new files included."""
        self._git(self.folder, "add", "--all")
        self._git(self.folder, "commit", "--quiet", "--allow-empty", "--message", message)

    def new_heading(self, text: str) -> None:
        """Change what visitors read at the top of the page."""
        page = "images/web/app/templates/index.html"
        old = re.search(r"<h1>.*</h1>", (self.folder / page).read_text())
        assert old
        self.change(page, old[0], f"<h1>{text}</h1>", f"Say: {text}")

    def never_healthy(self, on: str = "web") -> None:
        """Break readiness in a way that the build's smoke test cannot see: only on hosts whose name begins so."""
        self.change(
            "images/web/app/health.py",
            "        try:\n            revision",
            f'        if __import__("os").environ["HOST"].startswith("{on}"):\n'
            '            return "search index: no answer"\n'
            "        try:\n            revision",
            "Ask the search index before saying ready",
        )

    def healthy_again(self) -> None:
        """Take the last change back."""
        self._git(self.folder, "revert", "--no-edit", "HEAD")
