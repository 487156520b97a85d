"""A clean checkout of a Git ref: from the archive the control node sent, or from a mirror of a Git URL kept here."""

from __future__ import annotations

import fcntl
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ansible.module_utils.image_runner import BuildError, Programs
from ansible.module_utils.image_spec import SpecError, nearest

COMMITS_KEPT = 20
_LOG_FORMAT = "%H%x1f%an <%ae>%x1f%s%x1f%cI"
_USER_INFO = re.compile(r"(?<=://)[^/@]+@")


@dataclass
class Source:
    """Where an image comes from. `git` empty: this repository, whose archive the control node sent."""

    image: str
    path: str
    also: list[str] = field(default_factory=list)
    git: str = ""
    ref: str = ""
    url: str = ""
    revision: str = ""
    author: str = ""
    subject: str = ""
    commits: list[dict[str, str]] = field(default_factory=list)
    spec: Any = None
    exists: bool = True

    @property
    def paths(self) -> list[str]:
        """What the image is built from, in its repository."""
        return [self.path or ".", *self.also]

    @property
    def shown(self) -> str:
        return f"{self.revision[:7]} '{self.subject}' by {self.author.split(' <')[0]}"


def without_user(url: str) -> str:
    """A Git URL without user and password: it goes into logs and labels."""
    return _USER_INFO.sub("", url)


def command_url(url: str) -> str:
    """A Git URL as a command may name it, for everybody on the host sees commands: an HTTP URL without its login."""
    return without_user(url) if urlsplit(url).scheme in ("http", "https") else url


def login_environ(url: str) -> dict[str, str]:
    """What tells Git the login in an HTTP URL: a credential helper, for that server alone, that reads these variables.

    Source: gitcredentials(7), and GIT_CONFIG_COUNT in git-config(1).
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.username is None:
        return {}
    helper = f"credential.{parts.scheme}://{parts.netloc.rpartition('@')[2]}.helper"
    say = 'printf "username=%s\\npassword=%s\\n" "$TAGBOAT_GIT_USER" "$TAGBOAT_GIT_PASSWORD"'
    return {
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": helper,
        "GIT_CONFIG_VALUE_0": "",  # no other helper
        "GIT_CONFIG_KEY_1": helper,
        "GIT_CONFIG_VALUE_1": f"!login() {{ {say}; }}; login",
        "TAGBOAT_GIT_USER": unquote(parts.username),
        "TAGBOAT_GIT_PASSWORD": unquote(parts.password or ""),
    }


def parse_log(text: str) -> list[dict[str, str]]:
    """Commits as `git log` printed them in our format."""
    rows = [line.split("\x1f") for line in text.splitlines() if line.count("\x1f") == 3]
    return [dict(zip(("revision", "author", "subject", "date"), row, strict=True)) for row in rows]


def log_command(revision: str, paths: list[str], count: int = COMMITS_KEPT) -> list[str]:
    return ["log", f"--max-count={count}", f"--format={_LOG_FORMAT}", revision, "--", *paths]


class Mirrors:
    """Bare mirrors of Git URLs, so that a build fetches only what is new."""

    def __init__(self, folder: Path, programs: Programs, seconds: float) -> None:
        self._folder, self._programs, self._seconds = folder, programs, seconds

    def complete(self, source: Source) -> None:
        """Fetch, and fill in what the ref is now."""
        mirror = self._mirror(source)
        source.url = without_user(source.git)
        source.ref = source.ref or "HEAD"
        mirror.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with Path(f"{mirror}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if mirror.is_dir():
                for left in mirror.rglob("*.lock"):  # by a fetch that was killed: we hold the lock
                    left.unlink()
                words = ["fetch", "--prune", "--quiet", command_url(source.git), "+refs/*:refs/*"]
                self._git(source, "fetch", mirror, words)
            else:
                self._programs.log.step(source.image, f"clones {source.url}")
                new = mirror.with_suffix(".new")  # a clone that was killed must not be taken for one
                shutil.rmtree(new, ignore_errors=True)
                words = ["git", "clone", "--mirror", "--quiet", command_url(source.git), str(new)]
                self._programs.run("clone", words, seconds=self._seconds)
                new.rename(mirror)
        code, revision = self._ask(mirror, ["rev-parse", "--verify", "--quiet", f"{source.ref}^{{commit}}"])
        if code != 0:
            _, names = self._ask(mirror, ["for-each-ref", "--format=%(refname:short)", "--sort=-committerdate"])
            near = nearest(source.ref, names.split())
            known = ", ".join(names.split()[:10])
            raise BuildError("checkout", f"{source.url} has no ref {source.ref}; it has {known}{near}")
        source.revision = revision.strip()
        newest = parse_log(self._ask(mirror, log_command(source.revision, ["."], 1))[1])
        source.author, source.subject = newest[0]["author"], newest[0]["subject"]
        source.commits = parse_log(self._ask(mirror, log_command(source.revision, source.paths))[1])
        code, text = self._ask(mirror, ["show", f"{source.revision}:{Path(source.path) / 'image.yml'}"])
        source.spec = read_yaml(source.image, text) if code == 0 else None

    def export(self, source: Source, archive: Path) -> None:
        """The checkout as a tar file."""
        words = ["archive", "--format=tar", f"--output={archive}", source.revision, *source.paths]
        self._git(source, "checkout", self._mirror(source), words)

    def _mirror(self, source: Source) -> Path:
        return self._folder / "mirrors" / f"{re.sub(r'[^A-Za-z0-9.]+', '-', without_user(source.git))}.git"

    def _git(self, source: Source, step: str, mirror: Path, words: list[str]) -> None:
        self._programs.log.step(source.image, step)
        self._programs.run(step, ["git", "--git-dir", str(mirror), *words], seconds=self._seconds)

    def _ask(self, mirror: Path, words: list[str]) -> tuple[int, str]:
        code, said = self._programs.ask(["git", "--git-dir", str(mirror), *words])
        return int(code), str(said)


def unpack(programs: Programs, source: Source, archive: Path, target: Path) -> Path:
    """The folder to build: `source.path` of the archive, with what `source.also` names in it, and nothing else."""
    target.mkdir(mode=0o700, parents=True)
    words = ["tar", "--extract", f"--file={archive}", f"--directory={target}", "--no-same-owner"]
    programs.run("checkout", [*words, *(source.paths if source.path else [])])
    folder = target / source.path
    if not (folder / "Dockerfile").is_file():
        raise BuildError("checkout", f"{source.path or 'the repository'} has no Dockerfile at {source.revision[:7]}")
    for path in source.also if source.path else []:
        (target / path).replace(folder / Path(path).name)
    return folder


def read_yaml(image: str, text: str) -> Any:
    # Imported late: only images from a Git URL are read here, and a fresh host has no PyYAML yet.
    import yaml  # noqa: PLC0415

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SpecError(f"image.yml of {image} is not YAML: {error}") from None
