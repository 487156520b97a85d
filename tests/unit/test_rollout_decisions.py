"""What a rollout decides with all hosts in view, and what people read of it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.tagboat import decide

SPEC = {"memory_mb": 256}


def entry(tag: str, result: str, **more: Any) -> dict[str, Any]:
    return {
        **{"tag": tag, "result": result, "digest": f"sha256:{tag:0<64}", "spec": SPEC},
        **{"by": "ann", "at": f"2026-01-0{tag[1:]}T10:00:00Z", "rollout": f"r-{tag}"},
        **more,
    }


def status(*releases: dict[str, Any], **more: Any) -> dict[str, Any]:
    live = next((release for release in releases if release["result"] == "live"), None)
    return {"live": live, "releases": list(releases), "health": "healthy", "lease": None} | more


TWO = status(entry("v2", "live"), entry("v1", "standby"))


# Rollback: which release


def test_back_to_the_last_release_that_ran_everywhere() -> None:
    assert decide.choose_rollback({"web1": TWO, "web2": TWO}, "", "web") == {"tag": "v1"}


def test_not_to_one_that_only_some_hosts_ran() -> None:
    web1 = status(entry("v3", "live"), entry("v2", "standby"), entry("v1", "replaced"))
    web2 = status(entry("v3", "live"), entry("v1", "standby"))
    assert decide.choose_rollback({"web1": web1, "web2": web2}, "", "web") == {"tag": "v1"}


def test_not_to_one_that_is_marked_bad_on_any_host() -> None:
    web1 = status(entry("v3", "live"), entry("v2", "replaced"), entry("v1", "replaced"))
    web2 = status(entry("v3", "live"), entry("v2", "rolled_back"), entry("v1", "replaced"))
    assert decide.choose_rollback({"web1": web1, "web2": web2}, "", "web") == {"tag": "v1"}


def test_not_to_one_that_failed_the_last_time() -> None:
    both = status(entry("v3", "live"), entry("v2", "failed"), entry("v2", "replaced"), entry("v1", "replaced"))
    assert decide.choose_rollback({"web1": both}, "", "web") == {"tag": "v1"}


def test_a_mixed_fleet_goes_to_what_all_of_it_ran() -> None:
    web1 = status(entry("v2", "live"), entry("v1", "standby"))
    web2 = status(entry("v1", "live"))
    assert decide.choose_rollback({"web1": web1, "web2": web2}, "", "web") == {"tag": "v1"}


def test_a_person_may_choose_even_a_bad_one_that_ran_everywhere() -> None:
    both = status(entry("v3", "live"), entry("v2", "rolled_back"), entry("v1", "replaced"))
    assert decide.choose_rollback({"web1": both}, "v2", "web") == {"tag": "v2"}


def test_a_tag_that_never_ran_everywhere_is_refused_with_those_that_did() -> None:
    assert decide.choose_rollback({"web1": TWO}, "v9", "web") == {
        "failed": True,
        "msg": "web v9 was never live on every host. Ran everywhere: v1. Next: make rollback SERVICE=web TAG=v1",
    }
    only = decide.choose_rollback({"web1": status(entry("v1", "live"))}, "v9", "web")
    assert only["msg"] == "web v9 was never live on every host. No other release ran everywhere."


@pytest.mark.parametrize("first", [status(entry("v1", "live")), status(), status(entry("v1", "failed"))])
def test_with_nothing_to_go_back_to(first: dict[str, Any]) -> None:
    assert decide.choose_rollback({"web1": first}, "", "web") == {
        "failed": True,
        "msg": "web has no earlier release that was live on every host and is not marked bad."
        " Next: make deploy SERVICE=web TAG=...",
    }


def test_the_release_restored_is_the_hosts_own_newest_of_that_tag_that_was_good() -> None:
    newer = entry("v1", "replaced", spec={"memory_mb": 512})
    releases = [entry("v2", "live"), entry("v1", "failed"), newer, entry("v1", "replaced")]
    assert decide.release_of(releases, "v1") is newer
    with pytest.raises(LookupError, match="v9 was never live here"):
        decide.release_of(releases, "v9")


# Deploy: may it


def wanted(tag: str, **more: Any) -> dict[str, Any]:
    return {"tag": tag, "digest": f"sha256:{tag:0<64}", "spec": SPEC} | more


def test_a_new_tag() -> None:
    assert decide.choose_deploy({"web1": TWO}, wanted("v3"), "web", False) == {"tag": "v3", "differs": True}


def test_what_is_live_everywhere_differs_nowhere() -> None:
    assert decide.choose_deploy({"web1": TWO, "web2": TWO}, wanted("v2"), "web", False)["differs"] is False
    assert decide.choose_deploy({"web1": TWO, "web2": TWO}, wanted("v2"), "web", True)["differs"] is True


@pytest.mark.parametrize(
    "other", [status(), status(entry("v1", "live")), status(entry("v2", "live", spec={"memory_mb": 512}))]
)
def test_one_host_that_differs_is_enough(other: dict[str, Any]) -> None:
    assert decide.choose_deploy({"web1": TWO, "web2": other}, wanted("v2"), "web", False)["differs"] is True


def test_a_tag_marked_bad_on_any_host_is_refused_saying_why() -> None:
    bad = status(entry("v2", "live"), entry("v3", "failed", reason="the container exited with 1"))
    assert decide.choose_deploy({"web1": TWO, "web2": bad}, wanted("v3"), "web", False) == {
        "failed": True,
        "msg": "web v3 is marked bad since 2026-01-03T10:00:00Z on web2: the container exited with 1."
        " Next: build a new tag, or, knowing better: make deploy SERVICE=web TAG=v3 FORCE=1",
    }
    forced = decide.choose_deploy({"web1": TWO, "web2": bad}, wanted("v3"), "web", True)
    assert forced == {"tag": "v3", "differs": True}


def test_a_tag_that_was_bad_once_and_good_since_is_good() -> None:
    assert decide.bad_tag({"web1": status(entry("v3", "live"), entry("v3", "failed"))}, "v3") == ""


# Texts


def test_success() -> None:
    both = {"web1": TWO, "web2": TWO}
    assert decide.success(both, "deploy", "web", True) == (
        "web deployed: v2 (v20000000000) is live on web1, web2. To go back: make rollback SERVICE=web"
    )
    assert decide.success(both, "rollback", "web", True) == "web rolled back: v2 (v20000000000) is live on web1, web2."
    assert decide.success(both, "deploy", "web", False) == (
        "Nothing to do: web v2 is live on web1, web2 already, with the same configuration."
    )


def refused(host: str, message: str, log: str = "") -> dict[str, str]:
    return {"host": host, "step": "switch", "message": message, "log": log}


def test_a_verdict_says_why_what_serves_and_what_to_type() -> None:
    text = decide.verdict(
        [refused("web2", "v2 was refused: not healthy within 30 s", "no route\nto data1")],
        {"web1": status(entry("v1", "live")), "web2": status(entry("v1", "live"))},
        "web",
        ["web1"],
    )
    assert text.splitlines() == [
        "web2: v2 was refused: not healthy within 30 s",
        "    | no route",
        "    | to data1",
        "Switched hosts that went back: web1.",
        "Serving now: v1 on web1, web2.",
        "Next: make status, make logs SERVICE=web",
    ]


def test_the_same_refusal_of_many_hosts_is_told_once() -> None:
    text = decide.verdict([refused("web1", "x"), refused("web2", "x"), refused("web3", "y")], {}, "web", [])
    assert text.splitlines()[:2] == ["web1, web2: x", "web3: y"]


def test_a_mixed_fleet_is_said_to_be_mixed() -> None:
    statuses = {"web1": TWO, "web2": status(entry("v1", "live")), "web3": status()}
    assert decide.verdict([refused("web2", "x")], statuses, "web", []).splitlines()[-2:] == [
        "Serving now: v2 on web1; v1 on web2; no release on web3.",
        "The fleet is mixed. Next: make status",
    ]


def test_status_table() -> None:
    assert decide.status_table({"web": {"web1": TWO, "web2": TWO}}, ["web3"]).splitlines() == [
        "SERVICE  HOST  TAG  DIGEST        SINCE                 BY   HEALTH",
        "web      web1  v2   v20000000000  2026-01-02T10:00:00Z  ann  healthy",
        "web      web2  v2   v20000000000  2026-01-02T10:00:00Z  ann  healthy",
        "web3 did not tell",
    ]


def test_status_of_a_mixed_fleet_names_the_command_that_mends_it() -> None:
    older = status(entry("v1", "live"))
    text = decide.status_table({"web": {"web1": TWO, "web2": older, "web3": older, "web4": status()}})
    assert text.splitlines()[-1] == (
        "web is mixed: v2 on web1; v1 on web2, web3; no release on web4. To mend it: make deploy SERVICE=web TAG=v1"
    )


def test_what_mends_a_mixed_fleet_is_no_tag_that_would_be_refused() -> None:
    failed = status(entry("v1", "live"), entry("v2", "failed"))
    text = decide.status_table({"web": {"web1": TWO, "web2": TWO, "web3": failed}})
    assert text.endswith("To mend it: make deploy SERVICE=web TAG=v1")


def test_status_tells_who_is_at_work() -> None:
    busy = status(entry("v2", "live"), lease={"by": "bob", "what": "deploy web v3"})
    assert decide.status_table({"web": {"web1": busy}}).splitlines()[-1] == "web: bob is at work on web1: deploy web v3"


def test_status_of_nothing() -> None:
    assert decide.status_table({}, ["web1"]) == "No service runs anywhere yet.\nweb1 did not tell"


def test_history_tells_a_rollout_once_newest_first_and_bounded() -> None:
    web1 = status(entry("v3", "failed", reason="x" * 200), entry("v2", "live"), entry("v1", "standby"))
    assert decide.history_table({"web1": web1, "web2": TWO}, "web", limit=2).splitlines() == [
        "HISTORY OF web        TAG  RESULT  BY   HOSTS      WHY",
        f"2026-01-03T10:00:00Z  v3   failed  ann  web1       {'x' * 97}...",
        "2026-01-02T10:00:00Z  v2   live    ann  web1 web2",
    ]


def test_the_fleets_release_is_what_most_hosts_run_and_the_newest_of_those() -> None:
    one, two = status(entry("v1", "live")), TWO
    assert (decide.fleet_release([one, one, two]) or {})["tag"] == "v1"
    assert (decide.fleet_release([one, two]) or {})["tag"] == "v2"
    assert decide.fleet_release([status(), status()]) is None
    assert decide.fleet_release([]) is None


HOSTVARS: dict[str, Any] = {
    "web1": {"__service_statuses": {"statuses": {"web": TWO, "old": TWO}, "orphans": ["old"]}},
    "web2": {"__service_statuses": {"unreachable": True}},
    "web3": {},
}


def test_gathered() -> None:
    assert decide.gathered(["web1", "web2", "web3"], HOSTVARS) == {"web": {"web1": TWO}, "old": {"web1": TWO}}
    assert decide.mute(["web1", "web2", "web3"], HOSTVARS) == ["web2", "web3"]


def test_a_service_that_nothing_deploys_is_shown_with_the_way_to_remove_it() -> None:
    stray = decide.orphans(["web1", "web2", "web3"], HOSTVARS)
    assert stray == {"old": ["web1"]}
    shown = decide.status_table({"old": {"web1": TWO}}, (), stray)
    assert "old is on web1, where services.yml has no such service" in shown
    assert "make remove SERVICE=old" in shown
