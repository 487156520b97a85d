"""A day of a small team, for tests of the page: builds, deploys, a bad one, a rollback, errors, a freeze."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from ops_bot.events import Commit, ErrorNote, Event, HostState, Kind, State

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)> \"quoted\" 'single' &amp; \u202egnp"


def event(correlation: str, kind: Kind, state: State, at: datetime, **fields: Any) -> Event:
    return Event(correlation=correlation, kind=kind, state=state, at=at, **fields)


def hosts(tag: str, *names: str, state: str = "switched") -> list[HostState]:
    return [HostState(name=name, tag=tag, state=state, seconds=1.6) for name in names]


def rollout(
    number: int,
    at: datetime,
    tag: str,
    before: str,
    *,
    service: str = "web",
    env: str = "production",
    names: tuple[str, ...] = ("web1", "web2"),
    kind: Kind = Kind.DEPLOY,
    actor: str = "ada",
    **more: Any,
) -> list[Event]:
    told: dict[str, Any] = {
        "environment": env,
        "service": service,
        "image": service,
        "tag": tag,
        "from_tag": before,
        "actor": actor,
    }
    key = f"{kind}:{number:08x}"
    begun = event(
        key,
        kind,
        State.STARTED,
        at,
        **told,
        cause="playbook",
        expected_seconds=5.1,
        commits=[Commit(revision=f"{number:07x}", author=actor, subject="Fewer queries on the front page")],
        hosts=hosts(before, *names, state="waiting"),
    )
    ended: dict[str, Any] = {"state": State.FINISHED, "hosts": hosts(tag, *names), "duration_seconds": 4.8} | more
    return [begun, event(key, kind, ended.pop("state"), at + timedelta(seconds=5), **(told | ended))]


def build(number: int, at: datetime, image: str, tag: str, *, ok: bool = True) -> list[Event]:
    told: dict[str, Any] = {"image": image, "revision": f"{number:07x}a1b2", "actor": "ada", "cause": "git push"}
    if ok:
        return [event(f"build:{number:08x}", Kind.BUILD, State.FINISHED, at, **told, tag=tag, duration_seconds=64)]
    return [
        event(
            f"build:{number:08x}",
            Kind.BUILD,
            State.FAILED,
            at,
            **told,
            step="smoke test",
            error="GET /healthz answered 500",
            log_tail="Step 9/9 : CMD python -m app\nsmoke: GET /healthz: 500\n",
        )
    ]


def a_day(now: datetime) -> Iterator[list[Event]]:
    """What happened in the 30 hours until `now`, oldest first."""
    number = count(1)
    hour = timedelta(hours=1)
    for env, names in (("production", ("web1", "web2")), ("staging", ("stage1",))):
        yield rollout(next(number), now - 29 * hour, "v61", "v60", env=env, names=names)
        yield rollout(next(number), now - 28 * hour, "v14", "v13", service="eval_worker", env=env, names=names)
    for at, tag, before in ((21, "v62", "v61"), (14.5, "v63", "v62")):
        yield build(next(number), now - (at + 0.3) * hour, "web", tag)
        yield rollout(next(number), now - (at + 0.2) * hour, tag, before, env="staging", names=("stage1",), actor="ci")
        yield rollout(next(number), now - at * hour, tag, before)
    yield build(next(number), now - 10 * hour, "eval_worker", "v15", ok=False)
    yield build(next(number), now - 9.6 * hour, "eval_worker", "v15")
    yield rollout(
        next(number),
        now - 9.5 * hour,
        "v15",
        "v14",
        service="eval_worker",
        names=("eval1", "eval2", "eval3"),
        actor="grace",
    )
    yield build(next(number), now - 4.2 * hour, "web", "v64")
    yield rollout(
        next(number),
        now - 4 * hour,
        "v64",
        "v63",
        state=State.FAILED,
        undone=True,
        step="health",
        failed_host="web1",
        error='not healthy within 30.0 s, last: 503 {"status":"unready","reason":"search index: no answer"}',
        hosts=hosts("v63", "web1", state="undone") + hosts("v63", "web2", state="waiting"),
        log_tail='{"level": "warning", "message": "not ready", "reason": "search index: no answer"}\n' * 3,
    )
    yield build(next(number), now - 2.2 * hour, "web", "v65")
    yield rollout(
        next(number),
        now - 2 * hour,
        "v65",
        "v63",
        errors=[
            ErrorNote(
                fingerprint="9d1f", title="TypeError: 'NoneType' object is not iterable", count=120, seconds_after=244
            )
        ],
    )
    yield [
        event(
            "error:9d1f:1",
            Kind.ERROR,
            State.NEW,
            now - 1.9 * hour,
            environment="production",
            service="web",
            count=12,
            title="TypeError: 'NoneType' object is not iterable",
            culprit="play.py:41 in score",
            first_tag="v65",
            last_tag="v65",
            seconds_after_deploy=244,
            hosts=[HostState(name="web1"), HostState(name="web2")],
        ),
        event(
            "error:77aa:1",
            Kind.ERROR,
            State.NEW,
            now - 8 * hour,
            environment="production",
            service="eval_worker",
            count=3,
            title="eval_worker@a.service: out of memory, killed",
            first_tag="v15",
        ),
        event("error:77aa:1", Kind.ERROR, State.RESOLVED, now - 5 * hour, sequence=1, environment="production"),
    ]
    yield rollout(next(number), now - 1.5 * hour, "v63", "v65", kind=Kind.ROLLBACK, reason="500s on /play")
    yield [
        event(
            "freeze:staging:1",
            Kind.FREEZE,
            State.STARTED,
            now - 3 * hour,
            environment="staging",
            actor="ann",
            reason="load test until lunch",
            until=now + 2 * hour,
        )
    ]


def under_way(now: datetime) -> list[Event]:
    """A deploy in the middle of it."""
    told: dict[str, Any] = {
        "environment": "production",
        "service": "web",
        "tag": "v66",
        "from_tag": "v63",
        "actor": "ada",
    }
    at = now - timedelta(seconds=4)
    return [
        event(
            "deploy:live", Kind.DEPLOY, State.STARTED, at, **told, hosts=hosts("v63", "web1", "web2", state="waiting")
        ),
        event(
            "deploy:live",
            Kind.DEPLOY,
            State.PROGRESS,
            now,
            sequence=1,
            **told,
            step="health",
            hosts=[*hosts("v66", "web1"), HostState(name="web2", state="starting", tag="v63")],
        ),
    ]


def hostile(now: datetime) -> list[Event]:
    """A rollout and an error made of markup."""
    fields = ("environment", "service", "tag", "from_tag", "actor", "reason", "step", "error")
    told: dict[str, Any] = dict.fromkeys(fields, HOSTILE)
    return [
        event(
            f"deploy:{HOSTILE}",
            Kind.DEPLOY,
            State.FAILED,
            now,
            **told,
            log_tail=HOSTILE * 9,
            hosts=[HostState(name=HOSTILE, state=HOSTILE, tag=HOSTILE, message=HOSTILE)],
            next_command=HOSTILE,
        ),
        event(
            f"error:{HOSTILE}",
            Kind.ERROR,
            State.NEW,
            now,
            environment=HOSTILE,
            service=HOSTILE,
            title=HOSTILE,
            culprit=HOSTILE,
        ),
        event(f"freeze:{HOSTILE}", Kind.FREEZE, State.STARTED, now, environment=HOSTILE, actor=HOSTILE, reason=HOSTILE),
        event(f"alert:{HOSTILE}", Kind.ALERT, State.STARTED, now, title=HOSTILE, reason=HOSTILE),
        event(f"deploy:open{HOSTILE}", Kind.DEPLOY, State.STARTED, now, **told),
    ]
