"""mypy finds our module_utils under the name Ansible gives them by way of links in tests/typings."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINKS = ROOT / "tests/typings/ansible/module_utils"


def test_every_module_of_ours_is_linked_there() -> None:
    folders = (ROOT / "playbooks/plugins/module_utils", *ROOT.glob("roles/*/module_utils"))
    ours = {path for folder in folders for path in folder.iterdir() if path.name != "__pycache__"}
    linked = {link.resolve() for link in LINKS.iterdir() if link.suffix != ".pyi"}
    wanted = [f"ln -s ../../../../{path.relative_to(ROOT)} {LINKS.relative_to(ROOT)}/" for path in ours - linked]
    assert wanted == [], "type these"
    assert linked - ours == set(), "links to nothing"
