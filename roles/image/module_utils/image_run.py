"""One build run: some images side by side, parents before children, each tested before it gets its tag."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils import image_commands as commands
from ansible.module_utils.image_checkout import Mirrors, login_environ, unpack
from ansible.module_utils.image_runner import BuildError, Programs, ended, image_lock, stream
from ansible.module_utils.image_smoke import smoke_test, sweep
from ansible.module_utils.image_spec import Spec, SpecError, build_order, parse_spec
from ansible.module_utils.registry_client import RegistryError, highest_tag, next_tag

ENGINE_SECONDS = 10  # to a simple question, before anything is built
GIT_SECONDS = 60  # a Git server that says nothing for so long hangs; other images of the run wait for it
SYSTEM_CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


def labels_of(source: Any, spec: Any, tag: str, created: str, content: str) -> dict[str, str]:
    return {
        "org.opencontainers.image.title": source.image,
        "org.opencontainers.image.description": spec.description,
        "org.opencontainers.image.revision": source.revision,
        "org.opencontainers.image.source": source.url,
        "org.opencontainers.image.created": created,
        "org.opencontainers.image.version": tag,
        "org.opencontainers.image.authors": source.author,
        "tagboat.subject": source.subject,
        # Two tags with the same content differ in their labels only.
        "tagboat.content": content,
        # So that a deploy can list what comes with it, without a clone.
        "tagboat.commits": json.dumps(source.commits, ensure_ascii=False, separators=(",", ":")),
    }


def summary(record: Mapping[str, Any]) -> str:
    """The one line a person keeps of a build."""
    seconds = ", ".join(f"{step} {value:.1f} s" for step, value in record["seconds"].items())
    same = f", same content as {record['same_as']}" if record["same_as"] else ""
    source = f"{record['revision'][:7]} '{record['subject']}' by {record['author'].split(' <')[0]}"
    return f"{record['image']} {record['tag']} {record['digest']} ({seconds}{same}) from {source}"


def write_json(path: Path, content: Any) -> None:
    """Whole or not at all: a reader may look at any moment."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    new.replace(path)


@contextlib.contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    seconds[step] = time.monotonic() - started


class Specs(Mapping[str, Spec]):
    """image.yml of each image, checked when it is asked for: a Git URL is fetched only for an image that is built."""

    def __init__(self, sources: Mapping[str, Any], mirrors: Any) -> None:
        self._sources, self._mirrors = sources, mirrors
        self._checked: dict[str, Any] = {}

    def __getitem__(self, image: str) -> Any:
        if image not in self._checked:
            source = self._sources[image]
            if source.git:
                self._mirrors[image].complete(source)
            if not source.exists:
                raise SpecError(f"{source.path} does not exist at {source.revision[:7]}")
            self._checked[image] = parse_spec(image, source.spec)
        return self._checked[image]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)


