"""One story for each form a message can take: for `ops-bot preview`, for tests, to look at when a template changes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ops_bot.events import Commit, ErrorNote, Event, HostState, Kind, State, Story
from ops_bot.settings import Settings

_COMMITS = [
    Commit(revision="a1b2c3d4e5", author="ada", subject="Play: answer within a second when the search index is down"),
    Commit(revision="b2c3d4e5f6", author="grace", subject="Keep the score of a game that ends in a draw"),
    Commit(revision="c3d4e5f6a7", author="ada", subject="Fewer queries on the front page"),
    Commit(revision="d4e5f6a7b8", author="linus", subject="Say why a solution was refused"),
    Commit(revision="e5f6a7b8c9", author="grace", subject="Upgrade the template engine"),
]
_LOG = """\
{"ts": "2026-11-21T18:36:21Z", "level": "info", "message": "listening on 0.0.0.0:8000", "tag": "v65"}
{"ts": "2026-11-21T18:36:22Z", "level": "warning", "message": "not ready", "reason": "search index: no answer"}
{"ts": "2026-11-21T18:36:51Z", "level": "warning", "message": "not ready", "reason": "search index: no answer"}
"""
_HOSTILE = (
    "<!channel> *all* <@U024BE7LH> <https://evil.example|GitHub> `rm -rf` ```code``` \u202egnihton \x1b[31mred\x07 "
    "👩\u200d💻 שלום &amp;"
)


@dataclass(frozen=True)
class Sample:
    """A story, and how it is sent."""

    story: Story
    delayed_seconds: float = 0
    is_reply: bool = False  # the loud answer under the message
    settings: dict[str, Any] | None = None


def story(now: datetime, *steps: dict[str, Any]) -> Story:
    """The story of `steps`: fields of events, `ago` seconds before `now`; later ones build on the ones before."""
    events: list[Event] = []
    known: dict[str, Any] = {"correlation": "deploy:5f0c1e6a", "environment": "production", "service": "web"}
    for number, step in enumerate(steps):
        fields = dict(step)
        at = now - timedelta(seconds=fields.pop("ago", 0))
        known |= {
            key: value for key, value in fields.items() if key in ("correlation", "environment", "service", "kind")
        }
        events.append(Event(**(known | fields), id=f"sample-{number:04}", sequence=number, at=at))
    return Story.of(events)


_DEPLOY = {
    "kind": Kind.DEPLOY,
    "state": State.STARTED,
    "tag": "v65",
    "from_tag": "v64",
    "digest": "sha256:df703655d5f9" + "0" * 52,
    "actor": "ada",
    "cause": "playbook",
    "commits": _COMMITS,
    "commit_count": 12,
    "compare_url": "https://git.example.com/acme/web/compare/v64...v65",
    "migrations": True,
    "expected_seconds": 5.1,
    "hosts": [HostState(name="web1", state="waiting", tag="v64"), HostState(name="web2", state="waiting", tag="v64")],
}
_ROLLBACK = {
    "kind": Kind.ROLLBACK,
    "correlation": "rollback:77aa01bc",
    "state": State.STARTED,
    "tag": "v64",
    "from_tag": "v65",
    "actor": "ada",
    "cause": "playbook",
    "reason": "500s on /play",
    "migrations": True,
    "commits": _COMMITS[:3],
}
_ERROR = {
    "kind": Kind.ERROR,
    "correlation": "error:9d1f:1",
    "state": State.NEW,
    "title": "TypeError: 'NoneType' object is not iterable",
    "culprit": "play.py:41 in score",
    "count": 12,
    "first_tag": "v65",
    "last_tag": "v65",
    "seconds_after_deploy": 244,
    "hosts": [HostState(name="web1"), HostState(name="web2")],
    "log_tail": "Traceback (most recent call last):\n"
    '  File "/app/play.py", line 41, in score\n    for move in game.moves:\n'
    "TypeError: 'NoneType' object is not iterable",
}


def _hosts(*told: tuple[str, str, str, float | None, str]) -> list[HostState]:
    return [HostState(name=n, state=s, tag=t, seconds=took, message=m) for n, s, t, took, m in told]


_LIVE = _hosts(("web1", "switched", "v65", 1.6, ""), ("web2", "switched", "v65", 1.7, ""))
_FINISHED = {"state": State.FINISHED, "hosts": _LIVE, "duration_seconds": 4.8}
_REFUSED = {
    "state": State.FAILED,
    "undone": True,
    "step": "health",
    "failed_host": "web1",
    "error": 'not healthy within 30.0 s, last: 503 {"status":"unready","reason":"search index: no answer"}',
    "duration_seconds": 31.4,
    "log_tail": _LOG,
    "hosts": _hosts(("web1", "undone", "v64", 31.2, "v65 never became healthy"), ("web2", "waiting", "v64", None, "")),
}


def _many_hosts(now: datetime) -> Sample:
    hosts = [HostState(name=f"web{n}", state="switched", tag="v65", seconds=1.6) for n in range(1, 20)]
    hosts += [HostState(name=f"web{n}", state="waiting", tag="v64") for n in range(20, 25)]
    hosts[19] = HostState(name="web20", state="starting", tag="v64")
    return Sample(
        story(
            now,
            _DEPLOY | {"ago": 30, "hosts": []},
            {"ago": 3, "state": State.PROGRESS, "step": "health", "hosts": hosts},
        )
    )


def _hostile(now: datetime) -> Sample:
    fields = dict.fromkeys(("tag", "from_tag", "actor", "cause", "reason", "step", "failed_host", "error"), _HOSTILE)
    return Sample(
        story(
            now,
            _DEPLOY | {"ago": 60},
            fields
            | {
                "state": State.FAILED,
                "environment": _HOSTILE[:100],
                "service": _HOSTILE[:100],
                "log_tail": _HOSTILE * 400,
                "commits": [Commit(revision=_HOSTILE, author=_HOSTILE, subject=_HOSTILE)] * 30,
                "hosts": [HostState(name=f"{n}{_HOSTILE}", tag=_HOSTILE, message=_HOSTILE) for n in range(5)],
                "errors": [ErrorNote(fingerprint=str(n), title=_HOSTILE) for n in range(5)],
                "next_command": f"make status {_HOSTILE}",
            },
        )
    )


_SAMPLES: dict[str, Callable[[datetime], Sample]] = {
    "deploy-started": lambda now: Sample(story(now, _DEPLOY)),
    "deploy-progress": lambda now: Sample(
        story(
            now,
            _DEPLOY | {"ago": 4},
            {
                "state": State.PROGRESS,
                "step": "health",
                "hosts": [_LIVE[0], HostState(name="web2", state="starting", tag="v64")],
            },
        )
    ),
    "deploy-many-hosts": _many_hosts,
    "deploy-finished": lambda now: Sample(
        story(
            now,
            _DEPLOY | {"ago": 5},
            _FINISHED
            | {"standby_until": now + timedelta(hours=1), "next_command": "make rollback ENV=production SERVICE=web"},
        )
    ),
    "deploy-finished-error": lambda now: Sample(
        story(
            now,
            _DEPLOY | {"ago": 255},
            _FINISHED | {"ago": 250},
            {
                "state": State.NOTED,
                "errors": [
                    ErrorNote(
                        fingerprint="9d1f",
                        title="TypeError: 'NoneType' object is not iterable",
                        count=12,
                        seconds_after=244,
                    )
                ],
            },
        )
    ),
    "deploy-forced": lambda now: Sample(
        story(now, _DEPLOY | {"forced": True, "reason": "the fix for the burning checkout"})
    ),
    "deploy-failed": lambda now: Sample(story(now, _DEPLOY | {"ago": 32}, _REFUSED)),
    "deploy-failed-loud": lambda now: Sample(
        story(now, _DEPLOY | {"ago": 32}, _REFUSED),
        is_reply=True,
        settings={"routes": [{"environment": "production", "severity": "error", "mention": "<!channel>"}]},
    ),
    "deploy-failed-mixed": lambda now: Sample(
        story(
            now,
            _DEPLOY | {"ago": 70},
            {
                "state": State.FAILED,
                "undone": False,
                "step": "connect",
                "failed_host": "web2",
                "error": "web2 stopped answering over SSH in mid-rollout",
                "duration_seconds": 64,
                "next_command": "make status ENV=production SERVICE=web",
                "hosts": _hosts(
                    ("web1", "switched", "v65", 1.6, ""),
                    ("web2", "unreachable", "v64", None, "ssh: connection timed out"),
                ),
            },
        )
    ),
    "deploy-delayed": lambda now: Sample(
        story(now, _DEPLOY | {"ago": 872}, _REFUSED | {"ago": 840}), delayed_seconds=840
    ),
    "deploy-lost": lambda now: Sample(
        story(
            now,
            _DEPLOY | {"ago": 4000, "hosts": []},
            {
                "state": State.LOST,
                "error": f"nothing was heard of it since {now - timedelta(seconds=4000):%Y-%m-%d %H:%M:%S} UTC",
            },
        )
    ),
    "rollback-started": lambda now: Sample(story(now, _ROLLBACK)),
    "rollback-finished": lambda now: Sample(
        story(
            now,
            _ROLLBACK | {"ago": 2},
            {
                "state": State.FINISHED,
                "duration_seconds": 1.2,
                "hosts": _hosts(("web1", "switched", "v64", 0.6, ""), ("web2", "switched", "v64", 0.6, "")),
            },
        )
    ),
    "rollback-failed": lambda now: Sample(
        story(
            now,
            _ROLLBACK | {"ago": 40},
            {
                "state": State.FAILED,
                "step": "health",
                "failed_host": "web1",
                "error": "v64 was not healthy within 30.0 s",
                "hosts": _hosts(("web1", "failed", "v65", 30.2, ""), ("web2", "waiting", "v65", None, "")),
            },
        )
    ),
    "build-failed": lambda now: Sample(
        story(
            now,
            {
                "kind": Kind.BUILD,
                "correlation": "build:31fe",
                "service": "",
                "environment": "",
                "image": "web",
                "ago": 190,
                "state": State.STARTED,
                "revision": "a1b2c3d4e5f60718",
                "actor": "ada",
                "cause": "git push",
                "commits": _COMMITS[:1],
            },
            {
                "state": State.FAILED,
                "step": "smoke test",
                "error": "GET /healthz answered 500 instead of 200",
                "exit_code": 1,
                "log_tail": "Step 9/9 : CMD python -m app\nSuccessfully built\nsmoke: GET /healthz: 500\n",
            },
        )
    ),
    "build-recovered": lambda now: Sample(
        story(
            now,
            {
                "kind": Kind.BUILD,
                "correlation": "build:31ff",
                "service": "",
                "environment": "",
                "image": "web",
                "tag": "v66",
                "ago": 0,
                "state": State.FINISHED,
                "duration_seconds": 242,
                "revision": "b2c3d4e5f6071829",
                "digest": "sha256:4952cddf745c" + "0" * 52,
                "actor": "ada",
                "cause": "git push",
                "recovered": True,
                "next_command": "make deploy ENV=production SERVICE=web TAG=v66",
            },
        )
    ),
    "error-new": lambda now: Sample(story(now, _ERROR)),
    "error-ongoing": lambda now: Sample(story(now, _ERROR | {"ago": 900}, {"state": State.ONGOING, "count": 1000})),
    "error-escalating": lambda now: Sample(
        story(now, _ERROR | {"ago": 900}, {"state": State.ESCALATING, "count": 10000})
    ),
    "error-regressed": lambda now: Sample(
        story(
            now,
            _ERROR
            | {"state": State.REGRESSED, "first_tag": "v61", "tag": "v65", "reason": "was resolved in v63 by bob"},
        )
    ),
    "error-resolved": lambda now: Sample(story(now, _ERROR | {"ago": 90000}, {"state": State.RESOLVED})),
    "freeze": lambda now: Sample(
        story(
            now,
            {
                "kind": Kind.FREEZE,
                "correlation": "freeze:production:81",
                "service": "",
                "state": State.STARTED,
                "actor": "ann",
                "reason": "incident 42",
                "until": now + timedelta(hours=4),
            },
        )
    ),
    "thaw": lambda now: Sample(
        story(
            now,
            {
                "kind": Kind.FREEZE,
                "correlation": "freeze:production:81",
                "service": "",
                "ago": 7200,
                "state": State.STARTED,
                "actor": "ann",
                "reason": "incident 42",
            },
            {"state": State.FINISHED, "actor": "ann"},
        )
    ),
    "scale": lambda now: Sample(
        story(
            now,
            {
                "kind": Kind.SCALE,
                "correlation": "scale:12",
                "state": State.FINISHED,
                "title": "2 → 3 hosts",
                "actor": "ann",
                "reason": "the tournament",
                "duration_seconds": 94,
                "hosts": _hosts(*((f"web{n}", "switched", "v64", None, "") for n in (1, 2, 3))),
            },
        )
    ),
    "alert": lambda now: Sample(
        story(
            now,
            {
                "kind": Kind.ALERT,
                "correlation": "alert:outbox:datadog",
                "state": State.STARTED,
                "service": "ops_bot",
                "title": "Datadog takes nothing for 12 min: 37 messages waiting",
                "error": "429 Too Many Requests",
                "next_command": "ops-bot outbox",
            },
        )
    ),
    "hostile": _hostile,
}

CASES = [*_SAMPLES, "catch-up"]


def sample(case: str, now: datetime) -> Sample:
    """The sample of that name. Raises KeyError when there is none ("catch-up" is made of all the others)."""
    return _SAMPLES[case](now)


def settings_of(case: Sample) -> Settings:
    """The settings a sample is shown with: those of nobody's machine."""
    return Settings.model_validate({"page_url": "https://ops.example.com", **(case.settings or {})})
