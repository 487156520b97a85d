"""Changes of the app that break it on the web hosts, in ways that the build's smoke test cannot see."""

from __future__ import annotations

from fleet import Source

APP = "images/web/app"


def exits_at_once(source: Source) -> None:
    """The container of `serve` ends before it listens; a migration runs as ever."""
    serve = '    if arguments == ["serve"]:\n'
    broken = (
        '    if arguments == ["serve"] and os.environ["HOST"].startswith("web"):\n'
        '        print("cannot load the search index: no such file", file=sys.stderr)\n'
        "        return 3\n"
    )
    source.change(f"{APP}/__main__.py", serve, broken + serve, "Load the search index first")


def slow_to_start(source: Source) -> None:
    """Ready 4 s after it was first asked."""
    look = "        try:\n            revision"
    warm_up = (
        '        if __import__("os").environ["HOST"].startswith("web"):\n'
        '            now = __import__("time").monotonic()\n'
        '            if now < self.__dict__.setdefault("_asked", now) + 4:\n'
        '                return "warming up"\n'
    )
    source.change(f"{APP}/health.py", look, warm_up + look, "Warm up before saying ready")


def crashes_after_a_while(source: Source) -> None:
    """Healthy, until 5 s after the first visitor; on web2 only."""
    page = "    async def index(self, _request: Request) -> Response:\n"
    crash = (
        '        if self.config.host == "web2" and not globals().get("_leak"):\n'
        '            globals()["_leak"] = __import__("threading").Timer(5, __import__("os")._exit, [137])\n'
        '            globals()["_leak"].start()\n'
    )
    source.change(f"{APP}/pages.py", page, page + crash, "Keep every lesson in memory")


def answers_visitors_with_500(source: Source) -> None:
    """Healthy, and of no use to anybody."""
    page = "    async def index(self, _request: Request) -> Response:\n"
    broken = '        if self.config.host.startswith("web"):\n            raise KeyError("teaser")\n'
    source.change(f"{APP}/pages.py", page, page + broken, "Show the teaser of each lesson")
