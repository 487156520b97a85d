"""The units of a service: one `docker run` line, spelt for two init systems, and files both read alike."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.tagboat import slot
from hypothesis import given
from hypothesis import strategies as st
from render import render

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests/unit"))

import plugin_loading  # noqa: E402 - lies in tests/unit

services = plugin_loading.load("playbooks/plugins/filter/services.py")

SYSTEMD = "etc/systemd/system/service@.service.j2"
UPSTART = "etc/init/service.conf.j2"
UPSTART_LIVE = "etc/init/service-live.conf.j2"


def unit(template: str) -> str:
    return render(template, "service", service_name="web")


def docker_run(text: str) -> str:
    (line,) = re.findall(r"docker run [^\n;]*", text)
    return str(line)


def test_the_exact_line() -> None:
    assert docker_run(unit(UPSTART)) == (
        "docker run --detach --name web-$SLOT --pull=never --network=tagboat --cap-drop=ALL"
        " --security-opt=no-new-privileges --env-file=/etc/tagboat/web/$SLOT.env"
        " --env-file=/etc/tagboat/web/secrets.env $RUN_ARGS $IMAGE $COMMAND"
        " >/dev/null"
    )


def test_both_init_systems_run_the_same_line() -> None:
    systemd = docker_run(unit(SYSTEMD)).replace("%i", "$SLOT").replace("$$", "$")
    assert systemd == docker_run(unit(UPSTART))


@pytest.mark.parametrize("template", [SYSTEMD, UPSTART])
def test_a_container_is_supervised_for_good(template: str) -> None:
    text = unit(template)
    assert "docker wait web-" in text
    assert "docker stop web-" in text
    assert ("Restart=always" in text and "StartLimitIntervalSec=0" in text) or "respawn limit unlimited" in text


def test_the_init_system_never_kills_what_may_still_be_finishing() -> None:
    assert "TimeoutStopSec=infinity" in unit(SYSTEMD)
    assert "kill timeout 86400" in unit(UPSTART)


def test_nothing_of_a_release_is_in_a_unit() -> None:
    assert unit(SYSTEMD) == render(
        SYSTEMD, "service", service_name="web", service_spec={"memory_mb": 1}, service_tag="v9"
    )


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd here")
    file = tmp_path / "web@.service"
    # The engine need not be installed where tests run.
    file.write_text(unit(SYSTEMD).replace("/usr/bin/docker", "/bin/true"))
    command = ["systemd-analyze", "verify", "--recursive-errors=no", "--man=no", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if "web@" in line] == []


def scripts(text: str) -> list[str]:
    """The parts of an upstart job that sh runs."""
    return re.findall(r"^(?:pre-start )?script\n(.*?)^end script", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("template", [UPSTART, UPSTART_LIVE])
def test_sh_accepts_the_scripts(template: str) -> None:
    (script,) = scripts(unit(template))
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)


def test_sh_accepts_what_systemd_hands_to_it() -> None:
    (script,) = re.findall(r"^ExecStartPre=/bin/sh -ec '(.*)'$", unit(SYSTEMD), re.MULTILINE)
    subprocess.run(["sh", "-n"], input=script.replace("$$", "$"), text=True, check=True)


DOCKER = """#!/bin/sh
case "$1" in
inspect) test -e state && cat state || exit 1 ;;
rm) echo "$@" >> calls; rm -f state ;;
run) echo "$@" >> calls; test ! -e state || { echo "the name is in use" >&2; exit 125; } ;;
esac
"""


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """A folder with a `docker` that writes down what it is told."""
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "b.run").write_text("RUN_ARGS='--memory=1m --label=x=y'\nIMAGE=r:5000/web@sha256:1\nCOMMAND='a b'\n")
    return tmp_path


def by_upstart() -> str:
    (script,) = scripts(unit(UPSTART))
    return script.replace("/etc/tagboat/web/$SLOT.run", "./$SLOT.run")


def by_systemd() -> str:
    """The same, with the `EnvironmentFile` read by sh instead of systemd."""
    (script,) = re.findall(r"^ExecStartPre=/bin/sh -ec '(.*)'$", unit(SYSTEMD), re.MULTILINE)
    return ". ./b.run\n" + str(script).replace("$$", "$").replace("%i", "b")


each_init = pytest.mark.parametrize("script", [by_systemd(), by_upstart()], ids=["systemd", "upstart"])


def started_by(script: str, engine: Path) -> list[str]:
    environment = {"PATH": f"{engine}:/usr/bin:/bin", "SLOT": "b"}
    subprocess.run(["sh", "-e"], input=script, text=True, check=True, cwd=engine, env=environment)
    calls = engine / "calls"
    return calls.read_text().splitlines() if calls.exists() else []


@each_init
def test_a_start_is_one_command_where_nothing_is_left(script: str, engine: Path) -> None:
    (started,) = started_by(script, engine)
    assert started.startswith("run --detach --name web-b ")
    assert started.endswith(" --memory=1m --label=x=y r:5000/web@sha256:1 a b")


@each_init
def test_a_start_removes_what_is_left_and_runs_the_container(script: str, engine: Path) -> None:
    (engine / "state").write_text("false\n")
    refused, removed, started = started_by(script, engine)
    assert removed == "rm web-b", "with --force, an engine that just came back would end what serves"
    assert refused == started


@each_init
def test_a_start_leaves_a_running_container_alone(script: str, engine: Path) -> None:
    (engine / "state").write_text("true\n")
    (refused,) = started_by(script, engine)
    assert refused.startswith("run ")


def test_boot_starts_the_enabled_slots_only(tmp_path: Path) -> None:
    (tmp_path / "start").write_text('#!/bin/sh\necho "$@" >> calls\n')
    (tmp_path / "start").chmod(0o755)
    (tmp_path / "b.boot").touch()
    (script,) = scripts(unit(UPSTART_LIVE))
    script = script.replace("/etc/tagboat/web/", "./")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(["sh", "-e"], input=script, text=True, check=True, cwd=tmp_path, env=environment)
    assert (tmp_path / "calls").read_text() == "web SLOT=b\n"


# What a slot runs: any words that services.yml allows arrive as they were written


WORDS = st.lists(st.from_regex(re.compile(r"[A-Za-z0-9_./:=,@+-]+", re.ASCII), fullmatch=True), max_size=5)


def run_file(command: list[str]) -> tuple[str, list[str]]:
    raw = {"web": {"image": "web", "hosts": "web", "command": command}}
    release: dict[str, Any] = {
        "tag": "v1",
        "digest": "sha256:0",
        "image": "registry1:5000/web@sha256:0",
        "spec": services.checked_services(raw)["web"],
    }
    return slot.run_file("web", "a", release), release["spec"]["command"]


def systemd_environment(text: str) -> dict[str, str]:
    """Read an EnvironmentFile as systemd.exec(5) says, as far as these files go."""
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if value[:1] == "'":
            assert re.fullmatch(r"'[^']*'", value), "between single quotes everything stands for itself"
            value = value[1:-1]
        else:
            assert not re.search(r"[\s\\'\"]", value), "unquoted, backslashes and quotes mean something"
        found[name] = value
    return found


@given(WORDS)
def test_allowed_words_pass_through_sh_and_systemd(command: list[str]) -> None:
    text, words = run_file(command)
    assert words == command
    script = text + 'for word in $RUN_ARGS $IMAGE $COMMAND; do printf "%s\\n" "$word"; done'
    seen = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, check=True).stdout.splitlines()
    by_systemd = systemd_environment(text)
    split = [word for name in ("RUN_ARGS", "IMAGE", "COMMAND") for word in by_systemd[name].split()]
    assert seen == split
    assert seen[len(seen) - len(command) - 1 :] == ["registry1:5000/web@sha256:0", *command]
    assert shlex.split(by_systemd["COMMAND"]) == command
