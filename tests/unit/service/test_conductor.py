"""A rollout over several hosts, conducted from the control node: whatever happens, the fleet ends on one tag."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.tagboat import conductor, decide
from ansible.module_utils.tagboat.conductor import Conductor, Outcome, Requests, Wish
from ansible.module_utils.tagboat.host import CommandError
from ansible.module_utils.tagboat.steps import take
from fake_host import NEVER, FakeHost, Image
from host_story import HTTP, SECRETS, assert_settled, prepared, record, release, results, rollout

WATCH = {"seconds": 30, "factor": 3, "errors": 5}
LOST = "lost"  # instead of a host: it does not answer


class Fleet:
    """Hosts by name, and what a control node does with them."""

    def __init__(self, *names: str, **images: Image) -> None:
        self.hosts: dict[str, FakeHost | str] = {name: prepared(**images) for name in names}
        self.asked: list[tuple[str, str]] = []
        self.said: list[str] = []
        self.before: Callable[[str, str], None] = lambda _host, _step: None
        self.overheard: Callable[[dict[str, Any]], object] = lambda _request: None
        self.check = False
        self._count = 0

    def host(self, name: str) -> FakeHost:
        host = self.hosts[name]
        assert isinstance(host, FakeHost)
        return host

    def ask(self, requests: Requests, until_one_fails: bool, hold: Requests) -> dict[str, dict[str, Any]]:
        self.hold = hold
        answers: dict[str, dict[str, Any]] = {}
        for name, arguments in requests.items():
            self.asked.append((name, arguments["step"]))
            self.before(name, arguments["step"])
            self.overheard(arguments)
            host = self.hosts[name]
            if isinstance(host, str):
                answers[name] = {"unreachable": True, "msg": "cannot be reached"}
            else:
                answers[name] = {**take(arguments, check=self.check, host=host), "answered": time.monotonic()}
            if until_one_fails and answers[name].get("failed"):
                break
        return answers

    def conductor(self, action: str, **how: Any) -> Conductor:
        self._count += 1
        rollout = {"id": f"r{self._count}", "by": "ann", "what": f"{action} web", "at": how.pop("at", "")}
        interrupted = how.pop("interrupted", lambda: "")
        how = {"batches": [1, "100%"] if action == "deploy" else ["100%"], "secrets": SECRETS} | how
        wish = Wish(action=action, service="web", hosts=list(self.hosts), rollout=rollout, **how)
        self.asked.clear()
        self.check = wish.check
        return Conductor(wish, self.ask, self.said.append, interrupted)

    def _run(self, action: str, **how: Any) -> Outcome:
        return self.conductor(action, **how).run()

    def deploy(self, tag: str, **how: Any) -> Outcome:
        return self._run("deploy", tag=tag, release=release(tag, HTTP), **how)

    def roll_back(self, tag: str = "", **how: Any) -> Outcome:
        return self._run("rollback", tag=tag, **how)

    def tags(self) -> list[str]:
        return [str((record(self.host(name)).live or {}).get("tag")) for name in self.hosts]


def executions(fleet: Fleet, host: str) -> list[str]:
    return [step for name, step in fleet.asked if name == host]


def test_a_good_deploy_goes_by_the_canary_and_lets_the_leases_go() -> None:
    fleet = Fleet("web1", "web2", "web3")
    outcome = fleet.deploy("v1")
    assert not outcome.failed
    assert outcome.changed
    assert fleet.tags() == ["v1", "v1", "v1"]
    assert executions(fleet, "web1") == ["preflight", "switch", "finish"]
    assert executions(fleet, "web2") == ["preflight", "switch", "finish"]
    switches = [name for name, step in fleet.asked if step == "switch"]
    assert switches == ["web1", "web2", "web3"]
    assert "v1 (v1) is live on web1, web2, web3" in outcome.message
    assert fleet.deploy("v2").failed is False  # nobody holds a lease


def test_the_same_again_changes_nothing_migrates_nothing_and_says_so() -> None:
    fleet = Fleet("web1", "web2")
    fleet.deploy("v1")
    outcome = fleet.deploy("v1")
    assert (outcome.failed, outcome.changed) == (False, False)
    assert outcome.message.startswith("Nothing to do: web v1 is live on web1, web2")
    assert len(fleet.host("web1").migrations) == 1


def test_a_dry_run_changes_nothing_and_says_what_would_be() -> None:
    fleet = Fleet("web1", "web2")
    fleet.deploy("v1")
    before = [fleet.host(name).fingerprint() for name in fleet.hosts]
    outcome = fleet.deploy("v2", check=True)
    assert not outcome.failed
    assert outcome.message == "Dry run, nothing was changed: web would be v2 on web1, web2."
    assert [fleet.host(name).fingerprint() for name in fleet.hosts] == before
    assert [diff["prepared"].splitlines()[0] for diff in outcome.diffs] == [
        "web on web1: v1 -> v2",
        "web on web2: v1 -> v2",
    ]


def test_a_rollback_takes_two_executions_a_host_and_marks_the_tag_bad() -> None:
    fleet = Fleet("web1", "web2")
    fleet.deploy("v1")
    fleet.deploy("v2")
    outcome = fleet.roll_back()
    assert not outcome.failed
    assert fleet.tags() == ["v1", "v1"]
    assert executions(fleet, "web1") == executions(fleet, "web2") == ["preflight", "switch"]
    refused = fleet.deploy("v2")
    assert refused.failed
    assert "v2 is marked bad" in refused.message
    assert "FORCE=1" in refused.message
    assert not fleet.deploy("v2", force=True).failed


def test_bad_everywhere_stops_at_the_canary() -> None:
    fleet = Fleet("web1", "web2", v2=Image(healthy_after=NEVER))
    fleet.deploy("v1")
    outcome = fleet.deploy("v2")
    assert outcome.failed
    assert fleet.tags() == ["v1", "v1"]
    assert "switch" not in executions(fleet, "web2")
    assert "Serving now: v1 on web1, web2." in outcome.message


def test_bad_on_the_last_host_sends_the_others_back() -> None:
    fleet = Fleet("web1", "web2", "web3")
    fleet.deploy("v1")
    fleet.host("web3").registry["r1:5000/web@sha256:v2"] = Image(healthy_after=NEVER)
    outcome = fleet.deploy("v2")
    assert outcome.failed
    assert fleet.tags() == ["v1", "v1", "v1"]
    assert "Switched hosts that went back: web1, web2." in outcome.message
    assert "Serving now: v1 on web1, web2, web3." in outcome.message
    assert results(fleet.host("web1"))[:2] == [("v1", "live"), ("v2", "rolled_back")]
    for name in fleet.hosts:
        assert_settled(fleet.host(name), "v1")
    assert "marked bad" in fleet.deploy("v2").message


def test_without_undo_the_fleet_stays_mixed_and_is_told_so() -> None:
    fleet = Fleet("web1", "web2")
    fleet.deploy("v1")
    fleet.host("web2").registry["r1:5000/web@sha256:v2"] = Image(healthy_after=NEVER)
    outcome = fleet.deploy("v2", undo=False)
    assert outcome.failed
    assert fleet.tags() == ["v2", "v1"]
    assert "The fleet is mixed. Next: make status" in outcome.message


def test_a_failing_migration_switches_nothing() -> None:
    fleet = Fleet("web1", "web2")
    fleet.deploy("v1")
    fleet.host("web1").migration = CommandError("docker run --rm failed with 1: column exists")
    outcome = fleet.deploy("v2")
    assert outcome.failed
    assert fleet.tags() == ["v1", "v1"]
    assert "column exists" in outcome.message
    assert executions(fleet, "web1") == ["preflight", "switch", "undo"]
    assert executions(fleet, "web2") == ["preflight", "undo"]
    assert ("v2", "live") not in results(fleet.host("web1"))


def test_a_host_that_is_down_is_found_before_anything_changes() -> None:
    fleet = Fleet("web1", "web2")
    fleet.deploy("v1")
    gone, fleet.hosts["web2"] = fleet.hosts["web2"], LOST
    outcome = fleet.deploy("v2")
    assert outcome.failed
    assert "web2: cannot be reached" in outcome.message
    way_on = "To go on without hosts that cannot be reached: make deploy SERVICE=web TAG=v2 SKIP=1"
    assert outcome.message.endswith(way_on)
    assert fleet.roll_back().message.endswith("make rollback SERVICE=web SKIP=1")
    assert [step for _, step in fleet.asked if step == "switch"] == []
    fleet.hosts["web2"] = gone
    assert fleet.tags() == ["v1", "v1"]
    assert not fleet.deploy("v2").failed


def test_a_full_disk_refuses_a_deploy_and_no_rollback() -> None:
    fleet = Fleet("web1", "web2")
    fleet.deploy("v1")
    fleet.deploy("v2")
    fleet.host("web1").free_mb = 1
    assert "only 1 MB are free" in fleet.deploy("v3", min_free_mb=1000).message
    assert not fleet.roll_back(min_free_mb=1000).failed


def test_a_host_that_is_down_may_be_left_out_and_is_remembered() -> None:
    fleet = Fleet("web1", "web2", "web3")
    fleet.deploy("v1")
    gone, fleet.hosts["web1"] = fleet.hosts["web1"], LOST
    outcome = fleet.deploy("v2", skip_unreachable=True)
    assert not outcome.failed
    assert "goes on without web1" in " ".join(fleet.said)
    assert executions(fleet, "web2") == ["preflight", "switch", "finish"]
    assert (record(fleet.host("web3")).live or {})["skipped"] == ["web1"]
    fleet.hosts["web1"] = gone
    assert fleet.tags() == ["v1", "v2", "v2"]


def test_with_every_host_down_nothing_can_be_left_out() -> None:
    fleet = Fleet("web1", "web2")
    fleet.hosts = dict.fromkeys(fleet.hosts, LOST)
    assert fleet.deploy("v1", skip_unreachable=True).failed


def test_a_host_lost_in_the_middle_sends_the_others_back() -> None:
    fleet = Fleet("web1", "web2")
    fleet.deploy("v1")
    gone = fleet.hosts["web2"]

    def lose(host: str, step: str) -> None:
        if (host, step) == ("web2", "switch"):
            fleet.hosts["web2"] = LOST

    fleet.before = lose
    outcome = fleet.deploy("v2")
    assert outcome.failed
    assert outcome.message.count("cannot be reached") == 1
    fleet.hosts["web2"] = gone
    fleet.before = lambda _host, _step: None
    assert fleet.tags() == ["v1", "v1"]
    assert outcome.report["marked_bad"] is False
    fleet.host("web2").pass_time(61)  # its lease ends by itself
    assert not fleet.deploy("v2").failed, "the host was at fault: the tag is as good as before"


def test_rollback_asks_what_every_host_ran() -> None:
    fleet = Fleet("web1", "web2")
    outcome = fleet.deploy("v1")
    assert "no earlier release" in fleet.roll_back().message
    fleet.deploy("v2")
    outcome = fleet.roll_back("v9")
    assert outcome.failed
    assert "v9 was never live on every host. Ran everywhere: v1" in outcome.message
    assert fleet.tags() == ["v2", "v2"]


def test_two_rollouts_one_wins_and_the_other_is_told_who() -> None:
    fleet = Fleet("web1", "web2")
    fleet.deploy("v1")
    seen: list[Outcome] = []

    def another_begins(host: str, step: str) -> None:
        if (host, step) == ("web1", "switch") and not seen:
            seen.append(Outcome("", False, False, {}, [], {}))
            asked = fleet.asked
            fleet.asked = []
            seen[0] = fleet.deploy("v3")
            fleet.asked = asked

    fleet.before = another_begins
    winner = fleet.deploy("v2")
    assert not winner.failed
    assert fleet.tags() == ["v2", "v2"]
    assert seen[0].failed
    assert "ann holds the lease for web" in seen[0].message


def watched(fleet: Fleet, **how: Any) -> Outcome:
    return fleet.deploy("v2", watch=WATCH, **how)


def test_a_release_that_stays_good_is_watched_on_every_host_before_the_leases_go() -> None:
    fleet = Fleet("web1", "web2")
    fleet.deploy("v1")
    assert not watched(fleet).failed
    assert executions(fleet, "web1") == executions(fleet, "web2") == ["preflight", "switch", "watch", "finish"]
    assert fleet.tags() == ["v2", "v2"]


def test_a_release_that_crashes_while_it_is_watched_goes_back_everywhere() -> None:
    fleet = Fleet("web1", "web2")
    fleet.deploy("v1")
    fleet.host("web2").registry["r1:5000/web@sha256:v2"] = Image(exits_after=5, exit_code=3)
    outcome = watched(fleet)
    assert outcome.failed
    assert "web2: v2 got worse after the switch: the container exited with 3" in outcome.message
    assert "Switched hosts that went back: web1, web2." in outcome.message
    assert fleet.tags() == ["v1", "v1"]
    assert "v2 is marked bad" in fleet.deploy("v2").message
    assert "got worse after the switch" in fleet.deploy("v2").message


def test_a_release_that_answers_with_failures_goes_back() -> None:
    fleet = Fleet("web1", "web2")
    fleet.deploy("v1")

    def visitors(host: str, step: str) -> None:
        if (host, step) == ("web2", "watch"):
            fleet.host("web2").answers["web"] = {"requests": 200, "failures": 60}

    fleet.before = visitors
    outcome = watched(fleet)
    assert outcome.failed
    assert "60 of 200 requests were answered with a 5xx (30.0%, before 0.0%)" in outcome.message
    assert fleet.tags() == ["v1", "v1"]


@pytest.mark.parametrize(
    ("away_from", "seconds", "tags"),
    [(0, 5, ["v2", "v2"]), (28, 5, ["v2", "v2"]), (0, 600, ["v1", "v1"])],
    ids=["restarts", "restarts when the watch would end", "stays away"],
)
def test_an_engine_that_restarts_while_a_release_is_watched(away_from: float, seconds: float, tags: list[str]) -> None:
    fleet = Fleet("web1", "web2")
    fleet.deploy("v1")

    def away(host: str, step: str) -> None:
        if (host, step) == ("web2", "watch"):
            begin = fleet.host("web2").time + away_from
            fleet.host("web2").watch = lambda host: setattr(
                host, "engine_answers", not begin <= host.time < begin + seconds
            )
        elif step != "watch":  # somebody has seen to it
            fleet.host("web2").watch = None
            fleet.host("web2").engine_answers = True

    fleet.before = away
    assert watched(fleet).failed == (tags == ["v1", "v1"])
    assert fleet.tags() == tags
    assert not fleet.deploy("v2").failed, "the tag is not marked bad: it was the host"


def test_a_long_watch_keeps_the_leases() -> None:
    fleet = Fleet("web1")
    fleet.deploy("v1")
    held: list[bool] = []

    def look(host: FakeHost) -> None:
        held.append(json.loads(host.files.get("/run/tagboat/web.lease", '{"until": 0}'))["until"] > host.time)

    def watch(_host: str, step: str) -> None:
        fleet.host("web1").watch = look if step == "watch" else None

    fleet.before = watch
    assert not fleet.deploy("v2", watch=WATCH | {"seconds": 300}).failed
    assert len(held) > 100
    assert all(held)


def test_without_undo_a_release_that_got_worse_stays_and_is_told() -> None:
    fleet = Fleet("web1")
    fleet.deploy("v1")
    fleet.host("web1").registry["r1:5000/web@sha256:v2"] = Image(exits_after=5)
    outcome = watched(fleet, undo=False)
    assert outcome.failed
    assert fleet.tags() == ["v2"]


def test_watching_behind_lets_the_leases_go_and_still_goes_back() -> None:
    fleet = Fleet("web1", "web2")
    fleet.deploy("v1")
    fleet.host("web2").registry["r1:5000/web@sha256:v2"] = Image(exits_after=5)
    rollout = fleet.conductor("deploy", tag="v2", release=release("v2", HTTP), watch=WATCH, watch_behind=True)
    assert not rollout.run().failed
    assert rollout.is_to_watch
    assert fleet.tags() == ["v2", "v2"]
    assert fleet.host("web1").files.keys() & {"/run/tagboat/web.lease"} == set()
    outcome = rollout.watch()
    assert outcome is not None
    assert outcome.failed
    assert fleet.tags() == ["v1", "v1"]
    assert not fleet.deploy("v3").failed


def test_watching_behind_ends_when_another_rollout_comes() -> None:
    fleet = Fleet("web1", "web2")
    fleet.deploy("v1")
    rollout = fleet.conductor("deploy", tag="v2", release=release("v2", HTTP), watch=WATCH, watch_behind=True)
    rollout.run()
    fleet.deploy("v3")
    assert rollout.watch() is None
    assert fleet.tags() == ["v3", "v3"]


def test_whoever_listens_is_told_how_far_it_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(conductor, "LISTENERS", [told.append])
    fleet = Fleet("web1", "web2")
    fleet.deploy("v1")
    told.clear()
    report = fleet.deploy("v2").report
    assert [(entry["step"], [host["state"] for host in entry["hosts"]]) for entry in told] == [
        ("preflight", ["ready", "ready"]),
        ("switch", ["switched", "ready"]),
        ("switch", ["switched", "switched"]),
    ]
    assert (report["from_tag"], report["tag"], report["error"], report["undone"]) == ("v1", "v2", "", None)
    assert {host["tag"] for host in report["hosts"]} == {"v2"}


def test_the_report_of_a_failed_rollout_says_what_serves_and_what_went_wrong_where() -> None:
    fleet = Fleet("web1", "web2")
    fleet.deploy("v1")
    fleet.host("web2").registry["r1:5000/web@sha256:v2"] = Image(healthy_after=NEVER, says="no database")
    report = fleet.deploy("v2").report
    assert (report["failed_host"], report["step"], report["undone"]) == ("web2", "switch", True)
    assert report["log_tail"] == "no database"
    assert [(host["state"], host["tag"]) for host in report["hosts"]] == [("undone", "v1"), ("failed", "v1")]
    assert report["next_command"].startswith("make status")


def test_with_a_migration_the_first_host_goes_alone_whatever_the_batches() -> None:
    fleet = Fleet("web1", "web2", "web3")
    fleet.deploy("v1", batches=["100%"])
    switches = [name for name, step in fleet.asked if step == "switch"]
    assert switches[0] == "web1"
    assert [len(fleet.host(name).migrations) for name in fleet.hosts] == [1, 0, 0]


@pytest.mark.parametrize(
    ("sizes", "cut"),
    [
        ([1, "100%"], [["a"], ["b", "c", "d", "e"]]),
        (["100%"], [["a", "b", "c", "d", "e"]]),
        ([2], [["a", "b"], ["c", "d"], ["e"]]),
        ([1, "40%"], [["a"], ["b", "c"], ["d", "e"]]),
        (["1%"], [["a"], ["b"], ["c"], ["d"], ["e"]]),
    ],
)
def test_batches(sizes: list[int | str], cut: list[list[str]]) -> None:
    assert decide.batches(list("abcde"), sizes) == cut


@pytest.mark.parametrize(
    ("sizes", "cut"),
    [
        ([1, "100%"], [["a"], ["b", "c", "d", "e"]]),
        (["100%"], [["a"], ["b", "c", "d", "e"]]),
        ([2], [["a"], ["b", "c"], ["d", "e"]]),
        ([1], [["a"], ["b"], ["c"], ["d"], ["e"]]),
    ],
)
def test_batches_when_the_first_host_goes_alone(sizes: list[int | str], cut: list[list[str]]) -> None:
    assert decide.batches(list("abcde"), sizes, alone_first=True) == cut


def test_ctrl_c_ends_the_step_under_way_and_sends_back_who_had_switched() -> None:
    fleet = Fleet("web1", "web2")
    fleet.deploy("v1")
    pressed: list[str] = []

    def press(host: str, step: str) -> None:
        if (host, step) == ("web1", "switch"):
            pressed.append("interrupted by SIGINT")

    fleet.before = press
    outcome = fleet.deploy("v2", interrupted=lambda: "".join(pressed))
    assert outcome.failed
    assert outcome.message.startswith("interrupted by SIGINT\nSwitched hosts that went back: web1.")
    assert fleet.tags() == ["v1", "v1"]
    assert not any(fleet.host(name).files.get("/run/tagboat/web.lease") for name in fleet.hosts)


def test_a_host_that_wakes_up_after_it_was_given_up_does_not_switch_alone() -> None:
    fleet = Fleet("web1", "web2")
    fleet.deploy("v1")
    woken = fleet.host("web2")
    late: list[dict[str, Any]] = []

    def sleep(host: str, step: str) -> None:
        if (host, step) == ("web2", "switch"):
            fleet.hosts["web2"] = LOST

    fleet.before, fleet.overheard = sleep, late.append
    assert fleet.deploy("v2").failed
    woken.pass_time(61)  # its lease has expired too: that alone keeps nobody away
    request = next(one for one in late if (one["host_name"], one["step"]) == ("web2", "switch"))
    answer = take(request, host=woken)
    assert answer["failed"]
    assert answer["msg"].startswith("this came 46 s too late, when the rollout had given this host up")
    assert answer["status"]["live"]["tag"] == "v1"


@pytest.fixture
def slow_pull(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Two hosts, of which the second takes minutes to get ready, when the first one is; it is asked to hold on."""
    fleet = Fleet("web1", "web2")
    passed = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: passed[0])

    def slow(host: str, step: str) -> None:
        for _ in range(4 if (host, step) == ("web2", "preflight") else 0):
            passed[0] += conductor.HOLD_SECONDS
            for each in fleet.hosts:
                fleet.host(each).pass_time(conductor.HOLD_SECONDS)
            take(fleet.hold["web1"], host=fleet.host("web1"))
            fleet.said.append(f"held: {lease_of(fleet, 'web1') is not None}")

    fleet.before = slow
    return fleet