@dataclass
class Run:
    """One run: some images, built side by side, parents before children."""

    settings: dict[str, Any]
    sources: dict[str, Any]
    registry: Any
    log: Any
    builds: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.work = Path(self.settings["work_dir"])
        self.folder = self.work / "runs" / self.settings["run"]
        self.environ = {
            **os.environ,
            "DOCKER_BUILDKIT": "1",
            "DOCKER_CONFIG": str(self.work / "docker"),
            # A password prompt would wait for ever.
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": f"ssh -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval={GIT_SECONDS // 3}",
            # Git servers send a sign of life every few seconds, also while they pack.
            "GIT_HTTP_LOW_SPEED_LIMIT": "1",
            "GIT_HTTP_LOW_SPEED_TIME": str(GIT_SECONDS),
        }
        self.programs = {name: Programs(name, self.log, self.environ) for name in self.sources}
        self.mirrors = {name: Mirrors(self.work, self._git(name), 600) for name in self.sources}
        self.specs = Specs(self.sources, self.mirrors)
        self.finished = {name: threading.Event() for name in self.sources}
        self.pushed: dict[str, str] = {}

    def _git(self, image: str) -> Programs:
        return Programs(image, self.log, self.environ | login_environ(self.sources[image].git))

    def execute(self) -> None:
        wanted = self.settings["wanted"]
        code, said = self.programs[wanted[0]].ask(["docker", "version"], seconds=ENGINE_SECONDS)
        if code != 0:
            silent = "no Docker engine answers on the build server. Next, there: systemctl restart docker"
            raise BuildError("docker version", silent, said.splitlines()[-1:])
        missing = [name for name in self.sources if not highest_tag(self.registry.tags_or_none(name))]
        order = build_order(wanted, self.specs, missing)
        for name in self.sources.keys() - set(order):
            self.finished[name].set()
        self._write_ca_bundle()
        threads = [threading.Thread(target=self._guarded, args=(name, name in wanted)) for name in order]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # After a failure too: a cache that grows until the disk is full would let no build succeed any more.
        self.programs[order[0]].ask(commands.prune(self.settings["keep_cache_mb"]), seconds=300)

    def _guarded(self, image: str, wanted: bool) -> None:
        try:
            self._build_when_alone(image, wanted)
        except BuildError as error:
            self._failed(image, error.step, error.message, error.tail)
        except (RegistryError, SpecError, OSError) as error:
            self._failed(image, "registry" if isinstance(error, RegistryError) else "build", str(error), [])
        except Exception:  # a fault of ours must not leave the others waiting for this image
            self._failed(image, "build", "an error in the build module itself", traceback.format_exc().splitlines())
        finally:
            self.finished[image].set()

    def _failed(self, image: str, step: str, message: str, tail: list[str]) -> None:
        self.failures[image] = {
            "step": step,
            "message": message,
            "tail": tail,
            "log": str(self.log.path),
            "pushed": self.pushed.get(image, ""),
        }
        self.log.step(image, f"FAILED at {step}: {message}")

    def _wait_for(self, required: str) -> None:
        self.finished[required].wait()
        if required in self.failures:
            raise BuildError("skipped", f"{required}, which it needs, was not built")

    def _build_when_alone(self, image: str, wanted: bool) -> None:
        if not wanted:
            self.log.step(image, "is needed and was never pushed: building it first")
        parent = self.specs[image].parent
        if parent:
            self._wait_for(parent)
        lock = self.work / "locks" / f"{image}.lock"
        settings = self.settings
        with image_lock(lock, settings["who"], settings["run"], lambda text: self.log.step(image, text)) as held:
            if not wanted and highest_tag(self.registry.tags_or_none(image)):
                self.log.step(image, "was pushed meanwhile")
                return
            self._build(image, held)

    def _build(self, image: str, lock: int) -> None:
        source, spec, programs = self.sources[image], self.specs[image], self.programs[image]
        untested = f"tagboat-build/{image}"
        local = f"{untested}:{self.settings['run'].lower()}"
        seconds: dict[str, float] = {}
        self.log.step(image, f"builds {source.shown}")
        try:
            with _timed(seconds, "build"):
                folder = self._checkout(image)
                self._docker_build(image, folder, local)
            if spec.smoke:
                for need in spec.smoke.needs:
                    self._wait_for(need.image)
                with _timed(seconds, "smoke"):
                    needs = {need.alias: self._reference(need.image) for need in spec.smoke.needs}
                    smoke_test(programs, local, spec.smoke, needs=needs, env=self._smoke_env(source))
            with _timed(seconds, "push"):
                record = self._push(image, local, lock)
            record["seconds"] = {step: round(value, 2) for step, value in seconds.items()}
            self._write_record(record)
            self.builds[image] = record
            self.log.step(image, summary(record))
        finally:
            sweep(programs, image)
            # All of them: a build that was killed left its own.
            self._drop_others(programs, untested)

    def _checkout(self, image: str) -> Path:
        source, programs = self.sources[image], self.programs[image]
        archive = self.folder / "source.tar"
        if source.git:
            archive = self.folder / f"{image}.tar"
            self.mirrors[image].export(source, archive)
        return Path(unpack(programs, source, archive, self.folder / "checkout" / image))

    def _docker_build(self, image: str, folder: Path, local: str) -> None:
        parent = self.specs[image].parent
        args = {"DEBIAN": self.settings["debian_image"]}
        if parent:
            args["PARENT"] = self._reference(parent)
        output = commands.BuildOutput()

        def follow(line: str) -> None:
            found = output.feed(line)
            if found:
                (self.log.step if found[0] == "step" else self.log.output)(image, found[1])

        limit = self.settings["build_deadline_seconds"]
        words = commands.build(str(folder), local, args, str(self.folder / "ca_bundle.pem"))
        code = stream(words, follow, deadline_seconds=limit, environ=self.environ)
        if code != 0:
            step = commands.short(output.failing_step) or "docker build"
            raise BuildError(step, (code is not None and output.error) or ended(code, limit), output.tail())

    def _reference(self, image: str) -> str:
        """An image of ours as its highest tag is now, by digest."""
        tag = highest_tag(self.registry.tags_or_none(image))
        if not tag:
            raise BuildError("registry", f"{image} has no tag in the registry")
        return f"{self.settings['registry']}/{image}@{self.registry.resolve(image, tag)}"

    def _smoke_env(self, source: Any) -> dict[str, str]:
        told = {"SERVICE": source.image, "TAG": "smoke-test", "DIGEST": "", "REVISION": source.revision, "SLOT": "a"}
        return {**told, "HOST": os.uname().nodename, "ENVIRONMENT": self.settings["environment_name"]}

    def _push(self, image: str, local: str, lock: int) -> dict[str, Any]:
        programs, source = self.programs[image], self.sources[image]
        repository = f"{self.settings['registry']}/{image}"
        content, size = self._inspect(programs, local)
        tags = self.registry.tags_or_none(image)
        highest = highest_tag(tags)
        known = ""
        with contextlib.suppress(RegistryError):  # it serves a remark only
            known = self.registry.labels(image, highest).get("tagboat.content") if highest else ""
        # Under the lock the next tag is free; another build server is why it is asked for once more.
        tag = next_tag(tags)
        while self.registry.has(image, tag):
            self.log.step(image, f"{tag} was just pushed by another build server")
            tag = next_tag([tag])
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        labels = labels_of(source, self.specs[image], tag, created, content)
        self._silently("label", commands.label(f"{repository}:{tag}", labels), f"FROM {local}\n")
        self.log.step(image, f"pushes {tag}")
        # The push holds the lock too: should this process be killed, nobody takes the same tag meanwhile.
        limit = self.settings["push_deadline_seconds"]
        try:
            programs.run("push", commands.push(f"{repository}:{tag}"), seconds=limit, keep_open=[lock])
        except BuildError:
            programs.ask(["docker", "rmi", f"{repository}:{tag}"])
            with contextlib.suppress(RegistryError):  # whose answer may be all that was lost
                self.pushed[image] = tag if self.registry.has(image, tag) else ""
            raise
        self.pushed[image] = tag
        digest = self.registry.resolve(image, tag)
        self.registry.move_tag(image, "latest", digest)
        # The registry has the older ones; here only the build cache is of use, and it is bounded by itself.
        self._drop_others(programs, repository, tag)
        return {
            "image": image,
            "tag": tag,
            "digest": digest,
            "revision": source.revision,
            "author": source.author,
            "subject": source.subject,
            "commits": source.commits,
            "source": source.url,
            "ref": source.ref,
            "created": created,
            "who": self.settings["who"],
            "run": self.settings["run"],
            "bytes": size,
            "same_as": highest if known and known == content else "",
            "log": str(self.log.path),
        }

    def _silently(self, step: str, words: list[str], stdin: str) -> None:
        tail: list[str] = []
        limit = self.settings["push_deadline_seconds"]
        code = stream(words, tail.append, deadline_seconds=limit, environ=self.environ, stdin=stdin)
        if code != 0:
            raise BuildError(step, ended(code, limit), [commands.clean(line) for line in tail[-commands.TAIL_LINES :]])

    def _inspect(self, programs: Any, local: str) -> tuple[str, int]:
        code, said = programs.ask(["docker", "image", "inspect", "--format", "{{.Id}} {{.Size}}", local])
        if code != 0:
            raise BuildError("inspect", f"exit code {code}", said.splitlines())
        content, size = said.split()
        return content, int(size)

    def _drop_others(self, programs: Any, repository: str, keep: str = "") -> None:
        listed = programs.ask(["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", repository])[1].split()
        old = [one for one in listed if one != f"{repository}:{keep}" and not one.endswith(":<none>")]
        if old:
            programs.ask(["docker", "rmi", *old])

    def _write_record(self, record: dict[str, Any]) -> None:
        folder = Path(self.settings["record_dir"]) / record["image"]
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_json(folder / f"{record['tag']}.json", record)

    def _write_ca_bundle(self) -> None:
        parts = [SYSTEM_CA_BUNDLE, self.work / "extra_ca.pem"]
        text = "\n".join(part.read_text(encoding="utf-8") for part in parts if part.is_file())
        (self.folder / "ca_bundle.pem").write_text(text, encoding="utf-8")
