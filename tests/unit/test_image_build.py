"""Builds: what is typed to docker and git, what image.yml may say, what BuildKit's output means, who holds a lock."""

from __future__ import annotations

import base64
import fcntl
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import plugin_loading
import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils import (
    image_checkout,
    image_commands,
    image_run,
    image_runner,
    image_smoke,
    image_spec,
    registry_client,
)

image_build = plugin_loading.load("roles/image/library/image_build.py")
image_log = plugin_loading.load("roles/image/library/image_log.py")
image_source = plugin_loading.load("roles/image/action_plugins/image_source.py")
image_follow = plugin_loading.load("roles/image/action_plugins/image_follow.py")


def line(words: list[str]) -> str:
    return " ".join(words)


# Command lines


def test_build_command() -> None:
    words = image_commands.build("/b/web", "tagboat-build/web:r1", {"PARENT": "r:5000/base@sha256:1"}, "/b/ca.pem")
    assert line(words) == (
        "docker build --progress=plain --build-arg PARENT=r:5000/base@sha256:1"
        " --secret id=ca_bundle,src=/b/ca.pem --tag tagboat-build/web:r1 /b/web"
    )


def test_label_command_reads_the_dockerfile_from_standard_input() -> None:
    words = image_commands.label("r:5000/web:v2", {"a": "1", "b": "two words"})
    assert words == [
        *("docker", "build", "--progress=plain", "--label", "a=1", "--label", "b=two words"),
        *("--tag", "r:5000/web:v2", "-"),
    ]


def test_a_container_under_test_is_as_restricted_as_in_production() -> None:
    words = image_commands.run("r/web@sha256:1", "n", "web", {"A": "b"}, ["run", "it"], alias="database", detach=True)
    assert line(words) == (
        "docker run --name n --detach --label tagboat.smoke=web --network tagboat-smoke-web --network-alias database"
        " --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges --memory 512m --pids-limit 256"
        " --log-driver json-file --log-opt max-size=1m --env A=b r/web@sha256:1 run it"
    )


def test_the_network_of_a_test_has_no_way_out() -> None:
    assert line(image_commands.network("n", "web")) == ("docker network create --internal --label tagboat.smoke=web n")


def test_leftovers_are_found_by_label() -> None:
    assert (
        line(image_commands.leftovers("web", "container")) == "docker ps --all --quiet --filter label=tagboat.smoke=web"
    )
    assert (
        line(image_commands.leftovers("web", "network")) == "docker network ls --quiet --filter label=tagboat.smoke=web"
    )


def test_the_build_cache_is_bounded() -> None:
    assert line(image_commands.prune(5000)) == "docker builder prune --force --keep-storage 5000MB"


# BuildKit's output

BUILDKIT = """\
#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 38B done
#1 DONE 0.0s

#4 [1/3] FROM docker.io/tagboat/debian
#4 DONE 0.0s

#5 [2/3] RUN --mount=type=cache,target=/x apt-get   update
#5 CACHED

#6 [3/3] RUN make
#6 0.345 cc main.c
#6 ...

#7 [internal] load build context
#7 DONE 0.1s

#6 [3/3] RUN make
#6 1.345 \x1b[31mmain.c:1: error\x1b[0m
#6 ERROR: executor failed running [/bin/sh -c make]: exit code: 2
------
 > [3/3] RUN make:
------
executor failed running [/bin/sh -c make]: exit code: 2
"""


def test_build_output_tells_steps_and_the_failing_one() -> None:
    output = image_commands.BuildOutput()
    shown = [found for raw in BUILDKIT.splitlines(keepends=True) if (found := output.feed(raw))]
    assert shown[:6] == [
        ("step", "[1/3] FROM docker.io/tagboat/debian"),
        ("step", "[2/3] RUN apt-get update"),
        ("step", "[2/3] cached"),
        ("step", "[3/3] RUN make"),
        ("output", "cc main.c"),
        ("output", "main.c:1: error"),
    ]
    assert (output.failing_step, output.error) == ("[3/3] RUN make", "exit code: 2")
    assert output.tail() == ["cc main.c", "main.c:1: error"]


