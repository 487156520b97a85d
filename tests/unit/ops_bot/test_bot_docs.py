"""docs/ops_bot.md says what the code does: every setting, every command, and an example that works."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from ops_bot.cli import parser
from ops_bot.reading import read
from ops_bot.settings import PREFIX, Route, Settings

PAGE = (Path(__file__).resolve().parents[3] / "docs/ops_bot.md").read_text()


def rows() -> list[str]:
    made = []
    for name, field in Settings.model_fields.items():
        default = "\N{EN DASH}" if field.default in (None, "", []) else f"`{field.default}`"
        made.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return made


def test_every_setting_is_listed() -> None:
    listed = [line for line in PAGE.splitlines() if line.startswith(f"| `{PREFIX}")]
    assert listed == rows(), "the table must be:\n" + "\n".join(rows())


def test_every_command_is_listed() -> None:
    [commands] = [one for one in parser()._actions if isinstance(one, argparse._SubParsersAction)]
    assert sorted(set(re.findall(r"^\| `ops-bot (\w+)", PAGE, re.MULTILINE))) == sorted(commands.choices)


def test_the_examples_are_taken() -> None:
    [event] = re.findall(r"-d '(.*?)'\n", PAGE, re.DOTALL)
    assert read(event.encode()).refused == []
    [routes] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert [Route.model_validate(one).channel for one in json.loads(routes)] == ["#fires", "#builds"]
