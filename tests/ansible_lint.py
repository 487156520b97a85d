"""Run ansible-lint on what changed since it last passed: over everything it takes most of a minute.

Every role is a part, every playbook is one, and the variables of all inventories are one. A part is linted again when a
file in it changed, or what lints every part differently: settings, plugins, versions. `--all` lints everything.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PASSED = ROOT / ".cache/ansible-lint"
SETTINGS = ("ansible.cfg", ".config/ansible-lint.yml", ".yamllint", "playbooks/plugins/**/*.py")
PLAYBOOKS = ("playbooks/*.yml", "molecule/*.yml")
VARIABLES = ("playbooks/*_vars/**/*.yml", "inventories/**/*.yml", "molecule/*/*.yml")


def files(*patterns: str) -> list[Path]:
    """Files by pattern, in a stable order."""
    found = {path for pattern in patterns for path in ROOT.glob(pattern)}
    return sorted(path for path in found if path.is_file() and "__pycache__" not in path.parts)


def fingerprint(paths: Iterable[Path]) -> str:
    """What these files are called and hold."""
    state = hashlib.sha256(f"{version('ansible-lint')} {version('ansible-core')}".encode())
    for path in paths:
        state.update(f"{path.relative_to(ROOT)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()


def parts() -> dict[str, tuple[list[str], str]]:
    """Name of every part -> what ansible-lint is told to look at, and its fingerprint."""
    settings = fingerprint(files(*SETTINGS))
    # Playbooks name roles and their task files, so those must exist; what is in them is another part's matter.
    task_files = " ".join(str(path.relative_to(ROOT)) for path in files("roles/*/tasks/*.yml"))
    found: dict[str, tuple[list[str], str]] = {}
    for role in sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir()):
        found[role.name] = ([f"roles/{role.name}"], settings + fingerprint(files(f"roles/{role.name}/**/*")))
    for path in files(*PLAYBOOKS):
        name = str(path.relative_to(ROOT))
        found[name.replace("/", "-")] = ([name], settings + fingerprint([path]) + task_files)
    variables = files(*VARIABLES)
    found["variables"] = ([str(path.relative_to(ROOT)) for path in variables], settings + fingerprint(variables))
    return found


def lint(names: list[str], known: dict[str, tuple[list[str], str]]) -> bool:
    """Lint some parts in one run, remember them when they pass, print what is wrong when not."""
    targets = [target for name in names for target in known[name][0]]
    command = ["ansible-lint", "--offline", "-q", "--nocolor", "--strict", *targets]
    # molecule's playbooks take group and role from the scenario's name.
    environment = os.environ | {"MOLECULE_SCENARIO_NAME": "common"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode != 0:
        sys.stdout.buffer.write(done.stdout)
        return False
    PASSED.mkdir(parents=True, exist_ok=True)
    for name in names:
        (PASSED / name).write_text(known[name][1])
    return True


def main() -> int:
    """Lint what must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="lint what passed before, too")
    everything = parser.parse_args().all
    known = parts()
    passed = {path.name: path.read_text() for path in PASSED.glob("*")} if not everything else {}
    stale = [name for name, (_, mark) in known.items() if passed.get(name) != mark]
    # Two runs side by side: the playbooks take about as long as the roles.
    roles = [name for name in stale if known[name][0] == [f"roles/{name}"]]
    runs = [run for run in (roles, [name for name in stale if name not in roles]) if run]
    with ThreadPoolExecutor() as pool:
        return 0 if all(list(pool.map(lambda run: lint(run, known), runs))) else 1


if __name__ == "__main__":
    sys.exit(main())
