"""Services as data: the schema of `services.yml`, checked before anything else happens, and what follows from it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from ansible.errors import AnsibleFilterError
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
Image = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(?:[._-][a-z0-9]+)*$")]
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")]
# One word of a command line. It passes through systemd, sh and docker, which must all read it alike.
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_./:=,@+-]+$")]
# A folder as `docker run --mount` and an init system's file take it: nothing in it that separates or quotes.
Folder = Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9_.-]+)+$")]
Line = Annotated[str, StringConstraints(pattern=r"^[^\n]*$")]

RESERVED_ENV = {"SERVICE", "TAG", "DIGEST", "REVISION", "SLOT", "HOST", "ENVIRONMENT"}
# Units of these names exist on hosts: a service called `user` would take every login down.
RESERVED_NAMES = {"autovt", "containerd", "docker", "getty", "haproxy", "modprobe", "postgresql", "ssh", "user"}
SLOT_PORTS = (10000, 20000)  # a slot's loopback port is this plus the public port, see slot.PORT_OFFSET
HIGHEST_PUBLIC_PORT = 12767  # with which slots stay below the ports the kernel hands out itself


class Strict(BaseModel):
    """A table with known keys only."""

    model_config = ConfigDict(extra="forbid", strict=False)


class Health(Strict):
    """When a container counts as healthy."""

    path: Annotated[str, StringConstraints(pattern=r"^/\S*$")] = "/healthz"
    """http services: asked until it answers 200."""
    ready_seconds: Annotated[float, Field(ge=0)] = 3
    """workers: the container must have run this long."""
    interval_seconds: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Pause between two looks. A container that dies is started again after a second: a longer one would miss it."""
    deadline_seconds: Annotated[float, Field(gt=0)] = 30


# How many hosts are switched together: a number, or a share of all hosts.
BatchSize = Annotated[int, Field(ge=1)] | Annotated[str, StringConstraints(pattern=r"^([1-9][0-9]?|100)%$")]


class RolloutSettings(Strict):
    """How a rollout goes. A service's own settings win over its environment's, those over the defaults below."""

    batches: Annotated[list[BatchSize], Field(min_length=1)] | None = None
    """Hosts switched together in a deploy, batch after batch; the last size goes on to the end."""
    rollback_batches: Annotated[list[BatchSize], Field(min_length=1)] | None = None
    """The same for a rollback."""
    watch_seconds: Annotated[float, Field(ge=0, le=3600)] | None = None
    """How long a deployed release is watched after the switch."""
    watch_factor: Annotated[float, Field(ge=1)] | None = None
    """How much the share of 5xx answers may grow before the release goes back."""
    watch_errors: Annotated[int, Field(ge=1)] | None = None
    """Fewer 5xx answers than this mean nothing."""


# One canary, then the rest; a rollback all at once, because its release is known to be good.
ROLLOUT_DEFAULTS: dict[str, Any] = {
    "batches": [1, "100%"],
    "rollback_batches": ["100%"],
    "watch_seconds": 30,
    "watch_factor": 3,
    "watch_errors": 5,
}


