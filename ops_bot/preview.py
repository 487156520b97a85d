"""`ops-bot preview`: a message as Slack is given it, and a picture of how it looks, from sample stories."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup

from ops_bot.messages import Message, catch_up, headline, render, reply
from ops_bot.messages.html import html
from ops_bot.messages.samples import CASES, sample, settings_of
from ops_bot.messages.terminal import terminal

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_BROWSER_SECONDS = 30
_WIDTH = 720
_DOCUMENT = Markup("""\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{style}
body {{ padding: 12px; }} .message {{ margin: 0; }} pre {{ max-height: none; }}</style></head>
<body><div class="message {mood}">{blocks}</div>
<script>document.documentElement.dataset.height = document.documentElement.getBoundingClientRect().height</script>
</body></html>
""")


class PreviewError(Exception):
    """No picture could be made; the message says what to do instead."""


def message_of(case: str, now: datetime) -> Message:
    """The message of a sample. Raises PreviewError when there is no sample of that name."""
    if case not in CASES:
        raise PreviewError(f"there is no sample {case}; there are {', '.join(CASES)}")
    if case == "catch-up":
        told = [sample(other, now) for other in CASES if other not in ("catch-up", "hostile")]
        stories = [one.story for one in told]
        since = now - timedelta(hours=6)
        return catch_up(stories, sink="Slack", since=since, now=now, settings=settings_of(told[0]))
    chosen = sample(case, now)
    make = reply if chosen.is_reply else render
    return make(chosen.story, now=now, settings=settings_of(chosen), delayed_seconds=chosen.delayed_seconds)


def cases(now: datetime) -> str:
    """Every sample and how its message begins, one a line."""
    width = max(map(len, CASES))
    lines = []
    for case in CASES:
        if case == "catch-up":
            line = "📬 after an outage: what happened meanwhile"
        else:
            chosen = sample(case, now)
            line = headline(chosen.story, now=now, settings=settings_of(chosen))
        lines.append(f"{case:{width}}  {line[:110]}")
    return "\n".join(lines)


def as_json(message: Message) -> str:
    """What Slack is given."""
    return json.dumps(
        {"text": message.text, "blocks": message.blocks, "metadata": message.metadata}, ensure_ascii=False, indent=2
    )


def drawn(message: Message, environ: Mapping[str, str], *, is_terminal: bool, width: int) -> str:
    """The picture for a terminal; in colour where there is one and NO_COLOR (no-color.org) is not set."""
    colour = is_terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    return terminal(message.blocks, message.text, width=min(120, max(40, width)), colour=colour)


def document(message: Message, title: str) -> str:
    """The picture as an HTML page that needs nothing else."""
    style = files("ops_bot.page").joinpath("static", "page.css").read_text("utf-8")
    mood = "bad" if re.match(r"(<[^>]*> )?[❌🚨🆕🔁📈]", message.text) else "warn" if "⚠" in message.text[:2] else ""
    shown = html(message.blocks, message.text)
    return str(_DOCUMENT.format(title=title, style=Markup(style), mood=mood, blocks=shown))  # noqa: S704  (our own file)


def write_picture(message: Message, title: str, path: Path) -> None:
    """Write the picture to `path`: .html, or .png by way of a headless browser.

    Raises PreviewError when the name ends otherwise, or when there is no browser or it fails.
    """
    if path.suffix == ".html":
        path.write_text(document(message, title), "utf-8")
    elif path.suffix == ".png":
        _photograph(document(message, title), path)
    else:
        raise PreviewError(f"{path} should end in .png or .html")


def _photograph(page: str, path: Path) -> None:
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        raise PreviewError(f"a .png needs chromium: install it, or write {path.with_suffix('.html')}")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "message.html")
        source.write_text(page, "utf-8")
        command = [browser, "--headless=new", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/profile"]
        command.append("--test-type")  # without, a bar that says we are root covers a small message
        # Without these, a busy machine may photograph a page that is not drawn yet.
        command += ["--run-all-compositor-stages-before-draw", "--virtual-time-budget=2000"]
        if os.geteuid() == 0:
            command.append("--no-sandbox")  # chromium refuses to start as root with it; the page is ours
        measured = _run([*command, f"--window-size={_WIDTH},400", "--dump-dom", source.as_uri()])
        height = re.search(r'data-height="(\d+)', measured)
        size = f"--window-size={_WIDTH},{int(height[1]) + 1 if height else 800}"
        shot = Path(folder, "shot.png")
        _run([*command, size, f"--screenshot={shot}", source.as_uri()])
        if not shot.exists():
            raise PreviewError(f"{browser} made no picture; write {path.with_suffix('.html')} instead")
        shutil.copyfile(shot, path)


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_BROWSER_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise PreviewError(f"{command[0]} made no picture: {error}") from error
    return done.stdout