def lease_of(fleet: Fleet, host: str) -> dict[str, Any] | None:
    return rollout(fleet.host(host), "somebody else").lease.holder()


def test_a_host_that_was_ready_long_before_the_others_is_not_too_late(slow_pull: Fleet) -> None:
    outcome = slow_pull.deploy("v1")
    assert not outcome.failed, outcome.message
    assert slow_pull.tags() == ["v1", "v1"]


def test_hosts_that_wait_for_others_keep_their_leases(slow_pull: Fleet) -> None:
    slow_pull.deploy("v1")
    assert [line for line in slow_pull.said if line.startswith("held")] == ["held: True"] * 4


def test_to_hold_on_takes_no_lease_that_was_let_go(slow_pull: Fleet) -> None:
    slow_pull.deploy("v1")
    take(slow_pull.hold["web1"], host=slow_pull.host("web1"))
    assert lease_of(slow_pull, "web1") is None


def test_a_connection_that_broke_behind_a_switch_does_not_hide_that_it_switched() -> None:
    fleet = Fleet("web1", "web2")
    fleet.deploy("v1")

    def twice(request: dict[str, Any]) -> None:
        if (request["host_name"], request["step"]) == ("web1", "switch"):
            take(request, host=fleet.host("web1"))  # and its answer is lost, so that Ansible asks again

    fleet.overheard = twice
    outcome = fleet.deploy("v2", watch=WATCH)
    assert not outcome.failed
    assert ("web1", "watch") in fleet.asked
    assert any(line.startswith("web1 switched to v2") for line in fleet.said)


def test_times_in_the_record_are_the_control_nodes_so_that_hosts_can_be_compared() -> None:
    fleet = Fleet("web1")
    fleet.deploy("v1", at="2026-01-02T03:04:05Z")
    live = record(fleet.host("web1")).live
    assert live is not None
    assert live["at"] == "2026-01-02T03:04:05Z"


def test_a_host_lost_after_all_is_done_is_no_failure_and_is_told() -> None:
    fleet = Fleet("web1", "web2")
    fleet.deploy("v1")

    def lose(host: str, step: str) -> None:
        if (host, step) == ("web1", "finish"):
            fleet.hosts["web1"] = LOST

    fleet.before = lose
    assert not fleet.deploy("v2").failed
    assert "web1 could not be told that it is over: the lease there ends by itself within a minute" in fleet.said