class Service(Strict):
    """One container kind. The defaults here are the defaults of every service."""

    image: Image
    hosts: Name
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    public_port: Annotated[int, Field(ge=1, le=HIGHEST_PUBLIC_PORT)] | None = None
    health: Health = Health()
    env: dict[EnvName, Line] = {}
    secrets: list[EnvName] = []
    command: list[Word] = []
    migrate: list[Word] = []
    memory_mb: Annotated[int, Field(ge=16)] = 256
    cpus: Annotated[float, Field(gt=0)] | None = None
    pids: Annotated[int, Field(ge=8)] = 256
    read_only: bool = True
    volume: Folder | None = None
    """Folder in the container that outlives releases: a volume of the service on each host."""
    reads: list[Folder] = []
    """Folders of the host that the container may read, at the same path."""
    groups: list[Annotated[int, Field(ge=1)]] = []
    """Numbers of groups of the host that the container's process is in, for what it reads."""
    balanced: bool = True
    """http services: whether the balancer, and so everybody, reaches it; else only who may reach its hosts."""
    tls: bool = False
    """http services: whether the edge speaks TLS, with a certificate of the environment's own authority."""
    overlap: bool = True
    """workers: whether the new one may run beside the old one."""
    drain_seconds: Annotated[int, Field(ge=0)] = 30
    """http services: what requests in flight get to finish on the old release."""
    stop_seconds: Annotated[int, Field(ge=0)] = 10
    """What a container gets between SIGTERM and SIGKILL."""
    standby_seconds: Annotated[int, Field(ge=0)] = 600
    """http services: how long the previous release keeps running beside the live one."""
    keep_releases: Annotated[int, Field(ge=2)] = 5
    """How many releases prune leaves on hosts and in the registry."""
    rollout: RolloutSettings = RolloutSettings()
    """How its rollouts go; no part of a release."""

    @model_validator(mode="after")
    def _http_or_worker(self) -> Service:
        if (self.port is None) != (self.public_port is None):
            raise ValueError("port and public_port go together: an http service has both, a worker neither")
        if self.port is not None and not self.overlap:
            raise ValueError("overlap: false is for workers; an http service always overlaps, or requests would fail")
        if self.tls and (self.port is None or self.balanced):
            raise ValueError("tls is for http services with balanced: false; in front of the balancer goes your own")
        if self.port is None and self.health.ready_seconds >= self.health.deadline_seconds:
            raise ValueError("health: ready_seconds must be less than deadline_seconds, or no worker is ever healthy")
        if taken := RESERVED_ENV & {*self.env, *self.secrets}:
            raise ValueError(f"env and secrets: {', '.join(sorted(taken))} is set by Tagboat itself")
        if both := set(self.env) & set(self.secrets):
            raise ValueError(f"{', '.join(sorted(both))} is in env and in secrets")
        return self


TABLES = {"health": Health, "rollout": RolloutSettings}


def plain(value: Any) -> Any:
    """Copy Ansible's lazy, tagged containers into plain ones: pydantic reads containers without their own methods."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def nearest(word: str, known: Sequence[str]) -> str:
    """Suggest the known word that is most like `word`: ' Did you mean port?', or '' when none is like it."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else ""


