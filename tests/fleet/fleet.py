"""A fleet as a person at the control node sees it: run a playbook, look at what serves. For the demo and the tests."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from running import ROOT, Digest, Going, Printer, Run

__all__ = ["ROOT", "Fleet", "Run", "Source"]


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
        # Ansible's own output, whole: reports want it, and `Run.changed` reads its recap.
        output = {"ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default", "PYTHONUNBUFFERED": "1"}
        return {**os.environ, "PATH": path, "LAB_NAME": self.name, **output}

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

    def ops_bot(self, command: str) -> str:
        """Run an `ops-bot` command where the bot runs and return what it printed."""
        return self.host("ops1", f"ops-bot {command}")

    def page(self) -> tuple[str, str]:
        """Address of the ops bot's page on the control node, and its password."""
        port = int(self.url.rpartition(":")[2]) + 2  # the fleet's block of ports, see inventories/local
        return f"https://127.0.0.1:{port}", (self.folder / "secrets" / "ops_bot_page").read_text().strip()

    def trust(self) -> ssl.SSLContext:
        """What the fleet's own certificate authority signed, and nothing else."""
        return ssl.create_default_context(cafile=self.folder / "pki" / "ca.pem")

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
