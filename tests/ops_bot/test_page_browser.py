"""The page in a real browser: with and without JavaScript, light and dark, by keyboard, on a phone."""

import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Error, Page, expect, sync_playwright
from starlette.applications import Starlette

from ops_bot.events import HostState, Kind, State
from ops_bot.ledger import Ledger
from ops_bot.page import routes
from ops_bot.settings import Settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit/ops_bot"))
from page_history import a_day, event, hostile, hosts, rollout, under_way

NOW = datetime.now(UTC)
PATHS = ["/", "/feed", "/history?environment=production&service=web", "/stories/deploy:0000000f", "/stories/none"]
SCHEMES = ["light", "dark"]


class Site:
    """A ledger, and its page on a port of its own."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.ledger = Ledger.open(f"sqlite:///{folder}/ledger.db")
        self.ledger.record([event for events in a_day(NOW) for event in events])
        self._settings = Settings.model_validate(settings)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        application = Starlette(routes=routes(self.ledger, self._settings))
        config = uvicorn.Config(application, host="127.0.0.1", port=self._port, log_level="warning", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(10)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        try:
            arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        except Error as error:
            if os.environ.get("TAGBOAT_ALL_TESTS"):
                raise
            pytest.skip(f"no browser: apt install chromium ({str(error).splitlines()[0]})")
        yield browser
        browser.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.stop()
    made.ledger.close()


class Visit:
    """One page, open, with everything it complained of."""

    def __init__(self, context: BrowserContext) -> None:
        self.complaints: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", self._asked)

    def _asked(self, dialog: Dialog) -> None:
        self.complaints.append(dialog.message)
        dialog.dismiss()

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "404" not in message.text:
            self.complaints.append(message.text)


@pytest.fixture
def visit(chromium: Browser, site: Site) -> Iterator[Visit]:
    context = chromium.new_context(base_url=site.url)
    made = Visit(context)
    yield made
    context.close()
    assert made.complaints == []


def test_it_works_without_javascript(chromium: Browser, site: Site) -> None:
    site.ledger.record(under_way(NOW))
    context = chromium.new_context(base_url=site.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("web v63 → v66 is on its way in production")
    expect(page.get_by_role("region", name="What runs where").get_by_role("table")).to_contain_text(
        "eval1, eval2, eval3"
    )
    page.get_by_role("link", name="production", exact=True).click()
    expect(page.locator("#services")).not_to_contain_text("stage1")
    page.get_by_role("link", name="7d").click()
    expect(page.get_by_role("link", name="7d")).to_have_attribute("aria-current", "true")
    page.get_by_role("link", name="web , its history as a list").click()
    page.get_by_role("link", name="rolled back").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("rollback of web in production, finished")
    context.close()


def test_it_stays_current_without_being_reloaded(visit: Visit, site: Site) -> None:
    page = visit.page
    page.goto("/")
    page.evaluate("window.sameDocument = true")
    expect(page.get_by_role("status")).to_have_text("· live")
    focused = page.locator("#services").get_by_role("link", name="eval_worker").first
    focused.focus()
    site.ledger.record(under_way(NOW))
    expect(page.get_by_role("heading", level=1)).to_have_text(
        "web v63 → v66 is on its way in production", timeout=10_000
    )
    expect(page.get_by_role("progressbar")).to_have_attribute("value", "1")
    expect(page.get_by_role("status")).to_have_text("· live: web v63 → v66 is on its way in production")
    expect(focused).to_be_focused()
    told: dict[str, Any] = {"environment": "production", "service": "web", "tag": "v66", "from_tag": "v63"}
    site.ledger.record(
        [
            event(
                "deploy:live",
                Kind.DEPLOY,
                State.FINISHED,
                datetime.now(UTC),
                sequence=2,
                **told,
                hosts=hosts("v66", "web1", "web2"),
            )
        ]
    )
    expect(page.locator("#services")).to_contain_text("v66 web1, web2", timeout=10_000)
    expect(page.locator("#now .running")).to_have_count(0)
    expect(page.locator("#feed li").first).to_contain_text("web v66 is live")
    expect(focused).to_be_focused()
    assert page.evaluate("window.sameDocument")


def test_what_a_reader_opened_stays_open(visit: Visit, site: Site) -> None:
    page = visit.page
    site.ledger.record(under_way(NOW))
    page.goto("/stories/deploy:live")
    page.get_by_text("Everything known, as JSON").click()
    site.ledger.record([event("deploy:live", Kind.DEPLOY, State.PROGRESS, datetime.now(UTC), sequence=5, step="drain")])
    expect(page.get_by_role("table")).to_contain_text("drain", timeout=10_000)
    expect(page.get_by_role("region", name="JSON")).to_be_visible()


def test_times_move_on(visit: Visit, site: Site) -> None:
    page = visit.page
    site.ledger.record([event("freeze:x:2", Kind.FREEZE, State.STARTED, datetime.now(UTC), environment="x")])
    page.clock.install()
    page.goto("/feed")
    first = page.locator("#feed time[data-ago]").first
    expect(first).to_have_text("0 s ago")
    page.clock.fast_forward(14 * 60 * 1000)
    expect(first).to_have_text("14 min ago")
    assert (
        first.get_attribute("title")
        == f"{datetime.fromisoformat(first.get_attribute('datetime') or ''):%Y-%m-%d %H:%M:%S} UTC"
    )


def test_it_says_when_it_is_no_longer_current(chromium: Browser, site: Site) -> None:
    context = chromium.new_context(base_url=site.url)
    page = context.new_page()
    page.goto("/")
    site.stop()
    expect(page.get_by_role("status")).to_have_text("· no answer, trying again", timeout=15_000)
    site.start()
    expect(page.get_by_role("status")).to_have_text("· live", timeout=20_000)
    context.close()


# Of every element with text of its own, the contrast (WCAG 2.2, 1.4.3) with the nearest background behind it.
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const bar = e.tagName === "text" && e.parentElement.querySelector(":scope > rect.live");
      const colour = rgba(bar ? getComputedStyle(bar).fill : getComputedStyle(e).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return rgba(getComputedStyle(document.documentElement).backgroundColor);
  };
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    const box = element.getBoundingClientRect();
    if (!own || !box.width || ["TITLE", "SCRIPT"].includes(element.tagName.toUpperCase())) continue;
    const style = getComputedStyle(element);
    const ink = light(rgba(element instanceof SVGElement ? style.fill : style.color));
    const ground = light(behind(element));
    const ratio = (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
    const name = element.className.baseVal ?? element.className;
    found.push([Math.round(ratio * 100) / 100, element.tagName, name, element.textContent.trim().slice(0, 40)]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("path", PATHS)
def test_everything_can_be_read_in_both_colour_schemes(chromium: Browser, site: Site, path: str, scheme: Any) -> None:
    told: dict[str, Any] = {"environment": "production", "service": "web", "title": "KeyError", "first_tag": "v63"}
    mixed = [HostState(name="eval1", tag="v16"), HostState(name="eval2", tag="v15"), HostState(name="eval3")]
    site.ledger.record(
        [
            *under_way(NOW),
            event("error:1:1", Kind.ERROR, State.NEW, NOW, **told),
            event("alert:1", Kind.ALERT, State.STARTED, NOW, title="37 events wait", reason="429"),
            *rollout(77, NOW, "v16", "v15", service="eval_worker", state=State.FAILED, hosts=mixed),
        ]
    )
    site.ledger.set_sink_state("feed", "slow", "because", NOW)
    context = chromium.new_context(base_url=site.url, color_scheme=scheme)
    page = context.new_page()
    page.goto(path)
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (ground == "rgb(16, 19, 22)") is (scheme == "dark")
    found = page.evaluate(CONTRAST)
    assert len(found) > 5
    assert [pale for pale in found if pale[0] < 4.5] == []
    context.close()


@pytest.mark.parametrize("path", PATHS)
def test_a_screen_reader_finds_its_way(visit: Visit, path: str) -> None:
    page = visit.page
    page.goto(path)
    assert page.get_attribute("html", "lang") == "en"
    assert page.title()
    expect(page.get_by_role("main")).to_have_count(1)
    expect(page.get_by_role("banner")).to_have_count(1)
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    problems = page.evaluate("""() => {
      const found = [];
      const named = (e) => e.getAttribute("aria-label") || e.textContent.trim() ||
        document.getElementById(e.getAttribute("aria-labelledby") ?? "")?.textContent;
      const levels = [...document.querySelectorAll("h1, h2, h3")].map((e) => Number(e.tagName[1]));
      levels.reduce((before, level) => (level > before + 1 && found.push(`h${before} before h${level}`), level), 0);
      for (const e of document.querySelectorAll("nav, section, [role=region], a[href], progress")) {
        const label = e.matches("a, progress") ? named(e) : e.ariaLabel || e.getAttribute("aria-labelledby");
        if (!label) found.push(`no name: ${e.outerHTML.slice(0, 80)}`);
      }
      for (const e of document.querySelectorAll("[aria-labelledby]"))
        if (!document.getElementById(e.getAttribute("aria-labelledby"))) found.push(`no label of ${e.id}`);
      for (const e of document.querySelectorAll("[aria-hidden=true] a"))
        if (e.getAttribute("tabindex") !== "-1") found.push(`hidden, yet reached: ${e.outerHTML.slice(0, 80)}`);
      const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
      if (new Set(ids).size !== ids.length) found.push(`an id twice: ${ids}`);
      for (const e of document.querySelectorAll("table"))
        if (!e.querySelector("thead th[scope=col]")) found.push("a table without headers");
      return found;
    }""")
    assert problems == []


def test_the_keyboard_reaches_everything_in_order_and_comes_out_again(visit: Visit) -> None:
    page = visit.page
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to content")).to_be_in_viewport()
    order = []
    for _ in range(200):
        reached = page.evaluate("""() => {
          const e = document.activeElement;
          if (e === document.body) return null;
          const all = [...document.querySelectorAll("*")];
          const style = getComputedStyle(e);
          const seen = e.getBoundingClientRect().width > 0;
          return [all.indexOf(e), seen, style.outlineStyle !== "none", e.outerHTML.slice(0, 60)];
        }""")
        if reached is None:
            break
        order.append(reached)
        page.keyboard.press("Tab")
    assert 10 < len(order) < 100
    assert [place for place, *_ in order] == sorted(place for place, *_ in order)
    assert [seen for seen in order if not (seen[1] and seen[2])] == []
    assert page.locator("[tabindex]:not([tabindex='0']):not([tabindex='-1'])").count() == 0


def test_skipping_leads_to_the_content(visit: Visit) -> None:
    page = visit.page
    page.goto("/")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


@pytest.mark.parametrize("path", ["/", "/feed"])
def test_hostile_text_does_nothing(visit: Visit, site: Site, path: str) -> None:
    page = visit.page
    site.ledger.record(hostile(NOW))
    page.goto(path)
    expect(page.locator("#feed")).to_contain_text("<script>alert(1)</script>")
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 1
    # The script that updates the page takes what it is sent no more literally than the browser did.
    site.ledger.record(under_way(NOW))
    expect(page.locator("#feed")).to_contain_text("web v63 → v66", timeout=10_000)
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 1
    targets = page.locator("a[href^='/stories/'], a[href^='/history']").evaluate_all("all => all.map(a => a.href)")
    for target in dict.fromkeys(targets[:8]):
        answer = page.goto(target)
        assert answer is not None
        assert answer.status == 200
        assert page.locator("img").count() == 0


@pytest.mark.parametrize("width", [320, 390, 800])
def test_on_a_narrow_screen_nothing_runs_out_of_it(chromium: Browser, site: Site, width: int) -> None:
    context = chromium.new_context(base_url=site.url, viewport={"width": width, "height": 800})
    page = context.new_page()
    for path in PATHS:
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    context.close()


def test_a_password_is_asked_for_and_lets_in(chromium: Browser, tmp_path: Path) -> None:
    site = Site(tmp_path, page_password="hunter two")
    assert chromium.new_context(base_url=site.url).request.get("/").status == 401
    friend = chromium.new_context(base_url=site.url, http_credentials={"username": "ann", "password": "hunter two"})
    visit = Visit(friend)
    visit.page.goto("/")
    # What the page asks for by itself carries the password, too.
    site.ledger.record(rollout(88, NOW + timedelta(seconds=1), "v70", "v63"))
    expect(visit.page.locator("#services")).to_contain_text("v70", timeout=10_000)
    assert visit.complaints == []
    friend.close()
    site.stop()
    site.ledger.close()
