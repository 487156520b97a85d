"""The shape of the playbooks: thin, explicit about failure, and about groups and roles that exist."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
PLAYBOOKS = sorted((REPOSITORY / "playbooks").glob("*.yml"))
INVENTORIES = sorted((REPOSITORY / "inventories").glob("*/hosts.yml"))
INLINE_TASKS = 4
# Groups that a play itself makes, with add_host, for the plays after it.
MADE_GROUPS = {"service_hosts"}
FAILURE_POLICIES = {"serial", "any_errors_fatal", "max_fail_percentage"}
ROLE_ACTIONS = {"ansible.builtin.include_role", "ansible.builtin.import_role"}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def label(playbook: Path, play: dict[str, Any]) -> str:
    return f"{playbook.stem}: {play.get('name', play)}"


ENTRIES = [(playbook, entry) for playbook in PLAYBOOKS for entry in load(playbook)]
PLAYS = [pytest.param(play, id=label(playbook, play)) for playbook, play in ENTRIES if "hosts" in play]
each_play = pytest.mark.parametrize("play", PLAYS)


def groups_in(node: dict[str, Any]) -> Iterator[str]:
    """Names of all groups below a group of a YAML inventory."""
    for name, child in (node.get("children") or {}).items():
        yield name
        yield from groups_in(child or {})


def wanted_groups(play: dict[str, Any]) -> set[str]:
    pattern = play["hosts"] if isinstance(play["hosts"], str) else ":".join(play["hosts"])
    names = {re.sub(r"^[!&]|\[.*\]$", "", part.strip()) for part in re.split(r"[:,](?![^\[]*\])", pattern)}
    return {name for name in names if "{{" not in pattern} - {"all", "localhost"} - MADE_GROUPS


def inline_tasks(play: dict[str, Any]) -> list[dict[str, Any]]:
    return [task for part in ("pre_tasks", "tasks", "post_tasks") for task in play.get(part, [])]


def used_roles(play: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(role, task file) of everything a play runs."""
    for role in play.get("roles", []):
        yield (role if isinstance(role, str) else role["role"]), "main.yml"
    for task in inline_tasks(play):
        for action in ROLE_ACTIONS & set(task):
            yield task[action]["name"], task[action].get("tasks_from", "main.yml")


@pytest.mark.parametrize(("playbook", "entry"), ENTRIES, ids=[label(*entry) for entry in ENTRIES])
def test_every_entry_has_a_name_and_runs_plays(playbook: Path, entry: dict[str, Any]) -> None:
    assert entry.get("name"), playbook
    assert ("hosts" in entry) != ("ansible.builtin.import_playbook" in entry)


@each_play
def test_a_play_says_whether_it_needs_facts(play: dict[str, Any]) -> None:
    assert "gather_facts" in play


@each_play
def test_a_play_says_what_a_failure_means(play: dict[str, Any]) -> None:
    assert FAILURE_POLICIES & set(play), f"state one of {sorted(FAILURE_POLICIES)}"


@each_play
def test_a_play_is_thin(play: dict[str, Any]) -> None:
    tasks = inline_tasks(play)
    assert len(tasks) <= INLINE_TASKS, "move them into a role"
    assert not any("block" in task for task in tasks), "move it into a role"


@each_play
def test_roles_and_their_task_files_exist(play: dict[str, Any]) -> None:
    missing = [
        f"{role}/tasks/{file}"
        for role, file in used_roles(play)
        if "{{" not in role + file and not (REPOSITORY / "roles" / role / "tasks" / file).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("inventory", INVENTORIES, ids=lambda path: path.parent.name)
@each_play
def test_every_inventory_has_the_groups(play: dict[str, Any], inventory: Path) -> None:
    assert wanted_groups(play) - set(groups_in(load(inventory)["all"])) == set()
