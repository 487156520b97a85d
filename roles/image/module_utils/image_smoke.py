"""The smoke test: does a built image start and answer, with what it needs beside it on a network without a way out?"""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Callable, Iterator, Mapping

from ansible.module_utils import image_commands as commands
from ansible.module_utils.image_runner import BuildError, Programs
from ansible.module_utils.image_spec import Get, Need, Smoke

_PULL_SECONDS = 600
_ASK_EVERY_SECONDS = 0.2


def sweep(programs: Programs, image: str) -> None:
    """Remove what a test of this image left behind. Only called under the image's lock."""
    for kind, remove in (("container", ["rm", "--force", "--volumes"]), ("network", ["network", "rm"])):
        code, ids = programs.ask(commands.leftovers(image, kind))
        if code == 0 and ids.split():
            programs.ask(["docker", *remove, *ids.split()])


def smoke_test(
    programs: Programs, reference: str, smoke: Smoke, *, needs: Mapping[str, str], env: Mapping[str, str]
) -> None:
    """Raises BuildError when the image does not do what its image.yml asks. `needs`: alias -> image reference."""
    image = programs.image
    with _network(programs, image):
        for need in smoke.needs:
            _start_need(programs, image, need, needs[need.alias], smoke.deadline_seconds)
        env = {**env, **smoke.env}
        for number, command in enumerate(smoke.before):
            step = f"smoke test, before: {' '.join(command)}"
            programs.log.step(image, step)
            words = commands.run(reference, f"{commands.network_name(image)}-before-{number}", image, env, command)
            programs.run(step, words, seconds=smoke.deadline_seconds)
        name = f"{commands.network_name(image)}-image"
        if smoke.get:
            programs.log.step(image, f"smoke test: GET {smoke.get.path} on port {smoke.get.port}")
            _start(programs, "smoke test: start", commands.run(reference, name, image, env, detach=True))
            _wait_for_answer(programs, name, smoke.get, smoke.deadline_seconds)
        else:
            step = f"smoke test: {commands.short(' '.join(smoke.command))}"
            programs.log.step(image, step)
            words = commands.run(reference, name, image, env, smoke.command)
            programs.run(step, words, seconds=smoke.deadline_seconds)


@contextlib.contextmanager
def _network(programs: Programs, image: str) -> Iterator[None]:
    sweep(programs, image)
    try:
        _start(programs, "smoke test: network", commands.network(commands.network_name(image), image))
        yield
    finally:
        sweep(programs, image)


def _start(programs: Programs, step: str, words: list[str]) -> None:
    code, said = programs.ask(words)
    if code != 0:
        raise BuildError(step, f"exit code {code}", said.splitlines()[-commands.TAIL_LINES :])


def _start_need(programs: Programs, image: str, need: Need, reference: str, seconds: float) -> None:
    step = f"smoke test needs {need.alias} ({need.image})"
    programs.log.step(image, step)
    if programs.ask(["docker", "image", "inspect", reference])[0] != 0:
        programs.run(f"{step}: pull", ["docker", "pull", "--quiet", reference], seconds=_PULL_SECONDS)
    name = f"{commands.network_name(image)}-{need.alias}"
    _start(programs, step, commands.run(reference, name, image, need.env, alias=need.alias, detach=True))
    last = ""

    def ready() -> bool:
        nonlocal last
        code, last = programs.ask(["docker", "exec", name, *need.ready], seconds=seconds)
        return bool(code == 0)

    if not _until(ready, lambda: _running(programs, name), seconds):
        raise _no_success(programs, f"{step}: {' '.join(need.ready)}", name, last.strip(), seconds)


def _wait_for_answer(programs: Programs, name: str, get: Get, seconds: float) -> None:
    format_ = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    address = programs.ask(["docker", "inspect", "--format", format_, name])[1].strip()
    last = "no answer"

    def answers() -> bool:
        nonlocal last
        status, last = http_status(address, get.port, get.path)
        return bool(status == get.status)

    if not _until(answers, lambda: _running(programs, name), seconds):
        wanted = f"wanted {get.status} from {get.path} on port {get.port}; last answer: {last}"
        raise _no_success(programs, "smoke test", name, wanted, seconds)


def http_status(address: str, port: int, path: str) -> tuple[int, str]:
    """Status and a line about the answer; status 0 when there was none."""
    if not address:
        return 0, "the container has no address"
    connection = http.client.HTTPConnection(address, port, timeout=2)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read(200).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return 0, str(getattr(error, "strerror", None) or error or type(error).__name__)
    finally:
        connection.close()
    return answer.status, commands.short(f"HTTP {answer.status} {body}")


def _until(reached: Callable[[], bool], alive: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        if reached():
            return True
        # A container that ended will never answer: no reason to sit out the deadline.
        if time.monotonic() > deadline or not alive():
            return False
        time.sleep(_ASK_EVERY_SECONDS)


def _running(programs: Programs, name: str) -> bool:
    return bool(programs.ask(["docker", "inspect", "--format", "{{.State.Running}}", name])[1].strip() == "true")


def _no_success(programs: Programs, step: str, name: str, why: str, seconds: float) -> BuildError:
    state = "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}"
    found = programs.ask(["docker", "inspect", "--format", state, name])[1].split()
    if found[:1] == ["exited"]:
        out_of_memory = ", out of memory" if found[2:] == ["true"] else ""
        what, why = f"the container ended by itself, exit code {found[1]}{out_of_memory}", ""
    else:
        what = f"not within {seconds:g} s"
    tail = programs.ask(["docker", "logs", "--tail", str(commands.TAIL_LINES), name])[1].splitlines()
    return BuildError(step, f"{what}; {why}" if why else what, [commands.clean(line) for line in tail])