def test_slow_steps_are_timed() -> None:
    output = image_commands.BuildOutput()
    output.feed("#4 [2/3] RUN make")
    assert output.feed("#4 DONE 12.34s") == ("step", "[2/3] done in 12.3 s")


def test_a_dockerfile_that_does_not_parse_has_no_failing_step() -> None:
    output = image_commands.BuildOutput()
    for raw in (
        "#1 [internal] load build definition",
        "#1 DONE 0.0s",
        "failed to solve: dockerfile parse error on line 3",
    ):
        output.feed(raw)
    assert output.failing_step == ""
    assert output.tail() == ["failed to solve: dockerfile parse error on line 3"]


def test_lines_cannot_play_with_a_terminal() -> None:
    assert image_commands.clean("\x1b]0;title\x07 10%\r 90%\r\n") == " 90%"
    assert image_commands.clean("x" * 500) == "x" * 400 + "…"


# image.yml

WEB = {
    "description": "The front",
    "parent": "base",
    "smoke": {
        "needs": {"database": {"image": "postgres", "ready": ["pg_isready", "-h", "127.0.0.1"]}},
        "env": {"PORT": 8000, "DEBUG": True},
        "before": [["python", "-m", "app", "migrate"]],
        "get": {"port": 8000, "path": "/healthz", "status": 200},
        "deadline_seconds": 20,
    },
}


def test_a_whole_image_yml() -> None:
    spec = image_spec.parse_spec("web", WEB)
    assert spec.requires == ["base", "postgres"]
    assert spec.smoke is not None
    assert spec.smoke.env == {"PORT": "8000", "DEBUG": "true"}
    assert spec.smoke.get == image_spec.Get(8000, "/healthz", 200)
    assert spec.smoke.needs[0].ready == ["pg_isready", "-h", "127.0.0.1"]


def test_an_empty_image_yml_is_an_image_that_is_only_built() -> None:
    assert image_spec.parse_spec("base", None) == image_spec.Spec("", "", None)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ({"parnet": "base"}, "unknown key parnet; known: description, parent, smoke; did you mean parent?"),
        ({"smoke": {"deadline": 3, "command": ["x"]}}, "did you mean deadline_seconds?"),
        ({"smoke": {"get": {"prot": 1}}}, "smoke.get: unknown key prot; .*did you mean port?"),
        (
            {"smoke": {"needs": {"db": {"imgae": "x"}}, "command": ["x"]}},
            "needs.db: unknown key imgae.*did you mean image?",
        ),
        ({"smoke": {}}, "either get or command"),
        ({"smoke": {"get": {"port": 1}, "command": ["x"]}}, "either get or command"),
        ({"smoke": {"get": {"port": "http"}}}, "get.port is not a port number"),
        ({"smoke": {"get": {"port": 1, "path": "x"}}}, "path does not start with /"),
        ({"smoke": {"command": "sh -c true"}}, "not a command, as a list of words"),
        ({"smoke": {"command": ["x"], "before": [["x"], "y"]}}, "before is not a command"),
        ({"smoke": {"command": ["x"], "deadline_seconds": 0}}, "deadline_seconds is not a number"),
        ({"smoke": {"command": ["x"], "env": {"A": [1]}}}, "each value is one text"),
        ({"parent": "web"}, "parent is the image itself"),
        ({"parent": "../x"}, "not the name of an image"),
        ([1], "is not a mapping"),
    ],
)
def test_what_image_yml_may_not_say(raw: Any, text: str) -> None:
    with pytest.raises(image_spec.SpecError, match=text.replace("?", r"\?")):
        image_spec.parse_spec("web", raw)


@pytest.mark.parametrize("name", ["base", "postgres", "web"])
def test_the_images_of_this_repository_say_what_they_may(name: str) -> None:
    text = (plugin_loading.ROOT / "images" / name / "image.yml").read_text()
    image_spec.parse_spec(name, image_checkout.read_yaml(name, text))


