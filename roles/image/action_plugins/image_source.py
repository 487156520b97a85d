"""On the control node: say exactly what is built, and send it to the build server as one `git archive`.

The build server never sees the working copy, so a build is what the ref says and nothing else.
"""

from __future__ import annotations

import difflib
import getpass
import re
import secrets
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from ansible import constants as C
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

KNOWN_KEYS = ("git", "path", "also")
_LOG_FORMAT = "%H%x1f%an <%ae>%x1f%s%x1f%cI"
_COMMITS_KEPT = 20


def nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def check_definitions(definitions: Any) -> dict[str, dict[str, Any]]:
    """`images` as declared in group_vars: name -> {git, path, also}, all optional."""
    if not isinstance(definitions, dict) or not definitions:
        raise ValueError("no images are declared; declare them in group_vars/all/images.yml")
    checked: dict[str, dict[str, Any]] = {}
    for name, raw in definitions.items():
        # The name becomes part of image references, paths and container names.
        if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9]+(?:[._-][a-z0-9]+)*", name):
            raise ValueError(f"images: {name!r} cannot name an image: small letters, digits, . _ and - between them")
        if raw is not None and not isinstance(raw, dict):
            raise ValueError(f"images.{name} is not a mapping")
        for key, value in (raw or {}).items():
            if key not in KNOWN_KEYS:
                near = nearest(str(key), list(KNOWN_KEYS))
                raise ValueError(f"images.{name}: unknown key {key}; known: {', '.join(KNOWN_KEYS)}{near}")
            if key == "also":
                continue
            if not isinstance(value, str) or not value or (key == "git" and value.startswith("-")):
                raise ValueError(f"images.{name}.{key} is not a {'Git URL' if key == 'git' else 'path'}")
        git = (raw or {}).get("git", "")
        path = (raw or {}).get("path", "" if git else f"images/{name}")
        also = (raw or {}).get("also", [])
        if not isinstance(also, list) or not all(isinstance(one, str) and one for one in also):
            raise ValueError(f"images.{name}.also is not a list of paths")
        for key, one in (("path", path), *(("also", one) for one in also)):
            if one.startswith(("/", "-")) or ".." in Path(one).parts:
                raise ValueError(f"images.{name}.{key} is not a path inside the repository")
        checked[name] = {"git": git, "path": path, "also": list(also)}
    return checked


