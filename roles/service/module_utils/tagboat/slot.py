"""A slot: one of the two places where a service's container can run on a host. Files and commands, exactly."""

from __future__ import annotations

import contextlib
import re
from typing import Any

from .host import ENGINE_SECONDS, CommandError, CommandTimeoutError, Host

SLOTS = ("a", "b")
LOG_SECONDS = 10  # to read a log's last lines
LOG_LINES = 10  # among which the engine's word is, when a start fails
LONGEST_STOP_SECONDS = 3600
PORT_TAKEN = "address already in use"
PORT_OFFSET = {"a": 10000, "b": 20000}  # a slot's loopback port is this plus the service's public port

Spec = dict[str, Any]


def other(slot: str | None) -> str:
    """Name the slot that is not this one; a host without a release begins with `a`."""
    return "b" if slot == "a" else "a"


def port(spec: Spec, slot: str) -> int:
    """Return the loopback port of an http service's slot."""
    return PORT_OFFSET[slot] + int(spec["public_port"])


def container(service: str, slot: str) -> str:
    """Name the container of a slot."""
    return f"{service}-{slot}"


def environment(service: str, slot: str, release: dict[str, Any], environment_name: str, host_name: str) -> str:
    """Render `<slot>.env`, the container's environment, in the format of `docker run --env-file`."""
    own = {
        "SERVICE": service,
        "TAG": release["tag"],
        "DIGEST": release["digest"],
        "REVISION": release.get("revision", ""),
        "SLOT": slot,
        "HOST": host_name,
        "ENVIRONMENT": environment_name,
    }
    values = {**release["spec"].get("env", {}), **own}
    return "".join(f"{name}={value}\n" for name, value in sorted(values.items()))


def limits(service: str, spec: Spec) -> list[str]:
    """Return the `docker run` arguments that hold for every container of a service, its migration's included."""
    memory = f"{spec['memory_mb']}m"
    arguments = [f"--memory={memory}", f"--memory-swap={memory}", f"--pids-limit={spec['pids']}"]
    if spec.get("cpus"):
        arguments.append(f"--cpus={spec['cpus']}")
    if spec.get("read_only"):
        arguments.append("--read-only")
    if spec.get("volume"):
        arguments.append(f"--mount=type=volume,source=tagboat-{service},target={spec['volume']}")
    for folder in spec.get("reads", []):
        arguments.append(f"--mount=type=bind,source={folder},target={folder},readonly")
    arguments += [f"--group-add={group}" for group in spec.get("groups", [])]
    return [*arguments, "--tmpfs=/tmp"]


def run_file(service: str, slot: str, release: dict[str, Any]) -> str:
    """Render `<slot>.run`: what the unit of the slot puts on its `docker run` line. Read by systemd and by sh."""
    spec = release["spec"]
    arguments = limits(service, spec)
    if spec.get("port"):
        arguments.append(f"--publish=127.0.0.1:{port(spec, slot)}:{spec['port']}")
    arguments += [
        f"--stop-timeout={spec['stop_seconds']}",
        f"--label=tagboat.service={service}",
        f"--label=tagboat.tag={release['tag']}",
        f"--label=tagboat.digest={release['digest']}",
    ]
    command = " ".join(spec.get("command", []))
    return f"RUN_ARGS='{' '.join(arguments)}'\nIMAGE={release['image']}\nCOMMAND='{command}'\n"


