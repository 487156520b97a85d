"""`ops-bot`: run the bot, and ask or mend its ledger, also while Slack, Datadog and the bot itself are down."""

import argparse
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from ops_bot import preview, schema, views
from ops_bot.events import Kind
from ops_bot.ledger import Ledger, LedgerError
from ops_bot.ledger.backup import restore
from ops_bot.reading import explain
from ops_bot.settings import Settings
from ops_bot.spool import Spool

Run = Callable[[argparse.Namespace, Settings], int]


class CommandError(Exception):
    """What was asked cannot be done. The message says why, and what to type instead."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. 0: done; 1: not done, and why is on standard error; 2: there is no such command."""
    asked = parser().parse_args(arguments)
    # People run this in terminals that cannot say everything we know.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        run: Run = asked.run
        return run(asked, Settings())
    except ValidationError as error:
        return _failed(f"{explain(error).replace('Value error, ', '')} (docs/ops_bot.md lists the settings)")
    except (CommandError, LedgerError, preview.PreviewError) as error:
        return _failed(str(error))
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # The reader has seen enough; nothing more may be written, not even at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        return _failed(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "))
    except KeyboardInterrupt:
        return 130


def _failed(why: str) -> int:
    print(f"ops-bot: {why}", file=sys.stderr)
    return 1


def parser() -> argparse.ArgumentParser:
    """Every command and its options."""
    parser = argparse.ArgumentParser(prog="ops-bot", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Run, help: str, *, json: bool = False) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help, description=help, allow_abbrev=False)
        made.set_defaults(run=run)
        if json:
            made.add_argument("--json", action="store_true", help="for programs, not for people")
        return made

    command("serve", _serve, "take events and tell them on, until SIGTERM")
    one = command("history", _history, "what happened, newest first", json=True)
    one.add_argument("--environment")
    one.add_argument("--service")
    one.add_argument("--kind", type=Kind, choices=list(Kind), metavar="|".join(Kind))
    one.add_argument("--since", type=_moment, metavar="2h|3d|2026-11-21", help="nothing older")
    one.add_argument("--limit", type=int, default=20)
    one = command("show", _show, "one story: its message, its events, and who was told", json=True)
    one.add_argument("id", help="as history prints it, or the beginning of it; or the id of one event")
    one = command("status", _status, "how the ledger and each sink are", json=True)
    one = command("outbox", _outbox, "what waits to be told, and what was refused", json=True)
    one.add_argument("--sink")
    one.add_argument("--limit", type=int, default=100)
    one = command("quarantine", _quarantine, "what senders sent and nobody could read", json=True)
    one.add_argument("--limit", type=int, default=20)
    one = command("replay", _replay, "tell a story once more; edits what is shown already")
    one.add_argument("id")
    one.add_argument("--sink", help="only to this one")
    one = command("backup", _backup, "write a copy of the ledger, consistent while the bot runs")
    one.add_argument("path", type=Path)
    one = command("restore", _restore, "put a backup in the place of the ledger, while the bot is stopped")
    one.add_argument("path", type=Path)
    one = command("flush", _flush, "send the events that wait in a spool directory", json=True)
    one.add_argument("directory", type=Path)
    one.add_argument("--url", help="where the bot is; without it, OPS_BOT_PAGE_URL")
    one.add_argument("--ca", type=Path, metavar="FILE.pem", help="who signed its certificate, if nobody known did")
    one = command(
        "preview", _preview, "how a message looks, from a sample story; without a name, which there are", json=True
    )
    one.add_argument("case", nargs="?")
    one.add_argument("--picture", type=Path, metavar="FILE.png|FILE.html", help="write the picture there, too")
    one = command("dashboards", _dashboards, "what differs between dashboards/ and Datadog, or push that")
    one.add_argument("verb", choices=["diff", "push"])
    one.add_argument("--exit-code", action="store_true", help="diff: exit with 1 when something differs")
    one.add_argument("--prune", action="store_true", help="push: delete those of ours that are no file any more")
    one = command("schema", _schema, "print the JSON schema of events")
    one.add_argument("--write", action="store_true", help="into the file it is kept in")
    return parser


def _moment(said: str) -> datetime:
    if ago := re.fullmatch(r"(\d{1,6})([smhdw])", said):
        unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[ago[2]]
        return datetime.now(UTC) - timedelta(**{unit: int(ago[1])})
    try:
        moment = datetime.fromisoformat(said)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{said!r} is no time; for example 2h, 3d or 2026-11-21T14:00") from None
    return moment.astimezone(UTC)


@contextmanager
def _ledger(settings: Settings) -> Iterator[Ledger]:
    # Without a plan: commands record nothing.
    ledger = Ledger.open(settings.ledger_url, create=False)
    try:
        yield ledger
    finally:
        ledger.close()


def _correlation(ledger: Ledger, name: str) -> str:
    """The one story that `name` means."""
    if ledger.story(name):
        return name
    if event := ledger.event(name):
        return event.correlation
    found = ledger.matching(name, limit=6)
    if len(found) == 1:
        return found[0]
    if found:
        raise CommandError(f"{name} may be {', '.join(found[:5])}{' …' if len(found) > 5 else ''}: say more of it")
    raise CommandError(f"nothing is known of {name}; to see what is, type: ops-bot history")


def _serve(_asked: argparse.Namespace, settings: Settings) -> int:
    from ops_bot.service import serve  # the other commands need no web server  # noqa: PLC0415

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("datadog").setLevel(logging.WARNING)  # it tells of every request
    return serve(settings)


