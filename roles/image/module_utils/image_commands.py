"""Command lines of a build, and what BuildKit's plain output means. Pure functions, no input or output."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence

TAIL_LINES = 20
_STEP_WIDTH = 110
_LINE_WIDTH = 400
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_VERTEX = re.compile(r"#(\d+) (.*)")
_DONE = re.compile(r"DONE ([0-9.]+)s")
_OUTPUT = re.compile(r"[0-9]+\.[0-9]+ (.*)")
_MOUNT = re.compile(r"--mount=\S+ ")


def build(folder: str, image: str, args: Mapping[str, str], ca_bundle: str) -> list[str]:
    """BuildKit build of a folder, under a name that only this server knows."""
    given = [word for name, value in args.items() for word in ("--build-arg", f"{name}={value}")]
    secret = ["--secret", f"id=ca_bundle,src={ca_bundle}"]
    return ["docker", "build", "--progress=plain", *given, *secret, "--tag", image, folder]


def label(image: str, labels: Mapping[str, str]) -> list[str]:
    """The same image with labels, as a build of one line on standard input: the tag is known only after the test."""
    words = [word for name, value in labels.items() for word in ("--label", f"{name}={value}")]
    return ["docker", "build", "--progress=plain", *words, "--tag", image, "-"]


def push(image: str) -> list[str]:
    return ["docker", "push", image]


def network(name: str, image: str) -> list[str]:
    """No way out of it: what a smoke test needs is in it."""
    return ["docker", "network", "create", "--internal", "--label", f"tagboat.smoke={image}", name]


def run(
    reference: str,
    name: str,
    image: str,
    env: Mapping[str, str],
    command: Sequence[str] = (),
    *,
    alias: str = "",
    detach: bool = False,
) -> list[str]:
    """A container under the restrictions of production, so that the smoke test shows what they break."""
    aliases = ["--network-alias", alias] if alias else []
    given = [word for key, value in env.items() for word in ("--env", f"{key}={value}")]
    return [
        *("docker", "run", "--name", name, *(["--detach"] if detach else [])),
        *("--label", f"tagboat.smoke={image}", "--network", network_name(image), *aliases),
        *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),  # noqa: S108 - in the container
        *("--memory", "512m", "--pids-limit", "256"),
        # The engine's own log driver may ship logs elsewhere; these die with the container.
        *("--log-driver", "json-file", "--log-opt", "max-size=1m"),
        *(*given, reference, *command),
    ]


def network_name(image: str) -> str:
    """One a image is enough: the lock lets one build of an image run at a time."""
    return f"tagboat-smoke-{image}"


def leftovers(image: str, kind: str) -> list[str]:
    """Ids of containers or networks that a killed build left behind."""
    words = ["docker", "ps", "--all", "--quiet"] if kind == "container" else ["docker", "network", "ls", "--quiet"]
    return [*words, "--filter", f"label=tagboat.smoke={image}"]


def prune(keep_mb: int) -> list[str]:
    return ["docker", "builder", "prune", "--force", "--keep-storage", f"{keep_mb}MB"]


def clean(line: str) -> str:
    """A line that cannot play with a terminal, of bounded length."""
    # pip and apt redraw a line with carriage returns: the last state is what a person would see.
    line = _CONTROL.sub("", line.rstrip("\r\n").rsplit("\r", 1)[-1]).rstrip()
    return line if len(line) <= _LINE_WIDTH else f"{line[:_LINE_WIDTH]}…"


def short(text: str) -> str:
    """A step as one line; what it mounts says nothing about what it does."""
    text = _MOUNT.sub("", " ".join(text.split()))
    return text if len(text) <= _STEP_WIDTH else f"{text[:_STEP_WIDTH]}…"


def _place(name: str) -> str:
    """`[3/4]` of `[3/4] RUN make`."""
    return name.split("]", maxsplit=1)[0] + "]" if name.startswith("[") else name


class BuildOutput:
    """Reads BuildKit's plain progress line by line; remembers the failing step and what it said last."""

    def __init__(self) -> None:
        self.failing_step = self.error = ""
        self._names: dict[str, str] = {}
        self._said: dict[str, deque[str]] = {}
        self._all: deque[str] = deque(maxlen=TAIL_LINES)
        self._failed = ""

    def feed(self, raw: str) -> tuple[str, str] | None:
        """("step" | "output", text) for a line worth showing, None for the others."""
        line = clean(raw)
        found = _VERTEX.fullmatch(line)
        if not found:
            if line.strip("- "):
                self._all.append(line)
            return ("output", line) if line.strip("- ") else None
        vertex, text = found.groups()
        if vertex not in self._names:
            self._names[vertex] = text
            return ("step", short(text)) if not text.startswith("[internal]") else None
        return self._progress(vertex, text)

    def _progress(self, vertex: str, text: str) -> tuple[str, str] | None:
        name = self._names[vertex]
        if text.startswith("ERROR"):
            self.failing_step, self._failed = name, vertex
            # BuildKit repeats the whole command before the exit code.
            self.error = text.removeprefix("ERROR: ").rsplit("]: ", 1)[-1]
            return ("step", f"{short(_place(name))} failed: {self.error}")
        if name.startswith("[internal]"):
            return None
        place = _place(name)
        if text == "CACHED":
            return ("step", f"{short(place)} cached")
        done = _DONE.fullmatch(text)
        if done:
            took = float(done.group(1))
            return ("step", f"{short(place)} done in {took:.1f} s") if took >= 0.5 else None
        output = _OUTPUT.fullmatch(text)
        if not output:
            return None
        self._said.setdefault(vertex, deque(maxlen=TAIL_LINES)).append(output.group(1))
        return ("output", output.group(1))

    def tail(self) -> list[str]:
        """The last lines of the failing step; of everything when no step is to blame (a Dockerfile that is none)."""
        return list(self._said.get(self._failed, [])) or list(self._all)
