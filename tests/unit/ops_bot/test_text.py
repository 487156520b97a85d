"""Foreign text stays words: nothing in it acts, and no limit is passed."""
# ruff: noqa: RUF001  (lookalikes are what is tested here)

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops_bot import text

ANY = st.text(st.characters(codec=None)) | st.text(
    st.sampled_from("<>&*_~`!@#| \n\t\x00\x1b[31m\u202e\u200b\ud800א👩\u200d💻")
)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("<!channel> all", "&lt;!channel&gt; all"),
        (
            "<@U024BE7LH> & <https://evil.example|GitHub>",
            "&lt;@U024BE7LH&gt; &amp; &lt;https://evil.example|GitHub&gt;",
        ),
        ("&lt;!here&gt;", "&amp;lt;!here&amp;gt;"),
        ("use `rm`", "use ˋrmˋ"),
        ("```\nend of code\n```", "ˋˋˋ\nend of code\nˋˋˋ"),
        ("*bold* ~gone~ _slanted_", "∗bold∗ ∼gone∼ ˍslantedˍ"),
        ("eval_worker 2*3*4 a~b", "eval_worker 2*3*4 a~b"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07x", "red x"),
        ("bell\x07 null\x00 delete\x7f \x9b31mc1", "bell null delete c1"),
        ("v\u202e56\u202c", "v56"),
        ("zero\u200bwidth", "zerowidth"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("half \ud83d of an emoji", "half \ufffd of an emoji"),
        ("👩\u200d💻 ships", "👩\u200d💻 ships"),
        ("by שרה", "\u2068by שרה\u2069"),
    ],
)
def test_escape(raw: str, expected: str) -> None:
    assert text.escape(raw) == expected


@given(ANY)
def test_escaped_text_cannot_act(raw: str) -> None:
    for escaped in (text.escape(raw), text.escape_code(raw)):
        assert "<" not in escaped
        assert ">" not in escaped
        assert "`" not in escaped
        assert escaped.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "").count("&") == 0
        escaped.encode()  # no half characters
        assert not [c for c in escaped if c < " " and c not in "\n\t"]


@given(ANY)
def test_code_shows_what_was_written(raw: str) -> None:
    shown = text.escape_code(raw).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").replace("ˋ", "`")
    assert shown == text.clean(raw)


@given(ANY, st.integers(1, 60))
def test_cut_text_keeps_its_limit_also_when_escaped(raw: str, limit: int) -> None:
    for cut in (text.clip, text.clip_start):
        assert text.size(cut(raw, limit)) <= limit
        assert text.escape_cost(cut(raw, limit, text.escape_cost)) <= limit
    line = text.one_line(raw, limit)
    assert text.size(line) <= limit
    assert "\n" not in line


@given(ANY)
def test_what_fits_is_not_touched(raw: str) -> None:
    assert text.clip(raw, text.size(raw) or 1) == raw
    assert text.clip_start(raw, text.size(raw) or 1) == raw


def test_a_cut_never_leaves_half_an_emoji() -> None:
    coder = "👩\u200d💻"
    assert text.clip(coder + "abcdef", 5) == "👩…"
    assert text.size(coder) == 5


def test_the_end_of_a_log_is_kept_in_whole_lines() -> None:
    log = "\n".join(f"line {number}" for number in range(1000))
    assert text.clip_start(log, 24) == "…\nline 998\nline 999"


def test_one_endless_line_is_cut_within() -> None:
    assert text.clip_start("abcdefghij", 5) == "…ghij"


def test_a_log_of_40_000_characters_takes_no_time() -> None:
    for unit in ("<", "\x1b[", "\x1b]0;", "*", "a_", "&", "👩\u200d"):
        log = (unit * 40_000)[:40_000]
        started = time.process_time()
        text.escape(log)
        text.clip_start(log, 1500, text.escape_cost)
        text.one_line(log)
        assert time.process_time() - started < 0.3