def _preview(asked: argparse.Namespace, _settings: Settings) -> int:
    now = datetime.now(UTC)
    if asked.case is None:
        print(preview.cases(now))
        return 0
    message = preview.message_of(asked.case, now)
    print(preview.as_json(message))
    if not asked.json:
        columns = shutil.get_terminal_size().columns
        print(preview.drawn(message, os.environ, is_terminal=sys.stdout.isatty(), width=columns))
    if asked.picture:
        preview.write_picture(message, asked.case, asked.picture)
    return 0


def _history(asked: argparse.Namespace, settings: Settings) -> int:
    with _ledger(settings) as ledger:
        stories = ledger.stories(asked.environment, asked.service, asked.kind, since=asked.since, limit=asked.limit)
    print(views.as_json(stories) if asked.json else views.history(stories, settings, datetime.now(UTC)))
    return 0


def _show(asked: argparse.Namespace, settings: Settings) -> int:
    with _ledger(settings) as ledger:
        correlation = _correlation(ledger, asked.id)
        story = ledger.story(correlation)
        events, deliveries = ledger.events(correlation), ledger.deliveries(correlation=correlation)
    if story is None:
        raise CommandError(f"{correlation} has just been forgotten")
    if asked.json:
        print(views.as_json({"story": story, "events": events, "deliveries": deliveries}))
    else:
        print(views.story(story, events, deliveries, settings, datetime.now(UTC), colour=sys.stdout.isatty()))
    return 0


def _status(asked: argparse.Namespace, settings: Settings) -> int:
    with _ledger(settings) as ledger:
        sinks = views.sinks(ledger, settings)
        counts = ledger.counts()
    told = {"ledger": counts, "sinks": sinks}
    print(views.as_json(told) if asked.json else views.status(counts, sinks, settings))
    return 0


def _outbox(asked: argparse.Namespace, settings: Settings) -> int:
    with _ledger(settings) as ledger:
        waiting = ledger.deliveries(sink=asked.sink, limit=asked.limit)
    print(views.as_json(waiting) if asked.json else views.outbox(waiting, datetime.now(UTC)))
    return 0


def _quarantine(asked: argparse.Namespace, settings: Settings) -> int:
    with _ledger(settings) as ledger:
        kept = ledger.quarantined(asked.limit)
    print(views.as_json(kept) if asked.json else views.quarantine(kept, settings))
    return 0


def _replay(asked: argparse.Namespace, settings: Settings) -> int:
    with _ledger(settings) as ledger:
        correlation = _correlation(ledger, asked.id)
        wanted = ledger.replay(correlation, asked.sink)
    if not wanted:
        raise CommandError(f"{asked.sink or 'no sink'} was never told of {correlation}")
    print(f"{views.counted(wanted, 'message')} of {correlation} will be told again; to watch, type: ops-bot outbox")
    return 0


def _backup(asked: argparse.Namespace, settings: Settings) -> int:
    with _ledger(settings) as ledger:
        ledger.backup(asked.path)
    print(f"{asked.path} holds the ledger as it is now ({asked.path.stat().st_size:,} bytes)")
    return 0


def _restore(asked: argparse.Namespace, settings: Settings) -> int:
    replaced = restore(settings.ledger_url, asked.path)
    print(f"the ledger is that of {asked.path}" + (f"; the one before is {replaced}" if replaced else ""))
    return 0


def _flush(asked: argparse.Namespace, settings: Settings) -> int:
    if settings.token is None:
        raise CommandError("set OPS_BOT_TOKEN to the token of the bot")
    url = asked.url or settings.page_url
    if asked.ca and not asked.ca.is_file():
        raise CommandError(f"{asked.ca} is no file. Next: ops-bot flush {asked.directory} --ca .lab/ENV/pki/ca.pem")
    ca_file = str(asked.ca or "")
    flushed = Spool(asked.directory).flush(url, settings.token.get_secret_value(), ca_file=ca_file)
    if asked.json:
        print(views.as_json(flushed))
    else:
        print(f"{views.counted(flushed.sent, 'event')} sent to {url}, {flushed.left} left in {asked.directory}")
    for reason in flushed.refused:
        print(f"ops-bot: one was refused: {reason}", file=sys.stderr)
    if flushed.why_left:
        raise CommandError(flushed.why_left)
    return 0


def _dashboards(asked: argparse.Namespace, settings: Settings) -> int:
    from ops_bot import dashboards  # the other commands need no Datadog  # noqa: PLC0415
    from ops_bot.sinks.datadog_boards import Boards, BoardsError  # noqa: PLC0415

    try:
        wanted, boards = dashboards.load(settings.dashboards_dir), Boards(settings)
        if asked.verb == "push":
            print(dashboards.summary(dashboards.push(wanted, boards, prune=asked.prune, tell=print), pushed=True))
            return 0
        there = dashboards.found(boards)
        differences = dashboards.changes(wanted, there)
        for change in differences:
            print(dashboards.describe(change, there))
        print(dashboards.summary(differences, pushed=False))
        return 1 if differences and asked.exit_code else 0
    except (dashboards.DashboardsError, BoardsError) as error:
        raise CommandError(str(error)) from None


def _schema(asked: argparse.Namespace, _settings: Settings) -> int:
    if asked.write:
        schema.PATH.write_text(schema.text())
        print(schema.PATH)
    else:
        print(schema.text(), end="")
    return 0
