"""What reaches a host is one command and standard input: the code is there, and compiled, after the first step."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import plugin_loading
import pytest

action = plugin_loading.load("roles/service/action_plugins/rollout.py")


class There:
    """A host whose code folder is below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "code"
        self.command = action.BOOTSTRAP.replace(action.CODE_FOLDER, str(self.folder))

    def step(self, code: bytes) -> dict[str, Any]:
        """Take a step that changes nothing, of a service that is not here."""
        request = {
            "code": base64.b64encode(code).decode(),
            "code_name": hashlib.sha256(code).hexdigest(),
            "arguments": {"step": "status", "service": "nosuch", "host_name": "web1"},
            "check": False,
        }
        done = subprocess.run(
            [sys.executable, "-IS", "-c", self.command],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            check=False,
            env={},
        )
        assert done.returncode == 0, done.stderr
        mark, _, answer = done.stdout.partition(" ")
        assert mark == action.MARK.strip()
        parsed: dict[str, Any] = json.loads(answer)
        return parsed

    def modules(self) -> list[Path]:
        return sorted(self.folder.glob("*/tagboat/steps.py"))


@pytest.fixture
def there(tmp_path: Path) -> There:
    return There(tmp_path)


def test_the_first_step_leaves_the_code_for_the_next_ones(there: There) -> None:
    assert there.step(action.packed_code())["status"]["health"] == "nothing runs"
    (steps,) = there.modules()
    assert list(steps.parent.glob("__pycache__/steps.*.pyc"))
    there.step(action.packed_code())
    assert there.modules() == [steps]


def test_another_version_finds_its_own_code(there: There) -> None:
    there.step(action.packed_code())
    there.step(action.packed_code() + b"\0")
    assert len(there.modules()) == 2


def test_a_folder_that_somebody_emptied_does_not_stop_a_rollout(there: There) -> None:
    there.step(action.packed_code())
    (steps,) = there.modules()
    steps.unlink()
    assert there.step(action.packed_code())["status"]["health"] == "nothing runs"


def test_the_same_code_makes_the_same_bytes() -> None:
    assert action.packed_code() == action.packed_code()