def specs(**parents: list[str]) -> dict[str, Any]:
    """name=[parent, needs...]"""
    made = {}
    for name, (parent, *needs) in parents.items():
        smoke = {"needs": {need: {"image": need} for need in needs}, "command": ["true"]}
        made[name] = image_spec.parse_spec(name, {"parent": parent, "smoke": smoke})
    return made


def test_what_is_required_and_missing_is_built_first() -> None:
    known = specs(base=[""], postgres=["base"], web=["base", "postgres"], other=["base"])
    assert image_spec.build_order(["web"], known, ["base", "postgres", "other"]) == ["base", "postgres", "web"]
    assert image_spec.build_order(["web"], known, ["postgres"]) == ["postgres", "web"]
    assert image_spec.build_order(["web"], known, []) == ["web"]
    assert image_spec.build_order(["web", "base"], known, []) == ["base", "web"]


def test_images_in_a_circle() -> None:
    with pytest.raises(image_spec.SpecError, match="circle: a -> b -> a"):
        image_spec.build_order(["a"], specs(a=["b"], b=["a"]), ["b"])


def test_an_unknown_parent() -> None:
    with pytest.raises(image_spec.SpecError, match=r"names bsae, which is no image; .*did you mean base\?"):
        image_spec.build_order(["web"], specs(base=[""], web=["bsae"]), [])


# images.yml and the source


def test_definitions() -> None:
    given = {
        "web": None,
        "base": {"path": "docker/base", "also": ["lib"]},
        "far": {"git": "https://example.org/far.git"},
    }
    assert image_source.check_definitions(given) == {
        "web": {"git": "", "path": "images/web", "also": []},
        "base": {"git": "", "path": "docker/base", "also": ["lib"]},
        "far": {"git": "https://example.org/far.git", "path": "", "also": []},
    }


@pytest.mark.parametrize(
    ("definitions", "text"),
    [
        ({}, "no images are declared"),
        ({"web": {"gti": "x"}}, r"images.web: unknown key gti; known: git, path, also; did you mean git\?"),
        ({"web": {"path": "../x"}}, "not a path inside the repository"),
        ({"web": {"also": ["../x"]}}, "images.web.also is not a path inside the repository"),
        ({"web": {"also": "x"}}, "images.web.also is not a list of paths"),
        ({"web": {"git": "--upload-pack=x"}}, "not a Git URL"),
        ({"Web": {}}, "cannot name an image"),
    ],
)
def test_wrong_definitions(definitions: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        image_source.check_definitions(definitions)


def test_an_unknown_image_is_answered_with_the_nearest() -> None:
    known = image_source.check_definitions({"web": {}, "base": {}})
    assert image_source.check_wanted(["web ", "", "base", "web"], known) == ["web", "base"]
    with pytest.raises(ValueError, match=r"there is no image wbe; known: base, web; did you mean web\?"):
        image_source.check_wanted(["wbe"], known)
    with pytest.raises(ValueError, match="no image is named; known: base, web"):
        image_source.check_wanted([""], known)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "images/web").mkdir(parents=True)
    (folder / "images/web/image.yml").write_text("parent: base\n")
    (folder / "images/web/Dockerfile").write_text("FROM scratch\n")

    def git(*words: str) -> None:
        who = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
        subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)

    git("init", "--initial-branch=main")
    git("add", ".")
    git("commit", "-m", "Say | hello")
    (folder / "README").write_text("x")
    git("add", ".")
    git("commit", "-m", "Explain")
    return folder


def test_the_source_is_what_git_says(repository: Path) -> None:
    known = image_source.check_definitions({"web": {}, "far": {"git": "https://token@example.org/far.git"}})
    (repository / "images/web/draft").write_text("x")
    asked = image_source.Repository(str(repository))
    sources, warnings, revision = image_source.describe(asked, known, ["web"], "main")
    web, far = sources
    assert web["revision"] == revision == asked.resolve("main")
    assert (web["author"], web["subject"], web["ref"]) == ("Ann <ann@example.org>", "Explain", "main")
    assert [one["subject"] for one in web["commits"]] == ["Say | hello"]
    assert web["spec"] == {"parent": "base"}
    assert warnings == ["1 uncommitted changes in images/web are not part of this build"]
    assert far == {"image": "far", "git": "https://example.org/far.git", "path": "", "also": [], "ref": ""}


