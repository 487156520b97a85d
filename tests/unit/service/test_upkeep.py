"""What people read of maintenance, freezes and logs."""

import json
from typing import Any

import plugin_loading
from ansible.module_utils.tagboat import decide

upkeep = plugin_loading.load("roles/service/filter_plugins/upkeep.py")
FREEZE = {"by": "ann", "until": "2026-01-01T08:00:00Z", "reason": "release week", "since": "2026-01-01T04:00:00Z"}


def logged(*entries: tuple[float, Any]) -> dict[str, Any]:
    """What journalctl --reverse answered."""
    lines = [json.dumps({"__REALTIME_TIMESTAMP": str(int(at * 1e6)), "MESSAGE": text}) for at, text in entries]
    return {"__service_log": {"stdout_lines": lines[::-1]}}


class TestLogs:
    def test_hosts_are_merged_by_time(self) -> None:
        hostvars = {"web1": logged((1, "one"), (3, "three")), "web12": logged((2, "two"))}
        assert upkeep.merged_logs(["web1", "web12"], hostvars, "web").splitlines() == [
            "1970-01-01T00:00:01Z web1  | one",
            "1970-01-01T00:00:02Z web12 | two",
            "1970-01-01T00:00:03Z web1  | three",
        ]

    def test_lines_of_one_instant_stay_in_their_order(self) -> None:
        shown = upkeep.merged_logs(["web1"], {"web1": logged((1, "a"), (1, "b"), (1, "c"))}, "web")
        assert [line[-1] for line in shown.splitlines()] == ["a", "b", "c"]

    def test_every_line_of_an_entry_has_its_host_and_bytes_are_readable(self) -> None:
        hostvars = {"web1": logged((1, "Traceback\n  boom"), (2, list(b"caf\xe9")), (3, None))}
        assert [line.split(" | ")[1] for line in upkeep.merged_logs(["web1"], hostvars, "web").splitlines()] == [
            "Traceback",
            "  boom",
            "caf\ufffd",
            "",
        ]

    def test_silence_is_said(self) -> None:
        assert "wrote nothing" in upkeep.merged_logs(["web1"], {"web1": {}}, "web")

    def test_a_host_that_does_not_answer_is_named(self) -> None:
        hostvars = {"web1": logged((1, "one")), "web2": {"__service_log": {"unreachable": True}}, "web3": {}}
        hostvars["web4"] = {"__service_log": {"failed": True, "msg": "non-zero", "stderr": "no journal"}}
        assert upkeep.failures(["web1", "web2", "web3", "web4"], hostvars, "__service_log") == [
            "web2: it cannot be reached by SSH",
            "web3: it cannot be reached by SSH",
            "web4: no journal",
        ]


class TestMaintenance:
    def test_on_says_how_to_end_it(self) -> None:
        said = upkeep.maintenance_report(["web1", "web2"], {}, "web", "on")
        assert "on web1, web2" in said
        assert said.endswith("make maintenance SERVICE=web STATE=off")

    def test_off_says_what_serves_and_how_well(self) -> None:
        status = {"live": {"tag": "v2"}, "health": "503 no database"}
        said = upkeep.maintenance_report(["web1"], {"web1": {"__service_maintained": {"status": status}}}, "web", "off")
        assert said.splitlines() == ["web is out of maintenance on web1.", "web1: v2, 503 no database"]


class TestFreeze:
    def report(self, state: str, dry_run: bool = False, **result: Any) -> str:
        said: str = upkeep.freeze_report(["web1"], {"web1": {"__service_frozen": result}}, state, dry_run)
        return said

    def test_who_until_when_why_and_how_to_end_it(self) -> None:
        assert self.report("present", freeze=FREEZE, changed=True) == (
            "Deploys are frozen by ann until 2026-01-01T08:00:00Z: release week. On web1."
            " Rollbacks are allowed. To end it: make thaw"
        )

    def test_thawed(self) -> None:
        assert self.report("absent", freeze=None, changed=True) == "Deploys are allowed again on web1."
        assert self.report("absent", freeze=None, changed=False) == "Nothing was frozen."

    def test_a_dry_run_says_would(self) -> None:
        assert self.report("present", dry_run=True, freeze=None, changed=True) == "Would freeze web1."

    def test_no_host_followed(self) -> None:
        assert self.report("present", unreachable=True) == "No host followed."


def test_status_shows_freezes_and_maintenance() -> None:
    status: dict[str, Any] = {
        "live": None,
        "health": "nothing runs",
        "releases": [],
        "freeze": FREEZE,
        "maintenance": True,
    }
    other = {**status, "freeze": {**FREEZE, "until": "2026-01-01T08:00:03Z"}}
    lines = decide.status_table({"web": {"web1": status, "web2": other}}).splitlines()
    assert lines[-2:] == [
        "Deploys are frozen by ann until 2026-01-01T08:00:03Z: release week. On web1, web2. To end it: make thaw",
        "web is in maintenance on web1, web2. To end it: make maintenance SERVICE=web STATE=off",
    ]


def test_history_shows_why_a_freeze_was_overridden() -> None:
    release = {"tag": "v2", "result": "live", "at": "now", "by": "ann", "digest": "sha256:2", "forced": "a fix"}
    assert decide.history_table({"web1": {"releases": [release]}}, "web").endswith("forced: a fix")
