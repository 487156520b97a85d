"""The bot is a service like any other, and what the playbooks do is told there: once, whole, and with the way back."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from faults import wait_for
from fleet import Fleet
from story import Tags, tags_built


@pytest.fixture(scope="module")
def bot(fleet: Fleet) -> Fleet:
    """A fleet whose ops host runs the bot, as this checkout has it."""
    build = fleet.play("build", image="ops_bot")
    assert build.ok, build.tail
    run = fleet.play("deploy", service="ops_bot", tag=tags_built(build, "ops_bot")[-1], watch="off")
    assert run.ok, run.tail
    return fleet


def stories(fleet: Fleet) -> list[dict[str, Any]]:
    """What happened, newest first."""
    told: list[dict[str, Any]] = json.loads(fleet.ops_bot("history --limit 100 --json"))
    return told


def newest(fleet: Fleet, kind: str, service: str) -> dict[str, Any]:
    return next((s for s in stories(fleet) if s["kind"] == kind and s["service"] == service), {})


def test_its_own_build_and_deploy_waited_for_it_and_are_told(bot: Fleet) -> None:
    wait_for(lambda: newest(bot, "deploy", "ops_bot").get("state") == "finished")
    assert any(story["kind"] == "build" and story["image"] == "ops_bot" for story in stories(bot))


def test_a_deploy_and_its_rollback_are_two_stories_with_the_hosts_in_them(bot: Fleet, tags: Tags) -> None:
    assert bot.play("deploy", service="web", tag=tags.first, watch="off", force=True).ok
    assert bot.play("deploy", service="web", tag=tags.second, watch="off", force=True).ok
    assert bot.play("rollback", service="web").ok
    wait_for(lambda: newest(bot, "rollback", "web").get("state") == "finished")
    story = newest(bot, "rollback", "web")
    assert (story["from_tag"], story["tag"]) == (tags.second, tags.first)
    assert {host["name"]: host["tag"] for host in story["hosts"]} == dict.fromkeys(bot.web_hosts(), tags.first)


def test_a_refused_deploy_says_what_serves_and_why(bot: Fleet, tags: Tags) -> None:
    run = bot.play("deploy", service="web", tag=tags.never_healthy, watch="off", force=True)
    assert not run.ok
    wait_for(lambda: newest(bot, "deploy", "web").get("state") == "failed")
    story = newest(bot, "deploy", "web")
    assert "search index: no answer" in story["error"]
    assert {host["tag"] for host in story["hosts"]} == {tags.first}


def test_a_ledger_is_put_back_while_the_bot_is_stopped(bot: Fleet) -> None:
    known = {story["correlation"] for story in stories(bot)[:20]}
    bot.host("ops1", "systemctl start tagboat-ops-bot-backup.service")
    backup = bot.host("ops1", "ls -t /var/backups/ops_bot/* | head -n 1").strip()
    assert "is in use" in bot.host("ops1", f"ops-bot restore {backup} 2>&1 || true")
    unit = bot.host("ops1", "systemctl list-units --plain --no-legend 'ops_bot@*' | cut -d ' ' -f 1").strip()
    bot.host("ops1", f"systemctl stop {unit}")
    try:
        bot.host("ops1", f"ops-bot restore {backup}")
        assert known <= {story["correlation"] for story in stories(bot)}  # asked while the bot is stopped
    finally:
        bot.host("ops1", f"systemctl start {unit}")
    wait_for(lambda: "What runs where" in page_of(bot))
    assert "restore.db" not in bot.host("ops1", "ls $(docker volume inspect -f '{{.Mountpoint}}' tagboat-ops_bot)")


def page_of(bot: Fleet) -> str:
    address, password = bot.page()
    return httpx.get(address, auth=("ops", password), verify=bot.trust()).text


def test_nobody_listens_to_what_playbooks_report(bot: Fleet) -> None:
    """The token goes with it: only under TLS, and only to who has the fleet's certificate."""
    address, _ = bot.page()
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(address)
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(address.replace("https", "http"))


def test_the_page_is_for_those_who_know_its_password(bot: Fleet) -> None:
    address, _ = bot.page()
    assert httpx.get(address, verify=bot.trust()).status_code == 401
    text = page_of(bot)
    assert "What runs where" in text
    assert "web1" in text


def test_the_lines_of_every_host_come_to_it(bot: Fleet) -> None:
    bot.host("web1", "logger --tag tagboat-test 'hello from web1'")
    read = "journalctl --directory /var/log/journal/remote --identifier tagboat-test --output cat --no-pager"
    wait_for(lambda: "hello from web1" in bot.host("ops1", read))
