"""--limit is refused where Ansible would silently do nothing, and nowhere else."""

from __future__ import annotations

import plugin_loading
import pytest

limit = plugin_loading.load("playbooks/plugins/callback/limit.py")


@pytest.mark.parametrize(
    ("playbook", "hosts", "given", "refused"),
    [
        ("deploy.yml", ["localhost"], "web1", True),
        ("status.yml", ["localhost"], "web1,web2", True),
        ("deploy.yml", ["localhost"], None, False),
        ("logs.yml", ["localhost"], "localhost,web1", False),
        ("site.yml", ["localhost"], "web3", False),
        ("build.yml", ["builder[0]"], "build1", False),
    ],
)
def test_limit(playbook: str, hosts: list[str], given: str | None, refused: bool) -> None:
    assert bool(limit.refusal(playbook, hosts, given)) == refused