class Slot:
    """One slot of one service on a host."""

    def __init__(self, host: Host, init: Init, service: str, name: str) -> None:
        self.name = name
        self._host = host
        self._init = init
        self._service = service
        self._folder = f"/etc/tagboat/{service}"

    def files(self, release: dict[str, Any], environment_name: str, host_name: str) -> dict[str, str]:
        """Return path -> text of the slot's files for a release."""
        return {
            f"{self._folder}/{self.name}.env": environment(
                self._service, self.name, release, environment_name, host_name
            ),
            f"{self._folder}/{self.name}.run": run_file(self._service, self.name, release),
        }

    def runs(self, digest: str, secrets: dict[str, str]) -> bool:
        """Tell whether the slot's container runs this digest, and was started with these secrets."""
        try:
            found = self._container()
        except CommandError:  # what the engine cannot even show is started afresh: it has no traffic
            return False
        if not found or not found["State"]["Running"]:
            return False
        wanted = {f"{name}={value}" for name, value in secrets.items()}
        config = found["Config"]
        return (config["Labels"] or {}).get("tagboat.digest") == digest and wanted <= set(config["Env"] or [])

    def is_running(self) -> bool:
        """Tell whether the slot's container runs.

        Raises:
            OSError: the engine does not answer.
            CommandError: it does not say.
        """
        found = self._container()
        return bool(found and found["State"]["Running"])

    def start(self) -> None:
        """Start the slot with what its files say, after ending what ran in it.

        Raises:
            CommandError: it did not start; the message is the engine's.
            OSError: the engine does not answer, or the slot's port is held by something else.
        """
        # Whatever still runs here carries no traffic: no need to wait for its farewell.
        with contextlib.suppress(CommandError):  # the start says what is wrong, if anything is
            self._host.engine("DELETE", f"/containers/{container(self._service, self.name)}?force=true")
        try:
            self._init.start(self._service, self.name)
        except CommandTimeoutError:
            raise
        except CommandError as error:  # which names a unit, and not what is wrong
            said = [line for line in self._init.last_words(self._service, self.name) if line.startswith("docker:")]
            why = said[-1] if said else str(error)
            raise OSError(why) if PORT_TAKEN in why else CommandError(why) from None

    def stop(self) -> None:
        """Stop the slot: SIGTERM, `stop_seconds` to finish, then SIGKILL. Its container stays, for its log.

        Raises:
            CommandError: the engine does not do it: the time the container has, and the engine's own, are over.
        """
        found = re.search(r"--stop-timeout=(\d+)", self._host.read(f"{self._folder}/{self.name}.run") or "")
        self._init.stop(self._service, self.name, ENGINE_SECONDS + (int(found[1]) if found else 0))

    def why_ended(self, timeout_seconds: float = ENGINE_SECONDS) -> str | None:
        """Return how the slot's container ended, or None while it runs.

        Raises:
            OSError: the engine does not answer.
            CommandError: it does not say.
        """
        found = self._container(timeout_seconds)
        if found is None:
            return "the container could not be started"
        state = found["State"]
        if state["Status"] in ("running", "created"):
            return None
        memory = ", out of memory" if state["OOMKilled"] else ""
        return f"the container exited with {state['ExitCode']}{memory}{': ' + state['Error'] if state['Error'] else ''}"

    def container_id(self, timeout_seconds: float = ENGINE_SECONDS) -> str:
        """Return the engine's id of the slot's container, another one after every start; '' when there is none."""
        found = self._container(timeout_seconds)
        return found["Id"] if found else ""

    def log_tail(self, lines: int) -> str:
        """Return the last lines the slot's container wrote."""
        name = container(self._service, self.name)
        try:
            return self._host.run(["docker", "logs", "--tail", str(lines), name], LOG_SECONDS, check=False)
        except CommandError:  # too slow: the log is a help, not worth more trouble
            return ""

    def _container(self, timeout_seconds: float = ENGINE_SECONDS) -> dict[str, Any] | None:
        return self._host.engine("GET", f"/containers/{container(self._service, self.name)}/json", timeout_seconds)


class Init:
    """The host's init system, which starts, stops and supervises slots. The unit files come from role `service`."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def unit_path(self, service: str) -> str:
        """Path of the service's unit: without it the host is not prepared for the service."""
        raise NotImplementedError

    def start(self, service: str, slot: str) -> None:
        """Start a slot; the container has been created when this returns."""
        raise NotImplementedError

    def last_words(self, service: str, slot: str) -> list[str]:
        """Return the last lines that a start which failed has written."""
        raise NotImplementedError

    def stop(self, service: str, slot: str, timeout_seconds: float) -> None:
        """Stop a slot."""
        raise NotImplementedError

    def stop_behind(self, service: str, slot: str) -> None:
        """Begin to stop a slot, and do not wait until it is done."""
        raise NotImplementedError

    def resume(self, service: str, slot: str) -> None:
        """See to it that a slot which runs goes on running, even when its stop has just begun."""
        raise NotImplementedError

    def start_behind(self, service: str, slot: str) -> None:
        """See to it that a slot runs again when its stop is over, and do not wait until it is."""
        raise NotImplementedError

    def enable(self, service: str, slot: str) -> None:
        """Make a slot start at boot."""
        raise NotImplementedError

    def disable(self, service: str, slot: str) -> None:
        """Make a slot start at boot no more."""
        raise NotImplementedError

    def forget(self, service: str) -> None:
        """Remove the service's unit."""
        raise NotImplementedError

    def stop_later(self, service: str, slot: str, seconds: float) -> None:
        """Stop a standby slot after a while; an earlier `stop_later` is forgotten."""
        raise NotImplementedError

    def keep(self, service: str) -> None:
        """Forget a `stop_later`."""
        raise NotImplementedError