def _explain(where: str, error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        path = [str(part) for part in problem["loc"]]
        if problem["type"] == "extra_forbidden":
            model: Any = TABLES.get(path[0], Service) if len(path) > 1 else Service
            known = sorted(model.model_fields)
            lines.append(
                f"{where}: unknown key {'.'.join(path)}.{nearest(path[-1], known)} Known keys: {', '.join(known)}"
            )
        else:
            said = "text is meant; put it in quotes" if problem["type"] == "string_type" else problem["msg"]
            lines.append(f"{where}{'.' if path else ''}{'.'.join(path)}: {said.removeprefix('Value error, ')}")
    return "\n".join(lines)


def checked_services(services: Mapping[str, Any], groups: Mapping[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """Check every service against the schema and fill in the defaults.

    Args:
        services: `services.yml` as it was read.
        groups: the inventory's groups, to check `hosts` against; without it that is left out.

    Raises:
        AnsibleFilterError: with one line for everything that is wrong, naming the nearest known key.
    """
    known = groups or {}
    checked: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    ports: dict[tuple[str, int], str] = {}
    for name, raw in (services or {}).items():
        where = f"services.{name}"
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", str(name)):
            problems.append(f"{where}: a service's name has small letters, digits and _ and begins with a letter")
        if name in RESERVED_NAMES:
            problems.append(f"{where}: hosts have a unit of that name already, choose another")
        try:
            service = Service.model_validate(plain(raw))
        except ValidationError as error:
            problems.append(_explain(where, error))
            continue
        if groups is not None and service.hosts not in groups:
            problems.append(
                f"{where}.hosts: no group {service.hosts} in the inventory.{nearest(service.hosts, [*groups])}"
            )
        elif "docker" in known and (others := sorted({*known[service.hosts]} - {*known["docker"]})):
            problems.append(
                f"{where}.hosts: {', '.join(others)} of group {service.hosts} cannot run containers:"
                " make the group a child of docker in hosts.yml"
            )
        if service.public_port:
            for place, port in _doors(service, known):
                taken = ports.setdefault((place, port), name)
                if taken != name:
                    problems.append(f"{where}.public_port: {port} is taken by {taken} on {place}")
                    break
        checked[name] = service.model_dump(exclude_none=True)
    if problems:
        raise AnsibleFilterError("services.yml is wrong, nothing was touched:\n" + "\n".join(problems))
    return checked


def _doors(service: Service, groups: Mapping[str, Sequence[str]]) -> list[tuple[str, int]]:
    """List where an http service listens: hosts, or a group whose hosts are not known, each with a port."""
    port = service.public_port or 0
    own = [port, *(port + offset for offset in SLOT_PORTS)]
    doors = [(host, number) for host in groups.get(service.hosts, [service.hosts]) for number in own]
    return doors + [(host, port) for host in groups.get("balancer", [] if groups else ["balancer"]) if service.balanced]


def rollout_settings(service: Mapping[str, Any], environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a rollout of a checked service goes in an environment.

    Args:
        service: the service.
        environment: `environment_rollout`, the environment's own settings.

    Raises:
        AnsibleFilterError: the environment's settings have an unknown key or a bad value.
    """
    try:
        own = RolloutSettings.model_validate(plain(environment)).model_dump(exclude_none=True)
    except ValidationError as error:
        raise AnsibleFilterError(
            "environment_rollout is wrong, nothing was touched: "
            + "; ".join(f"{'.'.join(map(str, problem['loc'][:1]))}: {problem['msg']}" for problem in error.errors())
            + f". Known keys: {', '.join(ROLLOUT_DEFAULTS)}"
        ) from None
    return ROLLOUT_DEFAULTS | own | dict(service["rollout"])


def services_of(services: Mapping[str, Mapping[str, Any]], group_names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Pick the services that run on a host which is in these groups."""
    return {name: dict(service) for name, service in services.items() if service["hosts"] in group_names}


def http_services(services: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Pick the services that have a port."""
    return {name: dict(service) for name, service in services.items() if service.get("port")}


def balanced_services(
    services: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Any]]:
    """Return the balanced http services as role `balancer` wants them: each with the names of its hosts."""
    return {
        name: {
            "public_port": service["public_port"],
            "health": service["health"],
            "hosts": list(groups[service["hosts"]]),
        }
        for name, service in http_services(services).items()
        if service["balanced"]
    }


def firewall_of_services(services: Mapping[str, Mapping[str, Any]], clients: Sequence[str]) -> list[dict[str, Any]]:
    """Return the firewall rules that follow from the http services.

    Args:
        services: the catalogue.
        clients: groups and addresses that speak to the hosts directly; everybody else comes through the balancer.
    """
    rules = []
    for name, service in http_services(services).items():
        port = service["public_port"]
        rules.append({"name": name, "port": port, "hosts": service["hosts"], "from": list(clients)})
        if service["balanced"]:
            rules.append({"name": f"{name} for all", "port": port, "hosts": "balancer", "from": "any"})
    return rules


def secrets_of(service: Mapping[str, Any], secrets: Mapping[str, Any], name: str) -> dict[str, str]:
    """Pick the secrets a service names.

    Args:
        service: the service.
        secrets: `service_secrets` of the environment: a table for each service, one that is left empty for none.
        name: the service's name.

    Raises:
        AnsibleFilterError: one of them has no value in this environment, or one that no env file can hold.
    """
    own = secrets.get(name) or {}
    if flat := [key for key in service["secrets"] if key not in own and key in secrets]:
        raise AnsibleFilterError(
            f"service_secrets has a table for each service: {', '.join(flat)} belongs under {name}, in vault.yml"
        )
    if missing := [key for key in service["secrets"] if key not in own]:
        raise AnsibleFilterError(
            f"service_secrets.{name} has no {', '.join(missing)} in this environment."
            " Next: add it to secrets.yml of the local environment, to vault.yml of any other"
        )
    values = {key: "" if own[key] is None else str(own[key]) for key in service["secrets"]}
    if broken := [key for key, value in values.items() if "\n" in value]:
        raise AnsibleFilterError(
            f"the secret {', '.join(broken)} has a line break, which an environment file cannot hold"
        )
    return values


class FilterModule:
    """Filters on the service catalogue."""

    def filters(self) -> dict[str, Any]:
        """Name the filters for Ansible."""
        return {
            "checked_services": checked_services,
            "rollout_settings": rollout_settings,
            "services_of": services_of,
            "http_services": http_services,
            "balanced_services": balanced_services,
            "firewall_of_services": firewall_of_services,
            "secrets_of": secrets_of,
        }
