"""`ops-bot dashboards` against a Datadog that has others' dashboards too."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import server as faults
from fakes.datadog_boards import FakeBoards

from ops_bot import cli
from ops_bot.sinks import datadog_boards

REPOSITORY = Path(__file__).resolve().parents[2]
Run = Callable[..., int]
OTHERS_DASHBOARD = {
    "id": "xyz",
    "title": "Tagboat: deploys",
    "description": "of another team",
    "layout_type": "ordered",
    "widgets": [],
}
OTHERS_MONITOR = {
    "id": 1,
    "name": "Tagboat: a disk fills",
    "type": "query alert",
    "query": "avg(last_5m):avg:system.load.1{*} > 9",
    "message": "",
    "tags": ["managed-by:somebody"],
}


@pytest.fixture
def datadog() -> Iterator[FakeBoards]:
    with FakeBoards() as fake:
        for number in range(120):  # more than come on one page
            fake.dashboards[f"other-{number}"] = OTHERS_DASHBOARD | {"id": f"other-{number}"}
            fake.monitors[str(number)] = OTHERS_MONITOR | {"id": number}
        yield fake


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(REPOSITORY / "dashboards", tmp_path / "dashboards"))


@pytest.fixture
def ops_bot(datadog: FakeBoards, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name, value in {
        "DATADOG_API_KEY": "api",
        "DATADOG_APP_KEY": "app",
        "DATADOG_URL": f"http://127.0.0.1:{datadog.port}",
        "DASHBOARDS_DIR": str(folder),
    }.items():
        monkeypatch.setenv(f"OPS_BOT_{name}", value)
    return lambda *words: cli.main(["dashboards", *words])


def ours(datadog: FakeBoards) -> int:
    return len(datadog.dashboards) + len(datadog.monitors) - 240


def test_diff_changes_nothing_and_says_what_would(ops_bot: Run, datadog: FakeBoards, capsys: Any) -> None:
    assert ops_bot("diff") == 0
    assert ops_bot("diff", "--exit-code") == 1
    said = capsys.readouterr().out
    assert "create  dashboard deploys" in said
    assert "create  monitor   heartbeat" in said
    assert "13 to make; type: ops-bot dashboards push" in said
    assert datadog.changes == []


def test_push_makes_them_and_a_second_time_nothing(ops_bot: Run, datadog: FakeBoards, capsys: Any) -> None:
    assert ops_bot("push") == 0
    assert capsys.readouterr().out.endswith("13 made\n")
    assert ours(datadog) == 13
    before = len(datadog.changes)
    assert ops_bot("push") == 0
    assert ops_bot("diff", "--exit-code") == 0
    assert capsys.readouterr().out == "Datadog has what the files say\n" * 2
    assert len(datadog.changes) == before


def test_a_composed_monitor_names_its_parts_by_their_ids(ops_bot: Run, datadog: FakeBoards) -> None:
    ops_bot("push")
    by_name = {one["name"]: one for one in datadog.monitors.values()}
    parts = [
        by_name["Tagboat: answers are errors of ours"],
        by_name["Tagboat: a release was moved in the last half hour"],
    ]
    assert by_name["Tagboat: 5xx after a deploy"]["query"] == f"{parts[0]['id']} && {parts[1]['id']}"


def test_what_others_have_is_never_touched(ops_bot: Run, datadog: FakeBoards) -> None:
    others = json.dumps([[*datadog.dashboards.values()], [*datadog.monitors.values()]])
    for words in (["push"], ["push", "--prune"]):
        ops_bot(*words)
    kept = [
        [one for one in datadog.dashboards.values() if one["id"].startswith("other-")],
        [one for one in datadog.monitors.values() if one["id"] < 1000],
    ]
    assert json.dumps(kept) == others


def test_a_change_by_hand_is_shown_and_undone(ops_bot: Run, datadog: FakeBoards, capsys: Any) -> None:
    ops_bot("push")
    (disk,) = [one for one in datadog.monitors.values() if one["name"] == "Tagboat: a disk fills" and one["id"] >= 1000]
    disk["message"] = "nobody"
    capsys.readouterr()
    ops_bot("push")
    said = capsys.readouterr().out
    assert '-  "message": "nobody",' in said
    assert said.endswith("1 changed\n")
    assert "make prune" in datadog.monitors[str(disk["id"])]["message"]


def test_without_prune_nothing_is_deleted(ops_bot: Run, datadog: FakeBoards, folder: Path, capsys: Any) -> None:
    ops_bot("push")
    for name in ("eval.json", "monitors/answers_5xx_after_deploy.json", "monitors/answers_5xx.json"):
        (folder / name).unlink()
    assert ops_bot("push") == 0
    assert ours(datadog) == 13
    assert "no file here is it" in capsys.readouterr().out
    assert ops_bot("push", "--prune") == 0
    assert ours(datadog) == 10
    assert capsys.readouterr().out.endswith("3 deleted\n")


def test_a_push_that_is_cut_off_is_finished_by_the_next_one(ops_bot: Run, datadog: FakeBoards, capsys: Any) -> None:
    datadog.fail(faults.ACCEPT_THEN_RESET, on="monitor")  # listing them
    assert ops_bot("push") == 1
    assert "Datadog does not answer at http://127.0.0.1" in capsys.readouterr().err
    calls = iter([None, faults.ACCEPT_THEN_RESET])
    datadog.outage = lambda request: next(calls, None) if request.verb == "POST" else None
    assert ops_bot("push") == 1
    datadog.heal()
    assert ops_bot("push") == 0
    assert ours(datadog) == 13, "the one whose answer was lost was not made twice"


def test_asked_to_wait_it_waits(ops_bot: Run, datadog: FakeBoards, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(datadog_boards.Boards.__init__, "__defaults__", (waited.append,))
    datadog.fail(faults.status(429, X_RateLimit_Reset="7"), faults.status(429, b"", Retry_After="soon"), on="dashboard")
    assert ops_bot("push") == 0
    assert waited == [7, 5]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (faults.status(403, b'{"errors": ["Forbidden"]}'), "Datadog refuses the keys (403)"),
        (faults.status(403), "Datadog refuses the keys (403)"),
        (faults.status(500, b"oops"), "Datadog refused: 500 oops"),
        (faults.status(302, Location="https://example.com/"), "Datadog refused: 302"),
        (faults.RESET, "Datadog does not answer at http://127.0.0.1"),
        (faults.HTML_PAGE, "is not Datadog"),
        (faults.TRUNCATED_JSON, "is not Datadog"),
        (faults.says({"errors": ["no"]}), "no"),
        (faults.says({"dashboards": "many"}), "something else than a list"),
        (faults.says([]), "something else than a list"),
    ],
)
def test_what_goes_wrong_is_said(ops_bot: Run, datadog: FakeBoards, capsys: Any, fault: Any, said: str) -> None:
    datadog.fail(fault, on="dashboard")
    assert ops_bot("push") == 1
    told = capsys.readouterr().err
    assert told.startswith("ops-bot: ")
    assert said in told
    assert "Traceback" not in told
    assert datadog.changes == []


def test_without_keys_it_says_which(ops_bot: Run, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.delenv("OPS_BOT_DATADOG_APP_KEY")
    assert ops_bot("diff") == 1
    assert capsys.readouterr().err == "ops-bot: set OPS_BOT_DATADOG_API_KEY and OPS_BOT_DATADOG_APP_KEY\n"


def test_a_mistake_in_the_data_is_told_with_datadogs_words(ops_bot: Run, folder: Path, capsys: Any) -> None:
    path = folder / "monitors/disk.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"type": "nonsense"}))
    assert ops_bot("push") == 1
    assert "Datadog refused: 400" in capsys.readouterr().err
