"""A misspelt or missing -e is refused before any host is touched, with the name that was meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import plugin_loading
import pytest
import yaml

check_request = plugin_loading.load("playbooks/plugins/action/check_request.py")

INPUTS = {
    "service": {"required": True, "choices": ["web", "eval_worker"]},
    "tag": {"required": True},
    "hours": {"pattern": "[0-9]+", "means": "a number of hours"},
    "force": {},
}
EXAMPLE = "make deploy SERVICE=web TAG=v2"
KNOWN = "This playbook takes: service, tag, hours, force."


def problems(given: dict[str, Any], defined: tuple[str, ...] = ("service_min_free_mb",)) -> list[str]:
    found: list[str] = check_request.problems(given, INPUTS, defined, EXAMPLE)
    return found


def test_a_good_request() -> None:
    assert problems({"service": "web", "tag": "v2", "force": "true", "hours": 4}) == []


def test_anything_that_is_defined_may_be_overridden() -> None:
    assert problems({"service": "web", "tag": "v2", "service_min_free_mb": 1, "ansible_user": "me"}) == []


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"service": "web"}, f"tag is missing. For example: {EXAMPLE}"),
        ({"service": "web", "tag": ""}, f"tag is missing. For example: {EXAMPLE}"),
        ({"service": "wbe", "tag": "v2"}, "there is no service wbe. Did you mean web? Known: web, eval_worker."),
        ({"service": "zzz", "tag": "v2"}, "there is no service zzz. Known: web, eval_worker."),
        ({"service": "web", "tag": "v2", "fource": 1}, f"unknown variable fource. Did you mean force? {KNOWN}"),
        (
            {"service": "web", "tag": "v2", "service_min_fre_mb": 1},
            f"unknown variable service_min_fre_mb. Did you mean service_min_free_mb? {KNOWN}",
        ),
        ({"service": "web", "tag": "v2", "zzz": 1}, f"unknown variable zzz. {KNOWN}"),
        (
            {"service": "web", "tag": "v2", "hours": "a lot"},
            f"hours is to be a number of hours, not 'a lot'. For example: {EXAMPLE}",
        ),
    ],
)
def test_refused(given: dict[str, Any], found: str) -> None:
    assert problems(given) == [found]


def test_everything_wrong_is_told_at_once() -> None:
    assert len(problems({"srvice": "web"})) == 3


def test_no_service_at_all_is_said() -> None:
    found = check_request.problems({"service": "web"}, {"service": {"choices": []}}, [], EXAMPLE)
    assert found == ["there is no service web. Known: none."]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    vaulted = "lab_name: x\nsecret: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  61\n"
    files = {
        "roles/service/defaults/main.yml": "service_by: me\nservice_batches: [1]\n",
        "roles/empty/defaults/main.yml": "---\n",
        "roles/service/vars/main.yml": "__service_internal: 1\n",
        "playbooks/group_vars/all/main.yml": "registry_address: x\n",
        "inventories/local/group_vars/all/main.yml": vaulted,
        "inventories/local/group_vars/all/vault.yml": "$ANSIBLE_VAULT;1.1;AES256\n6162\n",
        "inventories/production/group_vars/all/main.yml": "elsewhere: x\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_what_is_defined_is_read_without_secrets_or_other_environments(tree: Path) -> None:
    found = check_request.defined_names(tree, tree / "inventories/local")
    assert found == {"service_by", "service_batches", "registry_address", "lab_name", "secret"}


def test_without_the_fast_yaml_library(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    assert "lab_name" in check_request.defined_names(tree, tree / "inventories/local")


def test_the_projects_own_files_can_be_read() -> None:
    root = check_request.ROOT
    assert "service_rollout" in check_request.defined_names(root, root / "inventories/local")
