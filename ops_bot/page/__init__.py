"""The ops bot's web page: what runs where, what happened, what #operations says. Works without JavaScript."""

from collections.abc import Callable
from datetime import UTC, datetime

from starlette.routing import Route

from ops_bot.ledger import Ledger
from ops_bot.page.guard import Guard
from ops_bot.page.views import Views
from ops_bot.settings import Settings


def _now() -> datetime:
    return datetime.now(UTC)


def routes(ledger: Ledger, settings: Settings, *, clock: Callable[[], datetime] = _now) -> list[Route]:
    """The routes of the page. They answer 403 when they would be open to the network without a password."""
    guard, views = Guard(settings), Views(ledger, settings, clock)
    return [
        Route(path, guard(endpoint), methods=["GET"])
        for path, endpoint in (
            ("/", views.home),
            ("/feed", views.feed),
            ("/history", views.history),
            ("/stories/{correlation:path}", views.story),
            ("/static/{name}", views.static),
        )
    ]
