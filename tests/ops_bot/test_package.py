"""`pip install` of the bot: the command works where the checkout is not, templates and all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what pip installs, made from a copy: building leaves its traces where the source is."""
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    shutil.copytree(ROOT / "ops_bot", source / "ops_bot", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "images/ops_bot", source / "images/ops_bot")
    shutil.copy(ROOT / "pyproject.toml", source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", source], check=True, timeout=300)
    return folder / "site"


def ops_bot(installed: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPS_BOT_")}
    environment |= {"PYTHONPATH": str(installed), "OPS_BOT_LEDGER_URL": f"sqlite:///{installed}/ledger.db"}
    command = [sys.executable, str(installed / "bin/ops-bot"), *arguments]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment, cwd="/", timeout=60
    ).stdout


def test_nothing_is_left_behind(installed: Path) -> None:
    def files(folder: Path) -> set[str]:
        return {str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file() and one.suffix != ".pyc"}

    assert files(ROOT / "ops_bot") == files(installed / "ops_bot")


def test_the_command_shows_a_message(installed: Path) -> None:
    assert "deploy" in ops_bot(installed, "preview")


def test_the_schema_is_there(installed: Path) -> None:
    assert ops_bot(installed, "schema") == (ROOT / "ops_bot/schema/event.v1.json").read_text()


def test_the_page_is_there(installed: Path) -> None:
    """Its templates and pictures are found where they were installed."""
    code = (
        "from starlette.testclient import TestClient\n"
        "from ops_bot.settings import Settings\n"
        "from ops_bot.service import Bot\n"
        "bot = Bot(Settings())\n"
        "with TestClient(bot.web(), base_url='http://127.0.0.1:8765') as client:\n"
        "    print(client.get('/').status_code, client.get('/healthz').json()['status'])\n"
    )
    environment = {"PYTHONPATH": str(installed), "OPS_BOT_LEDGER_URL": f"sqlite:///{installed}/page.db"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd="/", timeout=60)
    assert done.stdout == "200 ok\n", done.stderr
