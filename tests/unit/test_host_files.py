"""Many files in one remote execution: each as it should be, whole or not at all, and a dry run that only looks."""

from __future__ import annotations

import base64
import grp
import json
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plugin_loading
import pytest

action = plugin_loading.load("playbooks/plugins/action/host_files.py")
MODULE = plugin_loading.ROOT / "playbooks/plugins/modules/host_files.py"
ME = {"owner": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name}

Keep = Callable[..., dict[str, Any]]


@pytest.fixture
def keep(tmp_path: Path) -> Keep:
    """Run the module as Ansible does, on entries below `tmp_path`."""

    def run(*entries: dict[str, Any], check: bool = False) -> dict[str, Any]:
        files = []
        for entry in action.checked([{**ME, **entry, "path": f"{tmp_path}/{entry['path']}"} for entry in entries]):
            text = str(entry.pop("content", ""))
            files.append({**entry, "content": base64.b64encode(text.encode()).decode()})
        payload = base64.b64encode(json.dumps(files).encode()).decode()
        arguments = {"payload": payload, "_ansible_check_mode": check, "_ansible_diff": True}
        done = subprocess.run(
            [sys.executable, str(MODULE)],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return run


FOLDER = {"path": "conf", "folder": True, "mode": "0700"}
FILE = {"path": "conf/demo.conf", "content": "one\n", "mode": "0640"}


def test_what_is_missing_is_made_and_then_left_alone(keep: Keep, tmp_path: Path) -> None:
    assert keep(FOLDER, FILE)["paths"] == [f"{tmp_path}/conf", f"{tmp_path}/conf/demo.conf"]
    assert (tmp_path / "conf/demo.conf").read_text() == "one\n"
    assert [(tmp_path / path).stat().st_mode & 0o7777 for path in ("conf", "conf/demo.conf")] == [0o700, 0o640]
    again = keep(FOLDER, FILE)
    assert (again["changed"], again["paths"], again["diff"]) == (False, [], [])


def test_a_dry_run_shows_the_difference_and_touches_nothing(keep: Keep, tmp_path: Path) -> None:
    dry = keep(FOLDER, FILE, check=True)
    assert dry["changed"]
    assert dry["diff"][0]["after"] == "one\n"
    assert list(tmp_path.iterdir()) == []
    keep(FOLDER, FILE)
    assert not keep(FOLDER, FILE, check=True)["changed"]
    (difference,) = keep(FOLDER, FILE | {"content": "two\n"}, check=True)["diff"]
    assert (difference["before"], difference["after"]) == ("one\n", "two\n")
    assert (tmp_path / "conf/demo.conf").read_text() == "one\n"


def test_a_mode_that_was_changed_by_hand_is_set_back(keep: Keep, tmp_path: Path) -> None:
    keep(FOLDER, FILE)
    (tmp_path / "conf/demo.conf").chmod(0o666)
    assert keep(FOLDER, FILE)["paths"] == [f"{tmp_path}/conf/demo.conf"]
    assert (tmp_path / "conf/demo.conf").stat().st_mode & 0o7777 == 0o640


def test_one_that_is_refused_stays_as_it_was_and_ends_it(keep: Keep, tmp_path: Path) -> None:
    good = FILE | {"validate": "grep -q one %s"}
    keep(FOLDER, good)
    answer = keep(good | {"content": "two\n"}, {"path": "later", "content": ""})
    assert answer["failed"]
    assert f"{tmp_path}/conf/demo.conf stays as it was, the new one was refused" in answer["msg"]
    assert (tmp_path / "conf/demo.conf").read_text() == "one\n"
    assert [path.name for path in (tmp_path / "conf").iterdir()] == ["demo.conf"], "nothing half written is left"
    assert not (tmp_path / "later").exists()


def test_one_that_cannot_be_written_is_named(keep: Keep, tmp_path: Path) -> None:
    answer = keep(FILE)
    assert answer["msg"] == f"{tmp_path}/conf/demo.conf cannot be kept as it should be: No such file or directory"


def test_what_is_made_once_is_left_alone(keep: Keep, tmp_path: Path) -> None:
    once = {"path": "state", "content": "", "once": True}
    assert keep(once)["changed"]
    (tmp_path / "state").write_text("somebody else's")
    assert not keep(once)["changed"]
    assert (tmp_path / "state").read_text() == "somebody else's"


def test_a_secret_is_in_no_answer(keep: Keep, tmp_path: Path) -> None:
    answer = keep({"path": "key", "content": "hunter2hunter2", "mode": "0600", "secret": True})
    assert (tmp_path / "key").read_text() == "hunter2hunter2"
    assert answer["diff"] == []
    assert "hunter2" not in json.dumps(answer)
    assert base64.b64encode(b"hunter2").decode()[:8] not in json.dumps(answer), "nor in what the module was told"


def test_a_wrong_entry_is_named_without_its_text() -> None:
    with pytest.raises(ValueError, match="entry 1 of files") as refused:
        action.checked([{"path": "relative", "content": "hunter2"}])
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"path": "etc/x", "content": ""}, "needs an absolute path"),
        ({"path": "/x", "content": "", "onwer": "root"}, "/x: unknown key onwer. Known: path, template"),
        ({"path": "/x"}, "/x: a file needs one of template, content, source, a folder none"),
        ({"path": "/x", "content": "", "template": "x.j2"}, "/x: a file needs one of"),
        ({"path": "/x", "folder": True, "content": ""}, "a folder none"),
        ({"path": "/x", "content": "", "mode": 420}, "mode is to be in quotation marks"),
        ({"path": "/x", "content": "", "secret": "yes"}, "/x: secret is to be true or false"),
    ],
)
def test_a_wrong_entry_is_refused_before_any_host_is_asked(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        action.checked([entry])
