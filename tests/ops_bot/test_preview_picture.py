"""`ops-bot preview --picture`: a real browser draws the message."""

import os
import shutil
import struct
import zlib
from pathlib import Path

import pytest

from ops_bot.cli import main

if not shutil.which("chromium"):
    if os.environ.get("TAGBOAT_ALL_TESTS") and "ID=ubuntu" not in Path("/etc/os-release").read_text("utf-8"):
        pytest.fail("chromium is not installed: apt install chromium", pytrace=False)
    pytest.skip("chromium is not installed: apt install chromium", allow_module_level=True)


def picture(path: Path) -> tuple[int, int, int]:
    """(width, height, how many different bytes) of a PNG."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    pixels, at = b"", 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        pixels += data[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += length + 12
    return width, height, len(set(zlib.decompress(pixels)))


def test_a_picture_is_as_high_as_its_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heights = {}
    for case in ("thaw", "deploy-failed"):
        path = tmp_path / f"{case}.png"
        assert main(["preview", case, "--json", "--picture", str(path)]) == 0
        width, heights[case], different = picture(path)
        assert width == 720
        assert different > 50, "it is not blank"
    capsys.readouterr()
    assert 50 < heights["thaw"] < 200 < heights["deploy-failed"] < 900
