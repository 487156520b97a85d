#!/usr/bin/python
"""Checkout, build, smoke test, next tag, push: a whole build run on the build server in one remote execution.

Started in the background, so that a build outlives the control node; image_log tells how far it is.
"""

from __future__ import annotations

import base64
import fcntl
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.image_checkout import Source, without_user
from ansible.module_utils.image_run import Run, write_json
from ansible.module_utils.image_runner import BuildError, RunLog
from ansible.module_utils.image_spec import SpecError, parse_spec
from ansible.module_utils.registry_client import Registry, RegistryError, next_tag

DOCUMENTATION = r"""
module: image_build
short_description: Build, test, tag and push images on the build server
description:
  - In check mode nothing runs; the result says which tag would come from which commit.
  - Everything a person wants to see goes to C(<work_dir>/runs/<run>/log), the result to C(result.json) beside it.
author: Tagboat
options:
  run: {description: Name of this run, type: str, required: true}
  who: {description: Who started it, type: str, required: true}
  wanted: {description: Images to build, type: list, elements: str, required: true}
  sources: {description: Sources of all known images, type: list, elements: dict, required: true}
  work_dir: {description: Folder of checkouts and locks and logs and credentials, type: path, required: true}
  record_dir: {description: Folder of the records of finished builds, type: path, required: true}
  registry: {description: Address of the registry, type: str, required: true}
  ca_file: {description: CA of the registry on this host, type: str, default: ""}
  debian_image: {description: Local image that base images start from, type: str, required: true}
  environment_name: {description: Environment told to containers under test, type: str, default: build}
  keep_cache_mb: {description: Build cache kept after a run, type: int, default: 5000}
  keep_runs: {description: Runs whose logs are kept, type: int, default: 50}
  build_deadline_seconds: {description: Longest time one docker build may take, type: int, default: 1800}
  push_deadline_seconds: {description: Longest time one push may take, type: int, default: 600}
"""


def docker_login(config: Mapping[str, Any], registry: str) -> tuple[str, str]:
    """User and password of a registry, from docker's own config.json."""
    token = str(((config.get("auths") or {}).get(registry) or {}).get("auth", ""))
    user, _, password = base64.b64decode(token).decode().partition(":")
    return user, password


def forget_old_runs(folder: Path, keep: int) -> None:
    """Remove all but the newest runs, by this host's clock, and those that are at work."""
    runs = sorted((one for one in folder.iterdir() if one.is_dir()), key=lambda one: one.stat().st_mtime)
    for old in runs[:-keep]:
        if not is_at_work(old):
            shutil.rmtree(old, ignore_errors=True)


def is_at_work(run: Path) -> bool:
    """Tell whether the process of a run still holds its lock."""
    try:
        with (run / "alive").open() as alive:
            fcntl.flock(alive, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def plan(registry: Any, sources: Mapping[str, Any], wanted: list[str]) -> list[str]:
    """What a run would do, for check mode; on a fresh fleet the registry does not answer yet."""
    lines = []
    for name in wanted:
        source = sources[name]
        origin = f"{without_user(source.git)} {source.ref or 'HEAD'}" if source.git else source.shown
        try:
            tag = next_tag(registry.tags_or_none(name))
        except RegistryError as error:
            tag = f"the next tag (not known: {error})"
        lines.append(f"{name} would become {tag}, from {origin}")
        if not source.git:
            parse_spec(name, source.spec)
    return lines


def perform(settings: dict[str, Any], sources: dict[str, Any], registry: Any) -> dict[str, Any]:
    folder = Path(settings["work_dir"]) / "runs" / settings["run"]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "alive.new").open("w") as alive:
        # Held as long as this process lives: image_log tells a slow build from a dead one by it.
        fcntl.flock(alive, fcntl.LOCK_EX)
        (folder / "alive.new").rename(folder / "alive")
        run = Run(settings, sources, registry, RunLog(folder / "log"))
        problem = ""
        try:
            run.execute()
        except BuildError as error:
            problem = "\n    ".join([f"nothing was built, failed at {error.step}: {error.message}", *error.tail])
        except (RegistryError, SpecError, OSError) as error:
            problem = f"nothing was built: {error}"
        finally:
            for rest in (*folder.glob("*.tar"), *folder.glob("*.pem")):
                rest.unlink()
            shutil.rmtree(folder / "checkout", ignore_errors=True)
        result = {
            # Not only what was noticed: an image that was asked for and was not built is a failure.
            "failed": bool(problem or run.failures or set(settings["wanted"]) - set(run.builds)),
            "changed": bool(run.builds),
            "problem": problem,
            "builds": run.builds,
            "failures": run.failures,
        }
        write_json(folder / "result.json", result)
        forget_old_runs(folder.parent, settings["keep_runs"])
        return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "run": {"type": "str", "required": True},
            "who": {"type": "str", "required": True},
            "wanted": {"type": "list", "elements": "str", "required": True},
            "sources": {"type": "list", "elements": "dict", "required": True},
            "logins": {"type": "dict", "default": {}, "no_log": True},
            "work_dir": {"type": "path", "required": True},
            "record_dir": {"type": "path", "required": True},
            "registry": {"type": "str", "required": True},
            "ca_file": {"type": "str", "default": ""},
            "debian_image": {"type": "str", "required": True},
            "environment_name": {"type": "str", "default": "build"},
            "keep_cache_mb": {"type": "int", "default": 5000},
            "keep_runs": {"type": "int", "default": 50},
            "build_deadline_seconds": {"type": "int", "default": 1800},
            "push_deadline_seconds": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    settings: dict[str, Any] = module.params
    sources = {one["image"]: Source(**one) for one in settings["sources"]}
    for image, url in settings["logins"].items():
        sources[image].git = url
    try:
        config = json.loads((Path(settings["work_dir"]) / "docker" / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = {}
    user, password = docker_login(config, settings["registry"])
    registry = Registry(settings["registry"], user, password, settings["ca_file"])
    if module.check_mode:
        try:
            lines = plan(registry, sources, settings["wanted"])
        except SpecError as error:
            module.fail_json(msg=str(error))
        module.exit_json(changed=True, plan=lines)
    module.exit_json(**perform(settings, sources, registry))


if __name__ == "__main__":
    main()
