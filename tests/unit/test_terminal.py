"""What a person at the terminal sees of a playbook: changes, failures and how long; Ansible's own output with -v."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ops_bot.ansible.callback import tagboat

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = """
- name: Prepare
  hosts: localhost
  gather_facts: false
  tasks:
    - {name: Look, ansible.builtin.set_fact: {seen: 1}}
    - {name: Write, ansible.builtin.set_fact: {x: 1}, changed_when: true}
    - {name: Each, ansible.builtin.set_fact: {x: 1}, changed_when: item == 'b', loop: [a, b]}
    - {name: Leave out, ansible.builtin.set_fact: {x: 1}, when: false}
    - {name: Break, ansible.builtin.fail: {msg: "web1: no space\\nNext: make prune"}, when: broken is defined}
"""
ANSIBLE = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,"]
LOCAL = ["-c", "local", "-e", f"ansible_python_interpreter={sys.executable}"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("playbook")
    (folder / "play.yml").write_text(PLAYBOOK)
    (folder / "ansible.cfg").write_text(
        f"[defaults]\ncallback_plugins = {ROOT}/ops_bot/ansible/callback\nstdout_callback = tagboat\nhome = {folder}\n"
    )
    return folder


def run(folder: Path, *options: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [*ANSIBLE, "play.yml", *options],
        cwd=folder,
        env={**os.environ, "ANSIBLE_CONFIG": str(folder / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, [re.sub(r"^\[ *[\d.]+ s\]", "[t]", line) for line in done.stdout.splitlines()]


def test_changes_only(folder: Path) -> None:
    code, lines = run(folder)
    assert code == 0
    assert lines == [
        "[t] Prepare",
        "[t]   localhost changed: Write",
        "[t]   localhost changed: Each (b)",
        "[t] 2 changes on localhost",
    ]


def test_a_dry_run_says_would(folder: Path) -> None:
    _, lines = run(folder, "--check")
    assert "[t]   localhost would change: Write" in lines


def test_a_failure_says_all_of_why_and_the_exit_code_is_right(folder: Path) -> None:
    code, lines = run(folder, "-e", "broken=1")
    assert code == 2
    assert lines[-4:] == [
        "[t]   localhost FAILED: Break",
        "    web1: no space",
        "    Next: make prune",
        "[t] failed on localhost; 2 changes on localhost",
    ]


def test_with_v_it_is_ansibles_own(folder: Path) -> None:
    _, lines = run(folder, "-v")
    assert any(line.startswith("PLAY RECAP") for line in lines)
    assert any(line.startswith("TASK [Look]") for line in lines)


def test_a_command_that_is_told_names_its_environment(folder: Path) -> None:
    inventory = folder / "inventories" / "production"
    inventory.mkdir(parents=True)
    (inventory / "hosts.yml").write_text("all: {hosts: {localhost: }}\n")
    _, lines = run(folder, "-i", str(inventory), "-e", "broken=1")
    assert "    Next: make prune ENV=production" in lines


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Next: make status, make logs SERVICE=web", "Next: make status ENV=x, make logs ENV=x SERVICE=web"),
        ("To go back: make rollback ENV=x SERVICE=web", "To go back: make rollback ENV=x SERVICE=web"),
        ("web1 | then I make deploy again\nNext: make site", "web1 | then I make deploy again\nNext: make site ENV=x"),
        ("make sites", "make sites"),
    ],
)
def test_only_commands_of_ours_are_completed(said: str, told: str) -> None:
    assert tagboat.with_environment(said, "x") == told
    assert tagboat.with_environment(said, "") == said
    named = [tagboat.environment_of([name]) for name in ("inventories/x", "inventories/local", "/tmp/x")]
    assert named == ["x", "", ""]


def test_a_reader_who_leaves_does_not_stop_the_run(folder: Path) -> None:
    (folder / "long.yml").write_text(
        """
- name: Prepare
  hosts: localhost
  gather_facts: false
  tasks:
    - {name: Write, ansible.builtin.set_fact: {x: "{{ item }}"}, changed_when: true, loop: [1, 2, 3]}
    - {name: End, ansible.builtin.copy: {content: x, dest: "{{ playbook_dir }}/ended"}}
"""
    )
    reads, writes = os.pipe()
    os.close(reads)  # nobody reads a line of it
    try:
        done = subprocess.run(
            [*ANSIBLE, *LOCAL, "long.yml"],
            cwd=folder,
            env={**os.environ, "ANSIBLE_CONFIG": str(folder / "ansible.cfg")},
            stdout=writes,
            stderr=writes,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writes)
    assert done.returncode == 0
    assert (folder / "ended").exists()


def test_lines_are_read_as_they_come(folder: Path) -> None:
    (folder / "slow.yml").write_text(
        """
- name: Prepare
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Wait for
      ansible.builtin.wait_for: {path: "{{ item }}", timeout: 20}
      changed_when: true
      loop: [play.yml, go_on]
"""
    )
    playbook = subprocess.Popen(
        [*ANSIBLE, *LOCAL, "slow.yml"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        | {"ANSIBLE_CONFIG": str(folder / "ansible.cfg")},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert playbook.stdout
    with playbook.stdout:
        lines = [playbook.stdout.readline() for _ in range(2)]
        assert playbook.poll() is None  # it waits for what comes now
        (folder / "go_on").touch()
        lines += playbook.stdout.readlines()
    assert [line[10:].strip() for line in lines] == [
        "Prepare",
        "localhost changed: Wait for (play.yml)",
        "localhost changed: Wait for (go_on)",
        "1 change on localhost",
    ]
    assert playbook.wait(60) == 0