def test_an_unknown_ref_and_a_folder_that_is_not_there(repository: Path) -> None:
    asked = image_source.Repository(str(repository))
    known = image_source.check_definitions({"web": {}, "eval": {}})
    with pytest.raises(ValueError, match=r"has no ref mian; it has main; did you mean main\?"):
        image_source.describe(asked, known, ["web"], "mian")
    with pytest.raises(ValueError, match="images/eval does not exist at HEAD"):
        image_source.describe(asked, known, ["eval"], "")


def test_no_password_of_a_git_url_is_shown() -> None:
    assert image_checkout.without_user("https://ann:secret@example.org/x.git") == "https://example.org/x.git"


class AsksForALogin(BaseHTTPRequestHandler):
    """A Git server, as far as its question who it is; it keeps what it was told."""

    told: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        login = self.headers.get("Authorization")
        if login:
            self.told.append(login)
        self.send_response(404 if login else 401)
        self.send_header("WWW-Authenticate", 'Basic realm="git"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words: object) -> None:
        """Nothing: a test's output is its own."""


def test_git_is_told_the_password_of_a_url_and_nobody_sees_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed: list[str] = []
    run = image_runner.Programs.run

    def spied(self: Any, step: str, command: list[str], **options: Any) -> None:
        typed.extend(command)
        run(self, step, command, **options)

    monkeypatch.setattr(image_runner.Programs, "run", spied)
    AsksForALogin.told.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), AsksForALogin)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://ann:s3%2Fcret@127.0.0.1:{server.server_port}/x.git"
        source = image_checkout.Source("web", "", git=url)
        environ = os.environ | image_checkout.login_environ(url)
        programs = image_runner.Programs("web", image_runner.RunLog(tmp_path / "log"), environ)
        with pytest.raises(image_runner.BuildError, match="exit code 128") as caught:
            image_checkout.Mirrors(tmp_path / "work", programs, 20).complete(source)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert AsksForALogin.told == ["Basic " + base64.b64encode(b"ann:s3/cret").decode()]
    said = " ".join([*typed, *caught.value.tail, (tmp_path / "log").read_text()])
    assert f"http://127.0.0.1:{server.server_port}/x.git" in said
    assert "cret" not in said


def test_the_login_of_a_url_is_for_its_own_server_alone() -> None:
    assert image_checkout.login_environ("ssh://git@example.org/x.git") == {}
    assert image_checkout.login_environ("git@example.org:x.git") == {}
    assert image_checkout.login_environ("https://example.org/x.git") == {}
    assert image_checkout.command_url("ssh://git@example.org/x.git") == "ssh://git@example.org/x.git"
    told = image_checkout.login_environ("https://token@example.org:8443/x.git")
    assert told["GIT_CONFIG_KEY_1"] == "credential.https://example.org:8443.helper"
    assert (told["TAGBOAT_GIT_USER"], told["TAGBOAT_GIT_PASSWORD"]) == ("token", "")


def test_a_mirror_of_a_git_url(repository: Path, tmp_path: Path) -> None:
    log = image_runner.RunLog(tmp_path / "log")
    programs = image_runner.Programs("web", log, dict(os.environ))
    source = image_checkout.Source("web", "images/web", git=f"file://{repository}", ref="main")
    mirrors = image_checkout.Mirrors(tmp_path / "work", programs, 20)
    mirrors.complete(source)
    mirrors.complete(source)
    assert source.shown.endswith("'Explain' by Ann")
    assert source.spec == {"parent": "base"}
    mirrors.export(source, tmp_path / "web.tar")
    folder = image_checkout.unpack(programs, source, tmp_path / "web.tar", tmp_path / "out")
    assert sorted(path.name for path in folder.iterdir()) == ["Dockerfile", "image.yml"]
    source.ref = "mian"
    with pytest.raises(image_runner.BuildError, match=r"has no ref mian; it has main; did you mean main\?"):
        mirrors.complete(source)


