"""`ops-bot preview`: the blocks, and a picture that a person can trust."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ops_bot import preview
from ops_bot.cli import main
from ops_bot.messages.samples import CASES
from ops_bot.messages.terminal import columns

NOW = datetime(2026, 11, 21, 18, 36, 55, tzinfo=UTC)


def drawn(case: str, environ: dict[str, str], width: int = 100) -> str:
    return preview.drawn(preview.message_of(case, NOW), environ, is_terminal=True, width=width)


@pytest.mark.parametrize("case", CASES)
def test_every_case_has_blocks_and_a_picture(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preview", case, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["text"]
    assert told["blocks"]
    rows = drawn(case, {"NO_COLOR": "1"}).splitlines()
    assert rows[0].startswith("╭")
    assert {columns(row) for row in rows} == {100}


def test_without_json_the_picture_follows_the_blocks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preview", "deploy-failed"]) == 0
    out = capsys.readouterr().out
    blocks, _, picture = out.partition("\n╭")
    assert json.loads(blocks)["text"].startswith("❌ production · web v65 failed")
    assert "not healthy within 30.0 s" in picture
    assert "\x1b" not in out  # no terminal reads this


def test_without_a_case_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preview"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == CASES


def test_an_unknown_case_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preview", "deploy-flailed"]) == 1
    assert "deploy-failed" in capsys.readouterr().err


def test_colour_is_for_terminals_that_want_it() -> None:
    assert "\x1b[1m" in drawn("deploy-failed", {})
    assert "\x1b" not in drawn("deploy-failed", {"NO_COLOR": "1"})
    assert "\x1b" not in drawn("deploy-failed", {"TERM": "dumb"})
    coloured = re.sub(r"\x1b\[[0-9;]*m", "", drawn("deploy-failed", {}))
    assert coloured == drawn("deploy-failed", {"NO_COLOR": "1"})


@pytest.mark.parametrize("width", [20, 40, 77, 500])
def test_the_picture_fits_the_terminal(width: int) -> None:
    for case in ("deploy-failed", "hostile"):
        rows = drawn(case, {"NO_COLOR": "1"}, width).splitlines()
        assert {columns(row) for row in rows} == {min(120, max(40, width))}


def test_what_slack_hides_the_picture_hides_and_what_it_shows_it_shows() -> None:
    picture = drawn("deploy-failed-loud", {"NO_COLOR": "1"})
    assert "@channel" in picture
    for hidden in ("<!", "<http", "&lt;", "*production", "`make"):
        assert hidden not in picture


def test_the_html_picture_needs_nothing_else_and_no_text_becomes_markup(tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    assert main(["preview", "hostile", "--picture", str(path)]) == 0
    page = path.read_text("utf-8")
    assert not re.search(r'(src|href)="(?!https://(ops|git)\.example\.com/)', page)
    assert "&lt;!channel&gt;" in page
    assert "<!channel>" not in page


def test_a_picture_of_another_kind_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preview", "thaw", "--picture", str(tmp_path / "thaw.gif")]) == 1
    assert ".png or .html" in capsys.readouterr().err


def test_without_a_browser_the_way_to_a_picture_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["preview", "thaw", "--picture", str(tmp_path / "thaw.png")]) == 1
    assert "thaw.html" in capsys.readouterr().err