class Systemd(Init):
    """Instances `<service>@a` and `<service>@b` of one template unit."""

    # Links as `systemctl enable` makes them, without the reload of all units that costs a third of a second.
    _WANTS = "/etc/systemd/system/multi-user.target.wants"

    def unit_path(self, service: str) -> str:
        return f"/etc/systemd/system/{service}@.service"

    def start(self, service: str, slot: str) -> None:
        # restart: also right when the unit still supervises a container that was just removed under it.
        self._host.run(["systemctl", "restart", f"{service}@{slot}.service"])

    def last_words(self, service: str, slot: str) -> list[str]:
        try:
            unit = f"{service}@{slot}.service"
            start = self._host.run(["systemctl", "show", "--property=InvocationID", "--value", unit], LOG_SECONDS)
            self._host.run(["journalctl", "--sync"], LOG_SECONDS)  # what was just written may be on its way
            journal = ["journalctl", f"_SYSTEMD_INVOCATION_ID={start}", "--identifier=sh", f"--lines={LOG_LINES}"]
            return self._host.run([*journal, "--output=cat", "--quiet"], LOG_SECONDS).splitlines()
        except CommandError:  # a help, not worth more trouble
            return []

    def stop(self, service: str, slot: str, timeout_seconds: float) -> None:
        self._host.run(["systemctl", "stop", f"{service}@{slot}.service"], timeout_seconds)

    def stop_behind(self, service: str, slot: str) -> None:
        self._host.run(["systemctl", "stop", "--no-block", f"{service}@{slot}.service"])

    def resume(self, service: str, slot: str) -> None:
        self._host.run(["systemctl", "start", f"{service}@{slot}.service"])

    def start_behind(self, service: str, slot: str) -> None:
        self._host.run(["systemctl", "start", "--no-block", f"{service}@{slot}.service"])

    def enable(self, service: str, slot: str) -> None:
        self._host.link(f"{self._WANTS}/{service}@{slot}.service", self.unit_path(service))

    def disable(self, service: str, slot: str) -> None:
        self._host.remove(f"{self._WANTS}/{service}@{slot}.service")

    def forget(self, service: str) -> None:
        self._host.remove(self.unit_path(service))
        self._host.run(["systemctl", "daemon-reload"])

    def stop_later(self, service: str, slot: str, seconds: float) -> None:
        self.keep(service)  # the timer's name must be free
        timer = ["systemd-run", "--quiet", "--collect", f"--unit=tagboat-standby-{service}", f"--on-active={seconds}"]
        self._host.run([*timer, "systemctl", "stop", f"{service}@{slot}.service"])

    def keep(self, service: str) -> None:
        # The service too: when the time is just up, it is what waits for the slot to stop, under the timer's name.
        name = f"tagboat-standby-{service}"
        self._host.run(["systemctl", "stop", f"{name}.timer", f"{name}.service"], check=False)


class Upstart(Init):
    """Instances of one job with `instance $SLOT`; a second job starts the live one at boot."""

    def unit_path(self, service: str) -> str:
        return f"/etc/init/{service}.conf"

    def start(self, service: str, slot: str) -> None:
        self.stop(service, slot, ENGINE_SECONDS)
        self._host.run(["initctl", "start", service, f"SLOT={slot}"])

    def last_words(self, service: str, slot: str) -> list[str]:
        try:
            text = self._host.read(f"/var/log/upstart/{service}-{slot}.log") or ""
        except (OSError, ValueError):  # a help, not worth more trouble
            return []
        return text.splitlines()[-LOG_LINES:]

    def stop(self, service: str, slot: str, timeout_seconds: float) -> None:
        deadline = self._host.clock() + timeout_seconds
        self._host.run(["initctl", "stop", service, f"SLOT={slot}"], timeout_seconds, check=False)
        # It returns at once for an instance that is being stopped already; one that is stopped is known no more.
        while "stop/" in self._host.run(["initctl", "status", service, f"SLOT={slot}"], check=False):
            if self._host.clock() > deadline:
                raise CommandTimeoutError(
                    f"initctl stop {service} SLOT={slot} took longer than {timeout_seconds:.0f} s"
                )
            self._host.sleep(0.1)

    def stop_behind(self, service: str, slot: str) -> None:
        self._host.run(["initctl", "stop", "--no-wait", service, f"SLOT={slot}"], check=False)

    def resume(self, service: str, slot: str) -> None:
        pass  # nothing stops a slot but a rollout, and what `stop_later` stops is not running any more

    def start_behind(self, service: str, slot: str) -> None:
        self._host.run(["initctl", "start", "--no-wait", service, f"SLOT={slot}"], check=False)

    def enable(self, service: str, slot: str) -> None:
        self._host.write(f"/etc/tagboat/{service}/{slot}.boot", "")

    def disable(self, service: str, slot: str) -> None:
        self._host.remove(f"/etc/tagboat/{service}/{slot}.boot")

    def forget(self, service: str) -> None:
        for path in (self.unit_path(service), f"/etc/init/{service}-live.conf"):
            self._host.remove(path)

    def stop_later(self, service: str, slot: str, seconds: float) -> None:  # noqa: ARG002
        # Upstart has no timers: the standby is kept stopped, which costs its start later.
        self.stop(service, slot, LONGEST_STOP_SECONDS)

    def keep(self, service: str) -> None:
        pass


def init_of(host: Host) -> Init:
    """Find out which init system supervises this host."""
    return Systemd(host) if host.exists("/run/systemd/system") else Upstart(host)
