"""A playbook run reports to a real bot: from its start to its end, however it ends, and never waits for it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from bot_process import until
from bot_team import BOT_TOKEN, Team, free_port

from ops_bot.ansible.postman import AWAY_SECONDS, Postman
from ops_bot.events import Event, Kind, State, Story
from ops_bot.ledger import Ledger, LedgerError
from ops_bot.spool import Spool

ROOT = Path(__file__).resolve().parents[2]

# Stands for the role's own action: it talks to no host, and tells the same listeners in the same words.
ROLLOUT = """
import time
import ansible.module_utils
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
ansible.module_utils.__path__.append("MODULE_UTILS")
from ansible.module_utils.tagboat import conductor

class ActionModule(ActionBase):
    _requires_connection = False
    def run(self, tmp=None, task_vars=None):
        hosts = [{"name": "web1", "state": "switched", "tag": "v2"}, {"name": "web2", "state": "ready", "tag": "v1"}]
        for listen in conductor.LISTENERS:
            listen({"state": "progress", "step": "switch", "hosts": hosts, "from_tag": "v1"})
        time.sleep(float(self._task.args.get("seconds", 0)))
        report = {"tag": "v2", "from_tag": "v1", "hosts": hosts, "next_command": "make rollback SERVICE=web"}
        if self._task.args.get("fails"):
            wrong = {"error": "web2: not healthy, password=hunter2hunter2", "failed_host": "web2", "undone": True}
            raise AnsibleActionFail("refused", result={"report": report | wrong})
        return {"changed": True, "report": report}
"""
PLAYBOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    environment_name: test
    services: {web: {image: web, hosts: web}}
    service: web
    service_action: deploy
    tag: v2
    ops_bot_url: "%s"
    ops_bot_token: "%s"
  tasks:
    - rollout: {seconds: "{{ seconds | default(0) }}", fails: "{{ fails | default(false) | bool }}"}
      vars: {service_action: deploy}
"""


class Control:
    """A control node: a folder with a playbook, and what it keeps on disk."""

    def __init__(self, folder: Path, url: str, token: str) -> None:
        self.folder = folder
        (folder / "action").mkdir(parents=True)
        (folder / "action" / "rollout.py").write_text(
            ROLLOUT.replace("MODULE_UTILS", str(ROOT / "roles/service/module_utils"))
        )
        (folder / "deploy.yml").write_text(PLAYBOOK % (url, token))
        (folder / "ansible.cfg").write_text(
            f"[defaults]\ncallback_plugins = {ROOT}/ops_bot/ansible/callback\n"
            f"action_plugins = {folder}/action\nhome = {folder}/home\n"
        )
        (folder / "hosts").write_text("[web]\nweb1\nweb2\n")
        self.spool = Spool(folder / "home" / "tagboat" / "spool-test")

    def start(self, **extra: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "TAGBOAT_BY": "ann",
        }
        environment.pop("LAB_NAME", None)
        given = [word for name, value in extra.items() for word in ("-e", f"{name}={value}")]
        return subprocess.Popen(
            [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "hosts", "deploy.yml", *given],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, **extra: str) -> str:
        process = self.start(**extra)
        output = process.communicate(timeout=60)[0]
        assert "PLAY RECAP" in output, output
        assert "not reported" not in output, output
        return output


def stories_of(team: Team) -> list[Story]:
    try:
        ledger = Ledger.open(team.ledger_url, create=False)
    except LedgerError:
        return []  # the bot has not made it yet
    with contextlib.closing(ledger):
        return [story for story in ledger.stories(limit=10) if story.kind == Kind.DEPLOY]


def the_story(team: Team) -> Story | None:
    stories = stories_of(team)
    assert len(stories) <= 1
    return stories[0] if stories else None


def ended(team: Team) -> bool:
    story = the_story(team)
    return story is not None and story.state in (State.FINISHED, State.FAILED, State.LOST)


def test_a_good_deploy_is_one_story_with_its_hosts(team: Team, tmp_path: Path) -> None:
    team.start()
    Control(tmp_path / "control", team.url, BOT_TOKEN).run()
    until(lambda: ended(team), "the end was told")
    story = the_story(team)
    assert story is not None
    assert (story.state, story.kind.value, story.service, story.tag, story.from_tag) == (
        *(State.FINISHED, "deploy", "web", "v2"),
        "v1",
    )
    assert (story.actor, story.environment, story.updates) == ("ann", "test", 3)
    assert [host.name for host in story.hosts] == ["web1", "web2"]


def test_a_refused_deploy_says_why_without_the_secret(team: Team, tmp_path: Path) -> None:
    team.start()
    Control(tmp_path / "control", team.url, BOT_TOKEN).run(fails="true")
    until(lambda: ended(team), "the end was told")
    story = the_story(team)
    assert story is not None
    assert (story.state, story.failed_host, story.undone) == (State.FAILED, "web2", True)
    assert "not healthy" in story.error
    assert "hunter2" not in story.model_dump_json()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_from_outside_is_told_all_the_same(number: int, team: Team, tmp_path: Path) -> None:
    team.start()
    process = Control(tmp_path / "control", team.url, BOT_TOKEN).start(seconds="20")  # its worker outlives it
    try:
        until(lambda: (story := the_story(team)) is not None and story.updates >= 2, "it is at work")
        os.killpg(process.pid, number)
        process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            process.kill()
    until(lambda: ended(team), "the end was told")
    story = the_story(team)
    assert story is not None
    assert story.state in (State.LOST, State.FAILED)
    assert story.error
    assert story.next_command == "make status ENV=test"


def test_while_the_bot_is_away_it_is_not_asked_at_every_step(tmp_path: Path) -> None:
    """A rollout of thirty hosts knocks sixty times: each attempt would read the whole spool."""
    now = datetime.now(UTC)
    progress = Event(kind=Kind.DEPLOY, state=State.PROGRESS, correlation="deploy:1", at=now)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        postman = Postman(tmp_path / "spool", f"http://127.0.0.1:{server.getsockname()[1]}", "nobody's token")
        postman.start(lambda: progress)
        postman.report(progress)
        server.accept()[0].close()  # asked, and not answered
        knocked = time.monotonic()
        while time.monotonic() < knocked + AWAY_SECONDS / 2:
            postman.report(progress)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody knocks here: the knocks asked nothing
            server.accept()
        server.settimeout(30)
        server.accept()[0].close()  # asked again, when the time has come
        assert postman.waiting() > 1
        assert postman._pipe is not None
        os.close(postman._pipe)  # as the end of the run does


def test_without_a_bot_nothing_waits_and_nothing_is_lost(team: Team, tmp_path: Path) -> None:
    control = Control(tmp_path / "control", f"http://127.0.0.1:{free_port()}", BOT_TOKEN)
    begin = time.monotonic()
    control.run()
    alone = time.monotonic() - begin
    assert len(control.spool.waiting()) == 3
    # Bounded far above what it takes: two seconds are what reporting may cost, the rest is Ansible's own.
    assert alone < 30
    team.start()
    (control.folder / "deploy.yml").write_text(PLAYBOOK % (team.url, BOT_TOKEN))
    output = control.run()
    assert "3 events of earlier runs wait for the ops bot" in output
    until(lambda: len(stories_of(team)) == 2, "both runs were told")
    until(lambda: control.spool.waiting() == [], "nothing waits any more")