def check_wanted(wanted: Any, definitions: dict[str, dict[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(str(name).strip() for name in wanted if str(name).strip()))
    known = ", ".join(sorted(definitions))
    if not names:
        raise ValueError(f"no image is named; known: {known}. Next: make build IMAGE={next(iter(sorted(definitions)))}")
    for name in names:
        if name not in definitions:
            near = nearest(name, list(definitions))
            raise ValueError(f"there is no image {name}; known: {known}{near}")
    return names


class Repository:
    """The repository on the control node, asked through Git."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def ask(self, *words: str) -> str:
        done = subprocess.run(["git", "-C", self.folder, *words], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ValueError(f"git {words[0]} in {self.folder}: {done.stderr.strip() or done.returncode}")
        return done.stdout

    def resolve(self, ref: str) -> str:
        try:
            return self.ask("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}").strip()
        except ValueError:
            # `rev-parse --quiet` says nothing; find out whether it is the ref or the repository.
            self.ask("rev-parse", "--git-dir")
            known = self.ask("for-each-ref", "--format=%(refname:short)", "--sort=-committerdate").split()
            listed = ", ".join(known[:10])
            raise ValueError(f"this repository has no ref {ref}; it has {listed}{nearest(ref, known)}") from None

    def url(self) -> str:
        try:
            url = self.ask("config", "--get", "remote.origin.url").strip()
        except ValueError:
            return Path(self.folder).resolve().name
        return re.sub(r"(?<=://)[^/@]+@", "", url)

    def commits(self, revision: str, paths: list[str], count: int) -> list[dict[str, str]]:
        text = self.ask("log", f"--max-count={count}", f"--format={_LOG_FORMAT}", revision, "--", *paths)
        rows = [line.split("\x1f") for line in text.splitlines() if line.count("\x1f") == 3]
        return [dict(zip(("revision", "author", "subject", "date"), row, strict=True)) for row in rows]

    def uncommitted(self, paths: list[str]) -> int:
        return len(self.ask("status", "--porcelain", "--", *paths).splitlines())

    def has(self, revision: str, path: str) -> bool:
        return bool(self.ask("ls-tree", "-d", "--name-only", revision, path).strip())


def describe(
    repository: Repository, definitions: dict[str, dict[str, Any]], wanted: list[str], ref: str
) -> tuple[list[dict[str, Any]], list[str], str]:
    """Sources of all images, warnings, and the revision that is sent (empty: none of them is ours)."""
    sources: list[dict[str, Any]] = []
    warnings: list[str] = []
    own = [name for name, one in definitions.items() if not one["git"]]
    # A ref of another repository need not exist in this one.
    revision = repository.resolve(ref if set(own) & set(wanted) and ref else "HEAD") if own else ""
    head = repository.commits(revision, ["."], 1)[0] if own else {}
    for name, one in definitions.items():
        if one["git"]:
            # The login of a URL goes to the build server another way, which no log shows.
            url = re.sub(r"^(https?://)[^/@]*@", r"\1", one["git"])
            sources.append({"image": name, **one, "git": url, "ref": ref if name in wanted else ""})
            continue
        exists = repository.has(revision, one["path"])
        if not exists and name in wanted:
            raise ValueError(f"{one['path']} does not exist at {ref or 'HEAD'} ({revision[:7]})")
        sources.append(
            {
                "image": name,
                **one,
                "ref": ref or "HEAD",
                "url": repository.url(),
                "revision": revision,
                "author": head["author"],
                "subject": head["subject"],
                "commits": repository.commits(revision, [one["path"], *one["also"]], _COMMITS_KEPT) if exists else [],
                "spec": read_spec(repository, revision, one["path"]) if exists else None,
                "exists": exists,
            }
        )
        changes = repository.uncommitted([one["path"], *one["also"]]) if name in wanted else 0
        if changes:
            where = ", ".join([one["path"], *one["also"]])
            warnings.append(f"{changes} uncommitted changes in {where} are not part of this build")
    return sources, warnings, revision


def read_spec(repository: Repository, revision: str, path: str) -> Any:
    if not repository.ask("ls-tree", "--name-only", revision, f"{path}/image.yml").strip():
        return None
    try:
        return yaml.safe_load(repository.ask("show", f"{revision}:{path}/image.yml"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}/image.yml is not YAML: {error}") from None


class ActionModule(ActionBase):  # type: ignore[misc]
    TRANSFERS_FILES = True
    _VALID_ARGS = frozenset({"repository", "definitions", "wanted", "ref", "work_dir"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self._task.args
        run = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(3)}"
        try:
            definitions = check_definitions(arguments["definitions"])
            wanted = check_wanted(arguments["wanted"], definitions)
            repository = Repository(arguments["repository"])
            sources, warnings, revision = describe(repository, definitions, wanted, arguments.get("ref") or "")
        except ValueError as error:
            raise AnsibleActionFail(str(error)) from None
        for warning in warnings:
            Display().warning(warning)
        who = getpass.getuser()
        result.update(run=run, wanted=wanted, sources=sources, revision=revision, warnings_shown=warnings, who=who)
        sent = [source for source in sources if not source["git"] and source["exists"]]
        paths = sorted({path for source in sent for path in (source["path"], *source["also"])})
        if paths and not self._task.check_mode:
            self._send(repository, revision, paths, f"{arguments['work_dir']}/runs/{run}/", task_vars or {})
        result["changed"] = False
        return result

    def _send(
        self, repository: Repository, revision: str, paths: list[str], target: str, task_vars: dict[str, Any]
    ) -> None:
        with tempfile.TemporaryDirectory(dir=C.DEFAULT_LOCAL_TMP) as folder:
            archive = Path(folder) / "source.tar"
            repository.ask("archive", "--format=tar", f"--output={archive}", revision, *paths)
            task = self._task.copy()
            task.args = {"src": str(archive), "dest": target, "mode": "0600"}
            copy = self._shared_loader_obj.action_loader.get(
                "ansible.legacy.copy",
                task=task,
                connection=self._connection,
                play_context=self._play_context,
                loader=self._loader,
                templar=self._templar,
                shared_loader_obj=self._shared_loader_obj,
            )
            sent = copy.run(task_vars=task_vars)
        if sent.get("failed"):
            raise AnsibleActionFail(f"the source did not reach the build server: {sent.get('msg', 'no reason given')}")
