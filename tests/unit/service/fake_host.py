"""A host in memory: files, an engine, an init system and an edge, with a clock that only moves when somebody waits.

Every call is one effect. Before each of them `watch` may look at the host, and effect number `kill_at` never happens:
the process is gone, as after SIGKILL. Effect number `break_at` fails once, as a full disk or a hanging engine would.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.tagboat import edge, slot
from ansible.module_utils.tagboat.host import CommandError, Host

NEVER = float("inf")
UNIT = re.compile(r"(?P<service>\w+)@(?P<slot>[ab])\.service")
WANTS = "/etc/systemd/system/multi-user.target.wants"


class KilledError(BaseException):
    """SIGKILL: no handler for errors may see it, and nothing can be done after it."""


@dataclass
class Image:
    """What becomes of a container of this image."""

    healthy_after: float = 0.3
    exits_after: float = NEVER
    exit_code: int = 0
    says: str = "listening"


@dataclass
class Container:
    image: str
    behaviour: Image
    started: float
    arguments: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    stopped: bool = False
    stops_at: float = NEVER  # its stop has begun

    def label(self, name: str) -> str:
        return self.argument(f"--label={name}=")

    @property
    def port(self) -> int:
        return int(self.argument("--publish=127.0.0.1:").split(":")[0] or 0)

    def argument(self, prefix: str) -> str:
        return last_of(tuple(self.arguments), prefix)


class FakeHost(Host):
    """Stands in for `Host`; see the module's text."""

    def __init__(self, init: str = "systemd", services: tuple[str, ...] = ("web",)) -> None:
        self.init = init
        self.files: dict[str, str] = {}
        self.modes: dict[str, int] = {}
        self.links: dict[str, str] = {}
        self.time = 1000.0
        self.effects: list[str] = []
        self.kill_at: int | None = None
        self.break_at: int | None = None
        self.dead = False
        self.watch: Callable[[FakeHost], None] | None = None
        self.locks: set[str] = set()
        self.waited_for = True  # by the control node, for what this process prints
        self.repeated: tuple[Callable[[], bool], float, float] | None = None
        # The engine.
        self.engine_answers = True
        self.free_mb = 50_000
        self.registry: dict[str, Image] = {}
        self.images: dict[str, Image] = {}
        self.containers: dict[str, Container] = {}
        self.migrations: list[tuple[list[str], dict[str, str]]] = []
        self.migration: str | Exception = "migrated"
        # The edge.
        self.edge_answers = True
        self.edge_refuses = ""
        self.map: dict[str, str] = {}
        self.busy_until: dict[str, float] = {}
        self.marked_up: list[str] = []
        self.answers: dict[str, dict[str, int]] = {}  # service -> what the edge has counted
        # The init system.
        self.timers: dict[str, tuple[float, str]] = {}
        self.last_words: list[str] = []  # of a start that failed
        self.lingers = 0.0  # how long a container takes to stop, for those who do not wait for it
        if init == "systemd":
            self.files["/run/systemd/system"] = ""
        for service in services:
            path = f"/etc/systemd/system/{service}@.service" if init == "systemd" else f"/etc/init/{service}.conf"
            self.files[path] = "unit"
            self.map[service] = f"{service}-none"
        self.files[edge.MAP] = "".join(f"{key} {value}\n" for key, value in self.map.items())

    # --- what tests ask ------------------------------------------------------------------------------------------

    def running(self, name: str) -> Container | None:
        """The container of this name, if it runs."""
        container = self.containers.get(name)
        if container is None or container.stopped or self.time >= container.stops_at:
            return None
        if self.time - container.started >= container.behaviour.exits_after:
            return None
        return container

    def healthy(self, name: str) -> bool:
        """Whether the container of this name runs and would answer its health check."""
        container = self.running(name)
        return container is not None and self.time - container.started >= container.behaviour.healthy_after

    def pass_time(self, seconds: float) -> None:
        """Let the clock run, and what was timed happen."""
        end = self.time + seconds
        while self.repeated and self.repeated[2] <= end:
            action, every_seconds, self.time = self.repeated
            self.repeated = (action, every_seconds, self.time + every_seconds) if action() else None
        self.time = end
        for name, (when, unit) in list(self.timers.items()):
            if self.time >= when:
                del self.timers[name]
                self._stop(unit)

    def reboot(self) -> None:
        """Cut the power and boot again: /run is empty, the enabled slots start, the edge reads its map file."""
        self.files = {path: text for path, text in self.files.items() if not path.startswith("/run/tagboat/")}
        self.time, self.timers, self.locks, self.dead = 10.0, {}, set(), False
        self.map = edge.lines(self.files[edge.MAP])
        for container in self.containers.values():
            container.stopped = True
        if self.init == "systemd":
            for link in self.links:
                if found := UNIT.search(link):
                    self._start(found["service"], found["slot"])
        else:
            for path in list(self.files):
                if found := re.fullmatch(r"/etc/tagboat/(\w+)/([ab])\.boot", path):
                    self._start(found[1], found[2])
        self.pass_time(5)

    def copy(self) -> FakeHost:
        """Another host in the same state, unwatched."""
        watch, self.watch = self.watch, None
        twin = copy.copy(self)
        self.watch = watch
        for name, value in vars(self).items():
            if isinstance(value, dict | list | set):
                setattr(twin, name, value.copy())
        twin.repeated = None  # it belongs to the process that works on this one
        twin.containers = {name: copy.copy(container) for name, container in self.containers.items()}
        return twin

    def fingerprint(self) -> str:
        """What this host is, but for the time and what has been asked of it."""
        containers = {
            name: (container.image, container.arguments, container.env, bool(self.running(name)), self.healthy(name))
            for name, container in self.containers.items()
        }
        settings = (self.files, self.links, self.map, list(self.timers), sorted(self.images), containers)
        return repr(settings)

    def edge_points_to_nothing(self, service: str) -> bool:
        """Whether the edge knows the service no more, now and after a restart."""
        return service not in self.map and service not in map_file(self.files[edge.MAP])

    def edge_points_to(self, service: str) -> set[str]:
        """What requests go to now, and would after a restart of the edge."""
        return {self.map[service], map_file(self.files[edge.MAP])[service]}

    # --- Host ----------------------------------------------------------------------------------------------------

    def _effect(self, name: str, error: type[Exception] | None = None) -> None:
        if self.dead:
            raise KilledError
        if self.watch:
            self.watch(self)
        self.effects.append(name)
        if len(self.effects) == self.kill_at:
            self.dead = True
            raise KilledError
        if len(self.effects) == self.break_at and error:
            raise error(f"broken: {name}")

    def run(self, argv: list[str], timeout_seconds: float = 120, check: bool = True) -> str:
        self._effect(f"run {' '.join(argv)}", CommandError)
        self.pass_time(0.01)
        try:
            return self._run(argv, timeout_seconds)
        except CommandError:
            if check:
                raise
            return ""

    def read(self, path: str) -> str | None:
        self._effect(f"read {path}", OSError)
        return self.files.get(path)

    def write(self, path: str, text: str, mode: int = 0o644) -> bool:
        self._effect(f"write {path}", OSError)
        changed = self.files.get(path) != text or self.modes.get(path) != mode
        self.files[path] = text
        self.modes[path] = mode
        return changed

    def link(self, path: str, target: str) -> None:
        self._effect(f"link {path}", OSError)
        self.links[path] = target

    def remove(self, path: str) -> None:
        self._effect(f"remove {path}", OSError)
        self.files.pop(path, None)
        self.links.pop(path, None)

    def exists(self, path: str) -> bool:
        self._effect(f"exists {path}")
        return path in self.files or path in self.links

    def folders(self, path: str) -> list[str]:
        self._effect(f"folders {path}")
        inside = [file.removeprefix(f"{path}/") for file in self.files if file.startswith(f"{path}/")]
        return sorted({file.split("/")[0] for file in inside if "/" in file})

    def remove_folder(self, path: str) -> None:
        self._effect(f"remove_folder {path}", OSError)
        for file in [file for file in self.files if file.startswith(f"{path}/")]:
            del self.files[file]

    def get(self, port: int, path: str, timeout_seconds: float) -> tuple[int, str]:  # noqa: ARG002
        self._effect(f"get {port}{path}", OSError)
        self.pass_time(0.005)
        for name, container in self.containers.items():
            if container.port == port and self.running(name):
                if path != "/healthz":
                    return 404, "no such page"
                if self.healthy(name):
                    return 200, "ok"
                if container.behaviour.healthy_after == NEVER:
                    return 503, "no database"
        raise ConnectionRefusedError("connection refused")

    def engine(self, method: str, path: str, timeout_seconds: float = 120) -> dict[str, Any] | None:  # noqa: ARG002
        self._effect(f"engine {method} {path}", OSError)
        self.pass_time(0.01)
        if not self.engine_answers:
            raise OSError("no Docker engine answers ([Errno 111] Connection refused)")
        _, kind, *name = path.partition("?")[0].removesuffix("/json").split("/", 2)
        if (method, kind) == ("GET", "version"):
            return {"Version": "20.10.24"}
        if (method, kind) == ("GET", "images"):
            return {"Id": "0123abc"} if name[0] in self.images else None
        if (method, kind) == ("GET", "containers"):
            return self._container(name[0])
        if (method, kind) == ("DELETE", "containers"):
            return None if self.containers.pop(name[0], None) is None else {}
        raise AssertionError(f"the engine knows no {method} {path}")

    def haproxy(self, command: str) -> str:  # noqa: PLR0911  one a command
        self._effect(f"haproxy {command}", OSError)
        if not self.edge_answers:
            raise OSError("the edge does not answer")
        words = command.split()
        if command == f"show map {edge.MAP}":
            return "\n".join(f"0x{number:x} {key} {value}" for number, (key, value) in enumerate(self.map.items(), 7))
        if words[1:3] == ["map", edge.MAP] and words[0] in ("set", "add"):
            if self.edge_refuses:
                return self.edge_refuses
            if (words[3] in self.map) != (words[0] == "set"):
                return "entry not found."
            self.map[words[3]] = words[4]
            return ""
        if words[:3] == ["del", "map", edge.MAP]:
            return "" if self.map.pop(words[3], None) else "entry not found."
        if words[:2] == ["set", "server"]:
            self.marked_up.append(words[2])
            return ""
        if words[:3] == ["show", "table", edge.ANSWERS]:
            seen = {"requests": 0, "failures": 0} | self.answers.get(words[4], {})
            recent = {"recent_requests": seen["requests"], "recent_failures": seen["failures"]} | seen
            return (
                "# table: tagboat-answers, type: string, size:1024, used:1\n"
                f"0x7f: key={words[4]} use=0 exp=0 shard=0 http_req_cnt={seen['requests']}"
                f" http_req_rate(60000)={recent['recent_requests']} http_fail_cnt={seen['failures']}"
                f" http_fail_rate(60000)={recent['recent_failures']}"
            )
        if command == "show stat":
            rows = [
                f"{backend},BACKEND,{1 if self.busy_until.get(backend, 0) > self.time else 0},"
                for service in self.map
                for backend in (f"{service}-a", f"{service}-b")
            ]
            return "\n".join(["# pxname,svname,scur,qcur", "web,FRONTEND,9,", *rows])
        raise AssertionError(f"the edge knows no {command}")

    def free_bytes(self, path: str) -> int:
        self._effect(f"free_bytes {path}", OSError)
        return self.free_mb * 1_000_000

    @contextlib.contextmanager
    def lock(self, path: str) -> Iterator[None]:
        self._effect(f"lock {path}", OSError)
        assert path not in self.locks, f"waits for its own {path} for ever"
        self.locks.add(path)
        try:
            yield
        finally:
            self.locks.discard(path)

    @contextlib.contextmanager
    def meanwhile(self, action: Callable[[], bool], every_seconds: float) -> Iterator[None]:
        self._effect("meanwhile")
        self.repeated = (action, every_seconds, self.time + every_seconds)
        yield
        self.repeated = None

    def is_waited_for(self) -> bool:
        return self.waited_for

    def clock(self) -> float:
        self._effect("clock")
        return self.time

    def now(self) -> str:
        self._effect("now")
        return f"2026-01-01T00:00:00Z+{self.time:.2f}"

    def sleep(self, seconds: float) -> None:
        self._effect("sleep")
        self.pass_time(seconds)

    # --- commands ------------------------------------------------------------------------------------------------

    def _run(self, argv: list[str], timeout_seconds: float) -> str:
        if argv[0] == "docker":
            if not self.engine_answers:
                raise CommandError("docker version failed with 1: Cannot connect to the Docker daemon")
            return self._docker(argv[1:], timeout_seconds)
        if argv[0] == "systemd-run":
            assert self.init == "systemd"
            name = next(word for word in argv if word.startswith("--unit=")).removeprefix("--unit=")
            seconds = next(word for word in argv if word.startswith("--on-active=")).removeprefix("--on-active=")
            if name in self.timers:
                raise CommandError(f"systemd-run failed with 1: Unit {name}.timer was already loaded")
            assert argv[-3:-1] == ["systemctl", "stop"]
            self.timers[name] = (self.time + float(seconds), argv[-1])
            return ""
        if argv[0] == "journalctl":
            return "" if "--sync" in argv else "\n".join(self.last_words)
        if argv[0] == "systemctl":
            assert self.init == "systemd"
            return self._systemctl(argv[1], [word for word in argv[2:] if word != "--no-block"], "--no-block" in argv)
        if argv[0] == "initctl":
            assert self.init == "upstart"
            words = [word for word in argv if word != "--no-wait"]
            return self._initctl(words[1], words[2], words[3].removeprefix("SLOT="), "--no-wait" in argv)
        raise AssertionError(f"no {argv[0]} on this host")

    def _systemctl(self, verb: str, units: list[str], behind: bool) -> str:
        if verb == "daemon-reload":
            return ""
        if verb == "show":
            return "an id of the last start"
        for unit in units:
            found = UNIT.fullmatch(unit)
            if found and (verb == "restart" or (verb == "start" and not self._goes_on(unit_container(unit)))):
                self._start(found["service"], found["slot"])
            elif found and verb == "stop":
                self._stop(unit, behind)
            elif unit.endswith((".timer", ".service")) and verb == "stop":
                self.timers.pop(unit.rsplit(".", 1)[0], None)
            else:
                assert verb == "start", f"systemctl {verb} {unit}"
        return ""

    def _initctl(self, verb: str, service: str, name: str, behind: bool) -> str:
        stopping = self.running(f"{service}-{name}") and not self._goes_on(f"{service}-{name}")
        if verb == "status":
            return f"{service} ({name}) stop/pre-stop" if stopping else f"initctl: Unknown instance: {name}"
        if verb == "stop":
            if not stopping:
                self._stop(f"{service}@{name}.service", behind)
        elif self.running(f"{service}-{name}"):
            raise CommandError(f"initctl start {service} failed with 1: Job is already running")
        else:
            self._start(service, name)
        return ""

    def _start(self, service: str, name: str) -> None:
        """What the unit does: the one `docker run` line of templates/docker_run.j2."""
        folder = f"/etc/tagboat/{service}"
        if self._goes_on(f"{service}-{name}"):
            return  # the unit finds it running
        words = run_file(self.files[f"{folder}/{name}.run"])
        (image,) = words["IMAGE"]
        if image not in self.images:
            self.last_words = [
                f"docker: Error response from daemon: No such image: {image}",
                "See 'docker run --help'.",
            ]
            self.files[f"/var/log/upstart/{service}-{name}.log"] = "\n".join(["137", *self.last_words])
            raise CommandError("systemctl restart failed with 1: see journalctl")
        self.containers[f"{service}-{name}"] = Container(
            image,
            self.images[image],
            self.time,
            words["RUN_ARGS"],
            env_file(self.files[f"{folder}/{name}.env"]) | env_file(self.files[f"{folder}/secrets.env"]),
            words["COMMAND"],
        )

    def _stop(self, unit: str, behind: bool = False) -> None:
        if container := self.containers.get(unit_container(unit)):
            if behind and self.lingers:
                container.stops_at = min(container.stops_at, self.time + self.lingers)
            else:
                container.stopped = True

    def _goes_on(self, name: str) -> bool:
        """Whether it runs, and is not being stopped."""
        container = self.running(name)
        return container is not None and container.stops_at == NEVER

    def _docker(self, words: list[str], timeout_seconds: float) -> str:
        if words[:2] == ["image", "rm"]:
            return str(self.images.pop(words[2], ""))
        if words[:2] == ["pull", "--quiet"]:
            if words[2] not in self.registry:
                raise CommandError("docker pull --quiet failed with 1: manifest unknown")
            self.images[words[2]] = self.registry[words[2]]
            return words[2]
        if words[:2] == ["rm", "--force"]:
            self.containers.pop(words[2], None)
            return words[2]
        if words[:2] == ["logs", "--tail"]:
            container = self.containers.get(words[3])
            return "\n".join(container.behaviour.says.splitlines()[-int(words[2]) :]) if container else ""
        if words[0] == "run":
            files = [word.removeprefix("--env-file=") for word in words if word.startswith("--env-file=")]
            env = {name: value for path in files for name, value in env_file(self.files[path]).items()}
            self.migrations.append((words, env))
            if isinstance(self.migration, CommandError):
                raise self.migration
            if isinstance(self.migration, TimeoutError):
                self.containers[words[words.index("--name") + 1]] = Container("", Image(), self.time)
                raise CommandError(f"docker run --rm took longer than {timeout_seconds:.0f} s")
            return str(self.migration)
        raise AssertionError(f"no docker {words}")

    def _container(self, name: str) -> dict[str, Any] | None:
        container = self.containers.get(name)
        if container is None:
            return None
        running = self.running(name) is not None
        crashed = not running and not container.stopped
        return {
            "Id": f"{name}:{container.started}",
            "State": {
                "Running": running,
                "Status": "running" if running else "exited",
                "ExitCode": container.behaviour.exit_code if crashed else 0,
                "OOMKilled": crashed and container.behaviour.exit_code == 137,
                "Error": "",
            },
            "Config": {
                "Labels": {"tagboat.digest": container.label("tagboat.digest")},
                "Env": [f"{key}={value}" for key, value in container.env.items()],
            },
        }


def unit_container(unit: str) -> str:
    """Name the container of `web@a.service`."""
    found = UNIT.fullmatch(unit)
    assert found, unit
    return slot.container(found["service"], found["slot"])


@functools.lru_cache
def last_of(words: tuple[str, ...], prefix: str) -> str:
    return next((word.removeprefix(prefix) for word in words if word.startswith(prefix)), "")


@functools.lru_cache
def run_file(text: str) -> dict[str, list[str]]:
    """Read a slot's `.run` as sh does: variables, and the words each one falls into where it is not quoted."""
    return {line.split("=", 1)[0]: shlex.split(shlex.split(line.split("=", 1)[1])[0]) for line in text.splitlines()}


map_file = functools.lru_cache(edge.lines)


def env_file(text: str) -> dict[str, str]:
    """Read an environment file as docker does: no quoting at all."""
    return dict(line.split("=", 1) for line in text.splitlines() if line)
