"""What images/<name>/image.yml may say, and in which order images are built. Pure functions, no input or output."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_SPEC_KEYS = ("description", "parent", "smoke")
_SMOKE_KEYS = ("needs", "env", "before", "get", "command", "deadline_seconds")
_NEED_KEYS = ("image", "env", "ready")
_GET_KEYS = ("port", "path", "status")


class SpecError(Exception):
    """image.yml says something that cannot be; the text names the place."""


@dataclass(frozen=True)
class Need:
    alias: str
    image: str
    env: dict[str, str] = field(default_factory=dict)
    ready: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Get:
    port: int
    path: str
    status: int


@dataclass(frozen=True)
class Smoke:
    needs: list[Need]
    env: dict[str, str]
    before: list[list[str]]
    get: Get | None
    command: list[str]
    deadline_seconds: float


@dataclass(frozen=True)
class Spec:
    description: str
    parent: str
    smoke: Smoke | None

    @property
    def requires(self) -> list[str]:
        """Other images that must have a tag before this one can get its own."""
        names = [self.parent] if self.parent else []
        return names + [need.image for need in (self.smoke.needs if self.smoke else [])]


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean x?`, or nothing when none is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def parse_spec(name: str, raw: Any) -> Spec:
    """Check image.yml as it was read from YAML."""
    at = f"image.yml of {name}"
    top = _mapping(at, raw, _SPEC_KEYS)
    parent = _text(f"{at}: parent", top.get("parent", ""))
    if parent and not _NAME.fullmatch(parent):
        raise SpecError(f"{at}: parent {parent!r} is not the name of an image")
    if parent == name:
        raise SpecError(f"{at}: parent is the image itself")
    smoke = _smoke(f"{at}: smoke", top["smoke"]) if top.get("smoke") is not None else None
    return Spec(_text(f"{at}: description", top.get("description", "")), parent, smoke)


def _smoke(at: str, raw: Any) -> Smoke:
    smoke = _mapping(at, raw, _SMOKE_KEYS)
    if ("get" in smoke) == ("command" in smoke):
        raise SpecError(f"{at}: say either get or command")
    named = _mapping(f"{at}.needs", smoke.get("needs"))
    needs = [_need(f"{at}.needs.{alias}", alias, one) for alias, one in named.items()]
    get = _get(f"{at}.get", smoke["get"]) if "get" in smoke else None
    before = smoke.get("before", [])
    if not isinstance(before, list):
        raise SpecError(f"{at}.before is not a list of commands")
    deadline = smoke.get("deadline_seconds", 30)
    if isinstance(deadline, bool) or not isinstance(deadline, (int, float)) or not 0 < deadline <= 3600:
        raise SpecError(f"{at}.deadline_seconds is not a number of seconds between 0 and 3600")
    return Smoke(
        needs=needs,
        env=_env(f"{at}.env", smoke.get("env")),
        before=[_command(f"{at}.before", one) for one in before],
        get=get,
        command=_command(f"{at}.command", smoke["command"]) if "command" in smoke else [],
        deadline_seconds=float(deadline),
    )


def _need(at: str, alias: str, raw: Any) -> Need:
    need = _mapping(at, raw, _NEED_KEYS)
    image = need.get("image", "")
    if not isinstance(image, str) or not _NAME.fullmatch(image):
        raise SpecError(f"{at}.image is not the name of an image")
    if not _NAME.fullmatch(alias):
        raise SpecError(f"{at}: {alias!r} cannot be a host name")
    return Need(alias, image, _env(f"{at}.env", need.get("env")), _command(f"{at}.ready", need.get("ready", ["true"])))


def _get(at: str, raw: Any) -> Get:
    get = _mapping(at, raw, _GET_KEYS)
    port, path, status = get.get("port", 0), get.get("path", "/"), get.get("status", 200)
    if not _whole(port, 1, 65535):
        raise SpecError(f"{at}.port is not a port number")
    if not isinstance(path, str) or not path.startswith("/"):
        raise SpecError(f"{at}.path does not start with /")
    if not _whole(status, 100, 599):
        raise SpecError(f"{at}.status is not an HTTP status")
    return Get(int(port), path, int(status))


def _whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _text(at: str, value: Any) -> str:
    if not isinstance(value, str):
        raise SpecError(f"{at} is not text")
    return value


def _command(at: str, raw: Any) -> list[str]:
    # YAML reads `8000` and `true` as other things than text; a command line has only text.
    if not isinstance(raw, list) or not raw or any(isinstance(word, (list, dict)) or word is None for word in raw):
        raise SpecError(f"{at} is not a command, as a list of words")
    return [_word(word) for word in raw]


def _env(at: str, raw: Any) -> dict[str, str]:
    env = _mapping(at, raw)
    if any(isinstance(value, (list, dict)) or value is None for value in env.values()):
        raise SpecError(f"{at}: each value is one text")
    return {name: _word(value) for name, value in env.items()}


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _mapping(at: str, raw: Any, known: tuple[str, ...] = ()) -> dict[str, Any]:
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise SpecError(f"{at} is not a mapping")
    for key in raw:
        if not isinstance(key, str):
            raise SpecError(f"{at}: the key {key!r} is not text")
        if known and key not in known:
            raise SpecError(f"{at}: unknown key {key}; known: {', '.join(known)}{nearest(key, known)}")
    return dict(raw)


def build_order(wanted: Iterable[str], specs: Mapping[str, Spec], missing: Iterable[str]) -> list[str]:
    """Wanted images and what they require and nobody ever pushed, parents before children.

    `specs` may read lazily: only images that will be built are looked up in it.
    """
    wanted = list(wanted)
    to_build = {*wanted, *missing}
    order: list[str] = []

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            raise SpecError(f"images require each other in a circle: {' -> '.join((*trail, name))}")
        for required in specs[name].requires:
            if required not in set(specs):
                known = ", ".join(sorted(specs))
                near = nearest(required, specs)
                raise SpecError(f"image.yml of {name} names {required}, which is no image; known: {known}{near}")
            if required in to_build:
                visit(required, (*trail, name))
        if name not in order:
            order.append(name)

    for name in wanted:
        visit(name, ())
    return order