def test_a_clone_that_was_killed_is_made_again(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = programs_in(tmp_path)
    source = image_checkout.Source("web", "images/web", git=f"file://{repository}", ref="main")
    mirrors = image_checkout.Mirrors(tmp_path / "work", programs, 20)

    def killed(step: str, words: list[str], **_: Any) -> None:
        subprocess.run(["git", "init", "--bare", "--quiet", words[-1]], check=True)  # as far as it came
        raise image_runner.BuildError(step, "not done within 20 s")

    with monkeypatch.context() as once:
        once.setattr(programs, "run", killed)
        with pytest.raises(image_runner.BuildError, match="not done within"):
            mirrors.complete(source)
    mirrors.complete(source)
    assert source.subject == "Explain"


# Running programs, locks, logs


def programs_in(folder: Path) -> Any:
    return image_runner.Programs("web", image_runner.RunLog(folder / "log"), dict(os.environ))


def test_a_failing_program_is_told_with_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(image_runner.BuildError, match="exit code 3") as caught:
        programs_in(tmp_path).run("push", ["sh", "-c", "echo one; echo two >&2; exit 3"])
    assert (caught.value.step, caught.value.tail) == ("push", ["one", "two"])
    assert image_log.read_lines(tmp_path / "log", 0)[0][0].endswith("s] web:   | one")


def test_a_program_nobody_can_follow_is_ended(tmp_path: Path) -> None:
    def fall_over(_line: str) -> None:
        raise ValueError("nobody can follow this")

    with pytest.raises(ValueError, match="nobody can follow"):
        image_runner.stream(
            ["sh", "-c", f"echo $$ > {tmp_path}/pid; echo one; exec sleep 60"],
            fall_over,
            deadline_seconds=50,
            environ=dict(os.environ),
        )
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_program_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    with pytest.raises(image_runner.BuildError, match=r"not done within 0\.3 s"):
        programs_in(tmp_path).run("build", ["sh", "-c", "sleep 60 & sleep 60"], seconds=0.3)


def test_a_lock_waits_and_says_for_whom(tmp_path: Path) -> None:
    path = tmp_path / "locks/web.lock"
    said: list[str] = []
    order: list[str] = []

    def second() -> None:
        with image_runner.image_lock(path, "bob", "r2", said.append):
            order.append("bob")

    with image_runner.image_lock(path, "ann", "r1", said.append):
        other = threading.Thread(target=second)
        other.start()
        other.join(0.6)
        order.append("ann")
    other.join(5)
    assert order == ["ann", "bob"]
    assert len(said) == 1
    assert said[0].startswith("waits: ann is building it since ")
    assert said[0].endswith("(run r1)")


def test_a_push_holds_the_lock_after_its_parent_died(tmp_path: Path) -> None:
    path = tmp_path / "web.lock"
    with image_runner.image_lock(path, "ann", "r1", print) as held:
        push = subprocess.Popen(["sleep", "30"], pass_fds=[held])
    with path.open() as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        push.kill()
        push.wait()
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_log_is_read_in_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("one\ntwo\nthr")
    assert image_log.read_lines(path, 0) == (["one", "two"], 8)
    assert image_log.read_lines(path, 8) == ([], 8)
    assert image_log.read_lines(tmp_path / "none", 3) == ([], 3)


def test_the_state_of_a_run(tmp_path: Path) -> None:
    assert image_log.state_of(tmp_path) == "absent"
    with (tmp_path / "alive").open("w") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        assert image_log.state_of(tmp_path) == "running"
    assert image_log.state_of(tmp_path) == "dead"
    (tmp_path / "result.json").write_text("{}")
    assert image_log.state_of(tmp_path) == "done"


def test_steps_are_shown_and_of_output_the_last_line() -> None:
    lines = ["[  1.0s] web: [2/3] RUN x", "[  1.1s] web:   | a", "[  1.2s] base:   | b", "[  1.3s] web:   | c"]
    assert image_follow.worth_showing(lines, everything=False) == [lines[0], lines[2], lines[3]]
    assert image_follow.worth_showing(lines, everything=True) == lines


def test_a_failure_is_explained_with_step_and_tail() -> None:
    failure = {"step": "[2/3] RUN x", "message": "exit code 1", "tail": ["boom"], "log": "/log"}
    said = image_follow.explain({"problem": "", "failures": {"web": failure}})
    assert said == (
        "web was not built, nothing of it was pushed. It failed at [2/3] RUN x: exit code 1\n"
        "    boom\n  Whole log, on the build server: /log\n"
        "  What runs is as it was. Next, once that is mended: make build IMAGE=web"
    )


ActionModule: Any = image_follow.ActionModule


class Follower(ActionModule):  # type: ignore[misc]
    """Follows a run on a build server that answers what it is told to."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self._task = SimpleNamespace(args={"work_dir": "/work", "run": "r1", "deadline_seconds": 100})

    def _execute_module(self, *_: Any, **__: Any) -> dict[str, Any]:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)


LOST = AnsibleConnectionFailure("Connection timed out")
DONE = {
    "lines": [],
    "offset": 0,
    "state": "done",
    "result": {"failed": False, "changed": True, "builds": {}, "failures": {}},
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_follow, "_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(image_follow, "_LOST_SECONDS", 0.1)
    monkeypatch.setattr(image_follow.ActionBase, "run", lambda *_: {})


@pytest.mark.usefixtures("impatient")
def test_a_build_is_followed_again_after_a_lost_connection() -> None:
    assert Follower(LOST, LOST, DONE).run()["changed"]


@pytest.mark.usefixtures("impatient")
def test_a_build_server_that_stays_lost_is_said_with_what_is_still_true() -> None:
    with pytest.raises(
        AnsibleConnectionFailure, match=r"the build goes on there, and pushes .* Next: make build again"
    ):
        Follower(LOST).run()


# The build itself, with a docker of our own


DOCKER = """#!{python}
import json, os, sys
words = sys.argv[1:]
with open({calls!r}, "a") as calls:
    calls.write(" ".join(words) + "\\n")
if words[:2] == ["image", "inspect"]:
    print("sha256:content 1000")
elif words[0] == "build" and words[-1] != "-":
    print("#1 [1/1] RUN it")
    print("#1 0.1 said")
    if os.path.exists(words[-1] + "/fail"):
        print("#1 ERROR: exit code: 1")
        sys.exit(1)
elif words[0] == "push":
    sys.exit({push_code})
"""


class FakeRegistry:
    """Tags appear when docker pushed them: the fake reads docker's calls."""

    def __init__(self, calls: Path, tags: dict[str, list[str]]) -> None:
        self.calls, self.given = calls, tags
        self.moved: list[tuple[str, str, str]] = []

    def tags_or_none(self, image: str) -> list[str]:
        text = self.calls.read_text() if self.calls.exists() else ""
        pushed = [row.split(":")[-1] for row in text.splitlines() if row.startswith(f"push r:5000/{image}:")]
        return [*self.given.get(image, []), *pushed]

    def has(self, image: str, tag: str) -> bool:
        return tag in self.tags_or_none(image) or tag in self.given.get(f"{image} elsewhere", [])

    def resolve(self, image: str, tag: str) -> str:
        return f"sha256:{image}-{tag}"

    def labels(self, *_: str) -> dict[str, str]:
        return {"tagboat.content": "sha256:content"}

    def move_tag(self, image: str, tag: str, digest: str) -> None:
        self.moved.append((image, tag, digest))


class Scene:
    def __init__(self, folder: Path, push_code: int = 0) -> None:
        self.folder, self.calls = folder, folder / "calls"
        docker = folder / "bin/docker"
        docker.parent.mkdir()
        docker.write_text(DOCKER.format(python=sys.executable, calls=str(self.calls), push_code=push_code))
        docker.chmod(0o755)

    def build(
        self, wanted: list[str], images: dict[str, Any], tags: dict[str, list[str]], broken: tuple[str, ...] = ()
    ) -> tuple[dict[str, Any], FakeRegistry]:
        run = self.folder / "work/runs/r1"
        run.mkdir(parents=True)
        tree = self.folder / "tree"
        for name in images:
            (tree / name).mkdir(parents=True)
            (tree / name / "Dockerfile").write_text("FROM scratch\n")
            if name in broken:
                (tree / name / "fail").touch()
        subprocess.run(["tar", "-C", str(tree), "-cf", str(run / "source.tar"), *images], check=True)
        sources = {
            name: image_checkout.Source(
                name, name, revision="abcdef123", author="Ann <a@b>", subject="Say", url="u", spec=spec
            )
            for name, spec in images.items()
        }
        settings = {
            "run": "r1",
            "who": "ann",
            "wanted": wanted,
            "work_dir": str(self.folder / "work"),
            "record_dir": str(self.folder / "records"),
            "registry": "r:5000",
            "debian_image": "tagboat/debian",
            "environment_name": "build",
            "keep_cache_mb": 10,
            "keep_runs": 5,
            "build_deadline_seconds": 20,
            "push_deadline_seconds": 20,
        }
        registry = FakeRegistry(self.calls, tags)
        return image_build.perform(settings, sources, registry), registry

    def called(self, start: str) -> list[str]:
        return [row for row in self.calls.read_text().splitlines() if row.startswith(start)]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return Scene(tmp_path)


def test_a_build_gets_the_next_tag_and_latest(scene: Scene) -> None:
    result, registry = scene.build(["base"], {"base": None}, {"base": ["v1", "v2"]})
    record = result["builds"]["base"]
    assert not result["failed"]
    assert (record["tag"], record["digest"], record["same_as"]) == ("v3", "sha256:base-v3", "v2")
    assert registry.moved == [("base", "latest", "sha256:base-v3")]
    assert scene.called("push") == ["push r:5000/base:v3"]
    assert (scene.folder / "records/base/v3.json").is_file()
    assert not (scene.folder / "work/runs/r1/source.tar").exists()
    assert image_run.summary({**record, "seconds": {"build": 12.34}}) == (
        "base v3 sha256:base-v3 (build 12.3 s, same content as v2) from abcdef1 'Say' by Ann"
    )


def test_a_tag_another_server_just_pushed_is_not_overwritten(scene: Scene) -> None:
    scene.build(["base"], {"base": None}, {"base": ["v1"], "base elsewhere": ["v2", "v3"]})
    assert scene.called("push") == ["push r:5000/base:v4"]


def test_a_parent_that_was_never_pushed_is_built_first(scene: Scene) -> None:
    result, _ = scene.build(["web"], {"web": {"parent": "base"}, "base": None, "other": None}, {})
    assert list(result["builds"]) == ["base", "web"]
    build = next(row for row in scene.called("build") if row.endswith("/checkout/web/web"))
    assert "--build-arg PARENT=r:5000/base@sha256:base-v1" in build


def test_a_failed_build_pushes_nothing_and_its_children_are_skipped(scene: Scene) -> None:
    images = {"web": {"parent": "base"}, "base": None, "other": None}
    result, _ = scene.build(["web", "base", "other"], images, {"base": ["v1"]}, broken=("base",))
    assert result["failed"]
    assert list(result["builds"]) == ["other"]
    assert result["failures"]["base"]["step"] == "[1/1] RUN it"
    assert result["failures"]["base"]["tail"] == ["said"]
    assert result["failures"]["web"]["message"] == "base, which it needs, was not built"
    assert scene.called("push") == ["push r:5000/other:v1"]


def test_a_failed_push_leaves_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    scene = Scene(tmp_path, push_code=1)
    result, registry = scene.build(["base"], {"base": None}, {})
    assert result["failures"]["base"]["step"] == "push"
    assert not (tmp_path / "records/base").exists()
    assert registry.moved == []


def test_an_unreachable_registry_is_told_before_anything_is_built(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> list[str]:
        raise registry_client.UnauthorisedError("registry r:5000 refused user push")

    monkeypatch.setattr(FakeRegistry, "tags_or_none", refuse)
    result, _ = scene.build(["base"], {"base": None}, {})
    assert result["problem"] == "nothing was built: registry r:5000 refused user push"
    assert scene.called("") == ["version"]


def test_an_engine_that_does_not_answer_is_told_before_anything_is_built(scene: Scene) -> None:
    (scene.folder / "bin/docker").write_text("#!/bin/sh\necho Cannot connect to the Docker daemon\nexit 1\n")
    result, _ = scene.build(["base"], {"base": None}, {})
    assert result["failed"]
    assert result["problem"] == (
        "nothing was built, failed at docker version: no Docker engine answers on the build server."
        " Next, there: systemctl restart docker\n"
        "    Cannot connect to the Docker daemon"
    )


def test_what_was_pushed_is_not_called_unpushed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise registry_client.RegistryError("registry r:5000: PUT failed (HTTP 500)")

    monkeypatch.setattr(FakeRegistry, "move_tag", refuse)
    result, _ = scene.build(["base"], {"base": None}, {"base": ["v1"]})
    assert result["failed"]
    assert result["failures"]["base"]["pushed"] == "v2"
    said = image_follow.explain(result)
    assert "base v2 was pushed, and then failed at registry: registry r:5000: PUT failed (HTTP 500)" in said
    assert "Next: make build IMAGE=base" in said


def test_a_push_whose_answer_was_lost_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    scene = Scene(tmp_path, push_code=1)  # the fake registry has what docker was told to push
    result, _ = scene.build(["base"], {"base": None}, {})
    assert result["failures"]["base"]["pushed"] == "v1"


def test_a_remark_that_cannot_be_made_fails_no_build(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: Any) -> dict[str, str]:
        raise registry_client.RegistryError("blob unknown")

    monkeypatch.setattr(FakeRegistry, "labels", lost)
    result, _ = scene.build(["base"], {"base": None}, {"base": ["v1"]})
    assert not result["failed"]
    assert result["builds"]["base"]["same_as"] == ""


def test_a_failed_build_prunes_the_cache_as_well(scene: Scene) -> None:
    scene.build(["base"], {"base": None}, {}, broken=("base",))
    assert len(scene.called("builder prune")) == 1


def test_a_log_on_a_full_disk_hides_no_failure(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = image_runner.RunLog

    def on_a_full_disk(path: Path) -> Any:
        log = whole(path)
        log._file = Path("/dev/full").open("a", buffering=1, encoding="utf-8")  # noqa: SIM115  the log's, for good
        return log

    monkeypatch.setattr(image_build, "RunLog", on_a_full_disk)
    result, _ = scene.build(["base"], {"base": None}, {}, broken=("base",))
    assert result["failed"]
    assert result["failures"]["base"]["step"] == "[1/1] RUN it"


def test_credentials_come_from_dockers_own_file() -> None:
    config = {"auths": {"r:5000": {"auth": "cHVzaDphOmI="}}}
    assert image_build.docker_login(config, "r:5000") == ("push", "a:b")
    assert image_build.docker_login({}, "r:5000") == ("", "")


def test_the_last_runs_are_kept(tmp_path: Path) -> None:
    # The first one came from a control node whose clock is ahead.
    for age, name in enumerate(("20260103-a", "20260102-a", "20260101-a")):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1000 + age, 1000 + age))
    image_build.forget_old_runs(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["20260101-a", "20260102-a"]


def test_a_run_that_is_at_work_is_kept(tmp_path: Path) -> None:
    for name in ("20260101-a", "20260102-a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "alive").touch()
    os.utime(tmp_path / "20260101-a", (1000, 1000))
    with (tmp_path / "20260101-a" / "alive").open() as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        image_build.forget_old_runs(tmp_path, 1)
        assert len(list(tmp_path.iterdir())) == 2
    image_build.forget_old_runs(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["20260102-a"]


def test_nobody_answers() -> None:
    assert image_smoke.http_status("", 1, "/") == (0, "the container has no address")
