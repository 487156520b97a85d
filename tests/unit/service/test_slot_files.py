"""Exact files and command lines of a slot, for both init systems."""

from __future__ import annotations

import pytest
from ansible.module_utils.tagboat import slot
from ansible.module_utils.tagboat.host import ENGINE_SECONDS
from fake_host import WANTS, FakeHost, Image
from host_story import HTTP, WORKER, release

FULL = release("v65", HTTP, cpus=1.5, env={"LOG_FORMAT": "json", "GREETING": "two words # and 'quotes'"}) | {
    "revision": "0123abc"
}


def test_the_environment_of_a_slot() -> None:
    assert slot.environment("web", "b", FULL, "production", "web1") == (
        "DIGEST=sha256:v65\n"
        "ENVIRONMENT=production\n"
        "GREETING=two words # and 'quotes'\n"
        "HOST=web1\n"
        "LOG_FORMAT=json\n"
        "REVISION=0123abc\n"
        "SERVICE=web\n"
        "SLOT=b\n"
        "TAG=v65\n"
    )


def test_the_run_file_of_an_http_service() -> None:
    assert slot.run_file("web", "b", FULL) == (
        "RUN_ARGS='--memory=256m --memory-swap=256m --pids-limit=256 --cpus=1.5 --read-only --tmpfs=/tmp"
        " --publish=127.0.0.1:20080:8000 --stop-timeout=10"
        " --label=tagboat.service=web --label=tagboat.tag=v65 --label=tagboat.digest=sha256:v65'\n"
        "IMAGE=r1:5000/web@sha256:v65\n"
        "COMMAND=''\n"
    )


def test_the_run_file_of_a_worker() -> None:
    worker = release("v3", WORKER, read_only=False, stop_seconds=90, command=["python", "-m", "app", "work"])
    assert slot.run_file("eval_worker", "a", worker) == (
        "RUN_ARGS='--memory=256m --memory-swap=256m --pids-limit=256 --tmpfs=/tmp --stop-timeout=90"
        " --label=tagboat.service=eval_worker --label=tagboat.tag=v3 --label=tagboat.digest=sha256:v3'\n"
        "IMAGE=r1:5000/web@sha256:v3\n"
        "COMMAND='python -m app work'\n"
    )


def test_what_a_container_keeps_and_what_it_reads() -> None:
    bot = release("v1", HTTP, volume="/state", reads=["/var/log/journal/remote"], groups=[19532])
    words = slot.run_file("ops_bot", "a", bot)
    assert " --mount=type=volume,source=tagboat-ops_bot,target=/state " in words
    assert " --mount=type=bind,source=/var/log/journal/remote,target=/var/log/journal/remote,readonly " in words
    assert " --group-add=19532 " in words


@pytest.mark.parametrize(("live", "idle"), [("a", "b"), ("b", "a"), (None, "a")])
def test_the_idle_slot(live: str | None, idle: str) -> None:
    assert slot.other(live) == idle


def commands(host: FakeHost) -> list[str]:
    return [effect.removeprefix("run ") for effect in host.effects if not effect.startswith("exists")]


def run(init: str, verb: str) -> list[str]:
    host = FakeHost(init)
    system = slot.init_of(host)
    for name in slot.SLOTS:
        host.files[f"/etc/tagboat/web/{name}.run"] = "RUN_ARGS=''\nIMAGE=i\nCOMMAND=''\n"
        host.files[f"/etc/tagboat/web/{name}.env"] = ""
    host.files["/etc/tagboat/web/secrets.env"] = ""
    host.images["i"] = Image()
    match verb:
        case "stop_later":
            system.stop_later("web", "b", 600)
        case "keep":
            system.keep("web")
        case "stop":
            system.stop("web", "b", timeout_seconds=130)
        case _:
            getattr(system, verb)("web", "b")
    return commands(host)


@pytest.mark.parametrize(
    ("verb", "lines"),
    [
        ("start", ["systemctl restart web@b.service"]),
        ("stop", ["systemctl stop web@b.service"]),
        ("resume", ["systemctl start web@b.service"]),
        ("enable", [f"link {WANTS}/web@b.service"]),
        ("disable", [f"remove {WANTS}/web@b.service"]),
        ("keep", ["systemctl stop tagboat-standby-web.timer tagboat-standby-web.service"]),
        (
            "stop_later",
            [
                "systemctl stop tagboat-standby-web.timer tagboat-standby-web.service",
                "systemd-run --quiet --collect --unit=tagboat-standby-web --on-active=600 systemctl stop web@b.service",
            ],
        ),
    ],
)
def test_systemd(verb: str, lines: list[str]) -> None:
    assert run("systemd", verb) == lines


@pytest.mark.parametrize(
    ("verb", "lines"),
    [
        ("start", ["initctl stop web SLOT=b", "initctl status web SLOT=b", "initctl start web SLOT=b"]),
        ("stop", ["initctl stop web SLOT=b", "initctl status web SLOT=b"]),
        ("resume", []),
        ("enable", ["write /etc/tagboat/web/b.boot"]),
        ("disable", ["remove /etc/tagboat/web/b.boot"]),
        ("keep", []),
        ("stop_later", ["initctl stop web SLOT=b", "initctl status web SLOT=b"]),
    ],
)
def test_upstart(verb: str, lines: list[str]) -> None:
    assert [line for line in run("upstart", verb) if line != "clock"] == lines


def test_unit_paths() -> None:
    assert slot.init_of(FakeHost("systemd")).unit_path("web") == "/etc/systemd/system/web@.service"
    assert slot.init_of(FakeHost("upstart")).unit_path("web") == "/etc/init/web.conf"


@pytest.mark.parametrize("init", ["systemd", "upstart"])
def test_a_stop_may_take_the_time_its_container_has_and_the_engines_own(init: str) -> None:
    host = FakeHost(init)
    host.files["/etc/tagboat/web/b.run"] = slot.run_file("web", "b", release("v3", WORKER, stop_seconds=7200))
    waited: list[float] = []
    original = host.run

    def run(argv: list[str], timeout_seconds: float = 0, check: bool = True) -> str:
        waited.append(timeout_seconds)
        return original(argv, timeout_seconds, check)

    host.run = run  # type: ignore[method-assign]
    slot.Slot(host, slot.init_of(host), "web", "b").stop()
    assert waited[0] == 7200 + ENGINE_SECONDS


def test_upstart_waits_for_a_stop_that_has_only_begun() -> None:
    host = FakeHost("upstart")
    host.files["/etc/tagboat/web/b.run"] = slot.run_file("web", "b", release("v3", WORKER))
    host.files["/etc/tagboat/web/b.env"] = host.files["/etc/tagboat/web/secrets.env"] = ""
    host.images["r1:5000/web@sha256:v3"] = Image()
    host.lingers = 8
    init = slot.init_of(host)
    init.start("web", "b")
    init.stop_behind("web", "b")
    assert host.running("web-b")
    init.stop("web", "b", timeout_seconds=130)
    assert not host.running("web-b")
