"""apt is asked for what is missing, and left alone when nothing is."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import plugin_loading
import pytest

packages = plugin_loading.load("playbooks/plugins/filter/packages.py")
FACT = plugin_loading.ROOT / "roles/common/templates/etc/ansible/facts.d/packages.fact.j2"


@pytest.mark.parametrize(
    ("facts", "missing"),
    [
        ({}, ["nginx", "redis-server"]),
        ({"ansible_local": {}}, ["nginx", "redis-server"]),
        ({"ansible_local": {"packages": ["nginx", "zsh"]}}, ["redis-server"]),
        ({"ansible_local": {"packages": ["nginx", "redis-server"]}}, []),
    ],
)
def test_what_is_missing(facts: dict[str, Any], missing: list[str]) -> None:
    assert packages.not_installed(["nginx", "redis-server"], facts) == missing


@pytest.mark.parametrize(
    ("lines", "names"),
    [("", []), ("installed nginx\nconfig-files old\ninstalled redis-server\n", ["nginx", "redis-server"])],
)
def test_the_fact_names_what_is_installed(lines: str, names: list[str]) -> None:
    script = re.sub(
        r"^dpkg-query .*$", 'printf %s "$LINES" |', FACT.read_text().replace("{{", "# {{"), flags=re.MULTILINE
    )
    told = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=True, env={"LINES": lines, "PATH": "/usr/bin:/bin"}
    )
    assert json.loads(told.stdout) == names
