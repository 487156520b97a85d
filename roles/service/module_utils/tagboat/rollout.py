"""What a rollout does on one host. Read `switch` first: it is the release switch, in the order it happens.

At every instant the slot that the record names as live runs a healthy release: a new release is healthy before the
edge sends it a request, and the old slot is let go only after the record names the new one. So this process may be
killed at any instruction; the next one begins by making the host agree with the record.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from . import slot as slots
from .edge import Edge
from .freeze import Freeze
from .host import CommandError, CommandTimeoutError, Host
from .lease import Lease
from .record import REPLACED, ROLLED_BACK, STANDBY, Record, Release
from .watch import Trouble, Watch

LOG_LINES = 20
LOOK_SECONDS = 0.5  # between two questions to the engine whether a container whose page does not answer yet still runs
LOOK_TIMEOUT_SECONDS = 5  # while a release is watched: an engine that hangs must not keep anybody from its page
ANSWER_SECONDS = 10  # to a simple question, before its host changes and when its state is told
RESTART_SECONDS = 30  # that an engine may take to restart before its host counts as broken
T = TypeVar("T")


class RolloutError(Exception):
    """This host refused. The message says what happened and what serves now; `log` holds the container's last lines.

    `blames`: the release is at fault, not the host.
    """

    def __init__(self, message: str, log: str = "", blames: bool = False) -> None:
        super().__init__(message)
        self.log = log
        self.blames = blames


class Rollout:
    """One rollout of one service on this host.

    Args:
        host: where effects happen.
        service: the service's name.
        rollout: `id`, `by` and `what` of the rollout, for leases and records; `forced`: why no freeze stops it.
        environment_name: passed on to containers.
        host_name: the inventory's name of this host.
    """

    def __init__(
        self,
        host: Host,
        service: str,
        rollout: dict[str, Any],
        environment_name: str = "",
        host_name: str = "",
    ) -> None:
        self.host = host
        self.service = service
        self.rollout = rollout
        self.environment_name = environment_name
        self.host_name = host_name
        self.init = slots.init_of(host)
        self.edge = Edge(host, service)
        self.record = Record(host, service)
        self.lease = Lease(host, service, rollout)
        self.freeze = Freeze(host)
        self.timings: dict[str, float] = {}

    # --- the steps of a rollout, each one remote execution -------------------------------------------------------

    def preflight(self, release: Release | None, first: bool, min_free_mb: int) -> dict[str, Any]:
        """Take the lease and make sure that this host can run `release`; change nothing that users see.

        Raises:
            RolloutError: it cannot.
            LeaseHeldError: another rollout is under way.
        """
        if not self.host.exists(self.init.unit_path(self.service)):
            raise RolloutError(f"this host is not prepared for {self.service}: make site")
        if release:
            self.refuse_when_frozen()
            self.freeze.forget_expired()
        self.lease.take(first)
        with self.lease:
            self._timed("engine", lambda: self._need_engine(min_free_mb))
            self._need_edge(release or self.record.live)
            if release:
                self._timed("pull", lambda: self._need_image(release))
        return self.status()

    def migrate(self, release: Release, secrets: dict[str, str], deadline_seconds: float) -> str:
        """Run the release's migration, in a container of its own; return what it printed.

        Once per rollout, by the first host, in the same remote execution as its switch.

        Raises:
            RolloutError: it failed. Nothing has been switched.
            LeaseHeldError: another rollout is under way.
        """
        with self._at_work():
            return self._timed("migrate", lambda: self._migrate(release, secrets, deadline_seconds))

    def _migrate(self, release: Release, secrets: dict[str, str], deadline_seconds: float) -> str:
        spec = release["spec"]
        folder = f"/etc/tagboat/{self.service}"
        self.host.write(f"{folder}/secrets.env", _secrets_file(secrets), 0o600)
        self.host.write(
            f"{folder}/migrate.env",
            slots.environment(self.service, "migrate", release, self.environment_name, self.host_name),
        )
        name = f"{self.service}-migrate"
        self.host.run(["docker", "rm", "--force", name], check=False)
        command = ["docker", "run", "--rm", "--name", name, "--network=tagboat", "--pull=never", "--cap-drop=ALL"]
        command += ["--security-opt=no-new-privileges", *slots.limits(self.service, spec)]
        command += [f"--env-file={folder}/migrate.env", f"--env-file={folder}/secrets.env"]
        try:
            return self.host.run([*command, release["image"], *spec["migrate"]], timeout_seconds=deadline_seconds)
        except CommandError as error:
            self.host.run(["docker", "rm", "--force", name], check=False)
            raise RolloutError(f"the migration of {release['tag']} failed; nothing was switched", str(error)) from None

    def switch(
        self, release: Release, secrets: dict[str, str], left: str = STANDBY, reason: str = "", force: bool = False
    ) -> bool:
        """Make `release` the live release of this host; return False when it is already.

        Args:
            release: tag, digest, image and spec (the service's configuration) to run.
            secrets: the current secrets of the service.
            left: what becomes of the release that serves now: STANDBY, or ROLLED_BACK.
            reason: why it is rolled back.
            force: start it again even when it is live.

        Raises:
            RolloutError: it never became healthy; the old release never stopped serving.
            LeaseHeldError: another rollout is under way.
        """
        with self._at_work():
            return self._switch(release, secrets, left, reason, force)

    def _switch(self, release: Release, secrets: dict[str, str], left: str, reason: str, force: bool = False) -> bool:
        http, overlap = "port" in release["spec"], release["spec"]["overlap"]
        restarted = self.settle(http)
        old = self.record.live
        if old and same(old, release) and not force:
            if restarted:
                self._wait_healthy(self._slot(old["slot"]), old)
            self._tidy(old)
            # A connection that broke makes Ansible ask again: what this rollout has done here is still its doing.
            return restarted or self._is_live_by_me()
        self._need_image(release)
        new = self._slot(slots.other(self.record.live_slot))
        behind = self._slot(slots.other(new.name))
        for path, text in new.files(release, self.environment_name, self.host_name).items():
            self.host.write(path, text)
        self.host.write(f"/etc/tagboat/{self.service}/secrets.env", _secrets_file(secrets), 0o600)
        self.init.keep(self.service)

        try:
            if old and not overlap:
                self._timed("stop", lambda: self._make_room(behind))
            if not force and self._is_ready(new, release, secrets):
                self.init.resume(self.service, new.name)
            else:
                if standby := self.record.standby:
                    self.record.mark(standby, REPLACED)  # before its slot is taken
                self._timed("start", new.start)
            self._timed("healthy", lambda: self._wait_healthy(new, release))
            self.init.enable(self.service, new.name)
            if http:
                self._timed("flip", lambda: self.edge.flip(slots.container(self.service, new.name), new.name))
            self.record.went_live(self._entry(release), new.name, left, reason)
        except (RolloutError, CommandError, OSError) as error:
            log = new.log_tail(LOG_LINES)
            self._back_out(new, http)
            # A full disk, a dead edge or an engine that hangs is no fault of the release.
            blames = not isinstance(error, (OSError, CommandTimeoutError))
            if blames:
                self.record.has_failed(self._entry(release), str(error))
            raise RolloutError(f"{release['tag']} was refused: {error}; {self.serving()}", log, blames) from None

        self.init.disable(self.service, behind.name)
        if old and overlap:
            self._let_go(behind, old, left)
        return True

    def watch(self, limits: Watch) -> None:
        """Look at the release that this rollout made live for a while. Changes nothing.

        Raises:
            RolloutError: it got worse: its container ended, it is not healthy any more, or it answers more requests
                with a 5xx than the release before did.
            CommandError, OSError: the engine does not answer, and has not for RESTART_SECONDS after the end.
        """
        live = self.record.live
        if live is None or not self._is_live_by_me():
            return
        with self.lease.prolonged():  # in the background it has been let go, and stays so
            self._watch(self._slot(live["slot"]), live, limits)

    def _watch(self, slot: slots.Slot, live: Release, limits: Watch) -> None:
        trouble = Trouble(limits)
        container = ""
        deadline = self.host.clock() + limits["seconds"]
        while self._is_live_by_me():  # else another rollout came, or this one goes back: nothing left to watch
            ended, silent = None, None
            try:
                ended = slot.why_ended(LOOK_TIMEOUT_SECONDS)
                now = slot.container_id(LOOK_TIMEOUT_SECONDS)
                container = container or now
                if ended is None and now != container:
                    ended = "the container ended and was started again"
            except (CommandError, OSError) as error:  # containers outlive an engine that restarts: the page tells more
                silent = error
            healthy, answer = self._ask_live(live) if ended is None else (False, "")
            if reason := ended or trouble.after(healthy, answer, self.edge.answers()):
                tail = slot.log_tail(LOG_LINES)
                raise RolloutError(f"{live['tag']} got worse after the switch: {reason}", tail, blames=True)
            if silent is None and self.host.clock() >= deadline:
                return
            if silent and self.host.clock() >= deadline + RESTART_SECONDS:
                raise silent  # of the host, not of the release
            self.host.sleep(1)
            self.record = Record(self.host, self.service)

    def undo(self, secrets: dict[str, str], reason: str, left: str = ROLLED_BACK) -> bool:
        """Go back to what served before this rollout, if this rollout changed it.

        Args:
            secrets: the current secrets of the service.
            reason: why.
            left: what becomes of the release that is left: ROLLED_BACK, which marks its tag bad, or REPLACED, when it
                was a host that failed and not the release.
        """
        if not (self.lease.is_mine() or self._is_live_by_me()):
            return False
        with self._at_work():
            if not self._is_live_by_me():
                return False
            before = self.record.left_by(self.rollout["id"])
            # An id of its own, because connections break and Ansible tries again: undoing twice is undoing once.
            self.rollout = {**self.rollout, "id": f"{self.rollout['id']}-undo"}
            if before:
                return self._switch(before, secrets, left, reason if left == ROLLED_BACK else "")
            self._take_down(reason)
            return True

    def finish(self) -> None:
        """Let the next rollout begin."""
        self.lease.release()

    def status(self) -> dict[str, Any]:
        """Return what this host runs and ran, and whether it is healthy now. Changes nothing."""
        live = self.record.live
        return {
            "live": live,
            "slot": self.record.live_slot,
            "releases": self.record.releases,
            "health": self._health(live) if live else "nothing runs",
            "lease": self.lease.holder(),
            "maintenance": self.edge.in_maintenance(),
            "freeze": self.freeze.now(),
        }

    def maintain(self, on: bool) -> bool:
        """Answer with the maintenance page, or with the live release again; return whether that changed anything.

        Going into maintenance waits for nobody: a rollout under way goes on behind the page, see `Edge.flip`. The way
        back waits for it, because until it is done the record may name a slot that is about to be let go.
        """
        if on:
            return self.edge.begin_maintenance()
        with self._alone():
            return self.edge.end_maintenance(slots.container(self.service, self.record.live_slot or "none"))

    def remove(self) -> None:
        """Take the service off this host: its containers, unit, configuration, secrets, and what is known of it.

        What is known goes last, so that an interrupted removal still shows in the status and can be repeated.

        Raises:
            LeaseHeldError: a rollout of it is under way.
        """
        with self._at_work():
            self.init.keep(self.service)
            self.edge.forget()
            for name in slots.SLOTS:
                self.init.disable(self.service, name)
                self._slot(name).stop()
                self.host.run(["docker", "rm", "--force", slots.container(self.service, name)], check=False)
            for image in {release["image"] for release in self.record.releases}:
                self.host.run(["docker", "image", "rm", image], check=False)  # one that others use stays
            self.init.forget(self.service)
            self.host.remove_folder(f"/etc/tagboat/{self.service}")
            self.record.forget()

    def refuse_when_frozen(self) -> None:
        """Let no deploy pass while the environment is frozen, unless a reason was given for going on.

        Raises:
            RolloutError: it is frozen.
        """
        freeze = self.freeze.now()
        if freeze and not self.rollout.get("forced"):
            raise RolloutError(
                f"deploys are frozen by {freeze['by']} until {freeze['until']}: {freeze['reason']}. Rollbacks are not."
                " Next: make thaw, or, knowing better: make deploy ... FORCE=1 REASON='...'"
            )

    def preview(self, release: Release) -> dict[str, str]:
        """Return what `switch` would write, as Ansible's diff."""
        live = self.record.live
        new = self._slot(slots.other(self.record.live_slot))
        now = (
            self._slot(self.record.live_slot or "a").files(live, self.environment_name, self.host_name) if live else {}
        )
        then = new.files(release, self.environment_name, self.host_name)
        title = f"{self.service} on {self.host_name}: {live['tag'] if live else 'nothing'} -> {release['tag']}"
        lines = difflib.unified_diff(
            "".join(now.values()).splitlines(),
            "".join(then.values()).splitlines(),
            f"slot {self.record.live_slot or 'none'}",
            f"slot {new.name}",
            lineterm="",
            n=0,
        )
        return {"prepared": "\n".join([title, *lines]) + "\n"}

    # --- what the steps are made of --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        """Change the host under the lease, alone.

        A broken connection may have left this very rollout at work here, in another process: wait until it is done.
        """
        self.lease.confirm()
        with self.lease, self._alone():
            yield

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait for other processes that change this service here, and see what they have led to."""
        with self.host.lock(f"/run/tagboat/{self.service}.lock"):
            self.record = Record(self.host, self.service)
            yield

    def settle(self, http: bool) -> bool:
        """Make what serves agree with the record, whatever an interrupted rollout left behind.

        Returns:
            Whether the live release did not run and had to be started.
        """
        live = self.record.live
        slot = self._slot(live["slot"]) if live else None
        restarted = False
        if live and slot and not slot.is_running():
            if not live["spec"]["overlap"]:
                self._slot(slots.other(slot.name)).stop()
            # A release that cannot start must not keep the next one away.
            with contextlib.suppress(CommandError, OSError):
                slot.start()
            restarted = True
        if http:
            backend = slots.container(self.service, slot.name if slot else "none")
            if not self.edge.agrees(backend):
                self.edge.flip(backend, None)
        return restarted

    def _tidy(self, live: Release) -> None:
        """End what an interrupted rollout left running beside the live release."""
        beside = self._slot(slots.other(live["slot"]))
        self.init.enable(self.service, live["slot"])
        self.init.disable(self.service, beside.name)
        if beside.is_running():
            self._let_go(beside, live, STANDBY if self.record.standby else ROLLED_BACK)

    def _make_room(self, behind: slots.Slot) -> None:
        """Stop the live release of a service that must never run twice."""
        try:
            behind.stop()
        except CommandError:
            self.init.start_behind(self.service, behind.name)  # the stop may yet come to its end, with nobody here
            raise

    def _back_out(self, new: slots.Slot, http: bool) -> None:
        """Begin to end a slot that was refused, after making sure that nothing is sent to it."""
        self.record = Record(self.host, self.service)
        if not http:
            self.init.stop_behind(self.service, new.name)  # nothing is sent to it: even if the rest fails
        self.settle(http)
        if http:
            self.init.stop_behind(self.service, new.name)  # nobody needs to wait for what carries no traffic
        else:
            new.stop()  # what it works on gets its `stop_seconds` before the next rollout may begin
        self.init.disable(self.service, new.name)

    def _take_down(self, reason: str) -> None:
        """End the first release ever: there is nothing to go back to, so nothing serves."""
        left = self.record.live
        assert left is not None
        self.record.nothing_serves(reason)
        self.settle("port" in left["spec"])
        self._slot(left["slot"]).stop()
        self.init.disable(self.service, left["slot"])

    def _is_live_by_me(self) -> bool:
        live = self.record.live
        return live is not None and live["rollout"] == self.rollout["id"]

    def _is_ready(self, new: slots.Slot, release: Release, secrets: dict[str, str]) -> bool:
        """Tell whether the slot runs this very release already, as standby."""
        standby = self.record.standby
        return bool(
            standby and standby["slot"] == new.name and same(standby, release) and new.runs(release["digest"], secrets)
        )

    def serving(self) -> str:
        """Say in words what serves on this host."""
        live = self.record.live
        return f"{self.host_name} still serves {live['tag']}" if live else f"{self.host_name} serves no release"

    def _slot(self, name: str) -> slots.Slot:
        return slots.Slot(self.host, self.init, self.service, name)

    def _entry(self, release: Release) -> Release:
        keep = ("tag", "digest", "image", "revision", "spec")
        entry = {key: release[key] for key in keep if key in release}
        entry.update({key: self.rollout[key] for key in ("forced", "skipped") if self.rollout.get(key)})
        return {**entry, "rollout": self.rollout["id"], "by": self.rollout["by"], "at": self._at()}

    def _at(self) -> str:
        """When the release came, by the control node's clock if it told: times of different hosts are compared."""
        return str(self.rollout.get("at") or self.host.now())

    def _need_engine(self, min_free_mb: int) -> None:
        try:
            self.host.engine("GET", "/version", timeout_seconds=ANSWER_SECONDS)
        except OSError as error:
            raise RolloutError(f"{error}; {self.serving()}") from None
        free = self.host.free_bytes("/var/lib/docker") // 1_000_000
        if free < min_free_mb:
            raise RolloutError(f"only {free} MB are free, {min_free_mb} MB are needed: make prune; {self.serving()}")

    def _need_edge(self, release: Release | None) -> None:
        if release and release["spec"].get("port"):
            try:
                self.edge.points_to()
            except OSError as error:
                raise RolloutError(f"{error}; {self.serving()}") from None

    def _need_image(self, release: Release) -> None:
        if self.host.engine("GET", f"/images/{release['image']}/json"):
            return
        try:
            self.host.run(["docker", "pull", "--quiet", release["image"]], timeout_seconds=900)
        except CommandError as error:
            raise RolloutError(f"{release['tag']} could not be pulled: {error}; {self.serving()}") from None

    def _wait_healthy(self, new: slots.Slot, release: Release) -> None:
        spec = release["spec"]
        health = spec["health"]
        begin = self.host.clock()
        looked = float("-inf")
        answer = "no answer"
        while True:
            if spec.get("port"):
                healthy, answer = self._ask(slots.port(spec, new.name), health["path"])
                to_look = not healthy and self.host.clock() - looked >= LOOK_SECONDS
            else:
                healthy = self.host.clock() - begin >= health["ready_seconds"]
                to_look = True  # that it still runs is all that a worker shows
            if to_look:
                looked = self.host.clock()
                if ended := new.why_ended():
                    raise RolloutError(ended)
            if healthy:
                return
            if self.host.clock() - begin > health["deadline_seconds"]:
                raise RolloutError(f"not healthy within {health['deadline_seconds']:g} s, last: {answer}")
            self.host.sleep(health["interval_seconds"])

    def _ask(self, port: int, path: str) -> tuple[bool, str]:
        try:
            status, body = self.host.get(port, path, timeout_seconds=2)
        except OSError as error:
            return False, f"no answer ({error})"
        return status == 200, f"{status} {body}"

    def _health(self, live: Release) -> str:
        slot = self._slot(live["slot"])
        try:
            if ended := slot.why_ended(ANSWER_SECONDS):
                return ended
            healthy, answer = self._ask_live(live)
            if not healthy:
                return answer
            if live["spec"].get("port") and not self.edge.agrees(slots.container(self.service, live["slot"])):
                return f"healthy, but the edge sends requests elsewhere: make deploy of {live['tag']} mends it"
        except (CommandError, OSError) as error:  # of the engine or the edge: nobody sees how healthy it is
            return str(error)
        return "healthy"

    def _ask_live(self, live: Release) -> tuple[bool, str]:
        spec = live["spec"]
        if not spec.get("port"):
            return True, ""  # a worker is healthy as long as it runs
        return self._ask(slots.port(spec, live["slot"]), spec["health"]["path"])

    def _let_go(self, old: slots.Slot, release: Release, left: str) -> None:
        spec = release["spec"]
        if spec.get("port"):
            self._timed("drain", lambda: self._drain(slots.container(self.service, old.name), spec["drain_seconds"]))
        if not spec.get("port"):
            self._timed("stop", old.stop)  # what it works on gets its `stop_seconds` before the rollout is over
        elif left == STANDBY and spec["standby_seconds"]:
            self.init.stop_later(self.service, old.name, spec["standby_seconds"])
        else:
            self.init.stop_behind(self.service, old.name)  # drained: nobody needs to wait for its farewell

    def _drain(self, backend: str, seconds: float) -> None:
        deadline = self.host.clock() + seconds
        while self.edge.requests_in_flight(backend) and self.host.clock() < deadline:
            self.host.sleep(0.05)

    def _timed(self, name: str, step: Callable[[], T]) -> T:
        begin = self.host.clock()
        try:
            return step()
        finally:
            self.timings[name] = round(self.timings.get(name, 0) + self.host.clock() - begin, 3)


def same(one: Release, another: Release) -> bool:
    """Tell whether two releases run the same bytes with the same configuration."""
    return bool(one["digest"] == another["digest"] and one["spec"] == another["spec"])


def _secrets_file(secrets: dict[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in sorted(secrets.items()))
