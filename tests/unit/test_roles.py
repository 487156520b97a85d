"""What every role owes its users: each input documented once, with a default or a reason to be asked for."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "docs"))

import role_readme  # noqa: E402 - lies in docs/, which is no package

ROLES = sorted(path for path in (REPOSITORY / "roles").iterdir() if (path / "tasks").is_dir())
# Partials lie at the top of templates/; a template in a subfolder is named after the file it becomes on the host.
TEMPLATES = sorted(path for path in (REPOSITORY / "roles").glob("*/templates/*/**/*.j2"))
DISPATCH_LINES = 60


def load(path: Path) -> Any:
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


def options_of(role: Path) -> dict[str, dict[str, Any]]:
    """Inputs of all entry points of a role, by name."""
    specs = load(role / "meta/argument_specs.yml").get("argument_specs", {})
    return {name: option for spec in specs.values() for name, option in spec.get("options", {}).items()}


def undescribed(options: dict[str, dict[str, Any]], parent: str = "") -> list[str]:
    return [
        missing
        for name, option in options.items()
        for missing in (
            ([] if option.get("description") else [parent + name])
            + undescribed(option.get("options", {}), f"{parent}{name}.")
        )
    ]


each_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


@each_role
def test_every_default_is_an_input_and_every_input_has_a_default_or_is_required(role: Path) -> None:
    options, defaults = options_of(role), set(load(role / "defaults/main.yml"))
    required = {name for name, option in options.items() if option.get("required")}
    assert (role / "meta/argument_specs.yml").exists(), "add meta/argument_specs.yml"
    assert defaults - set(options) == set(), "not in meta/argument_specs.yml"
    assert set(options) - defaults - required == set(), "no default in defaults/main.yml, and not required"
    assert required & defaults == set(), "with a default, even an empty one, nothing asks for a required input"


@each_role
def test_every_input_is_described(role: Path) -> None:
    assert undescribed(options_of(role)) == []


@each_role
def test_every_input_is_named_after_its_role(role: Path) -> None:
    assert [name for name in options_of(role) if not name.startswith(f"{role.name}_")] == []


@each_role
def test_every_default_says_what_changes_when_it_does(role: Path) -> None:
    file = role / "defaults/main.yml"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    bare = [
        line.split(":")[0]
        for before, line in zip(["", *lines], lines, strict=False)
        if line[:1].isalpha() and not before.startswith("#")
    ]
    assert bare == [], "needs a comment line above"


@each_role
def test_readme_is_fresh(role: Path) -> None:
    if not (role / "meta/argument_specs.yml").exists():
        pytest.skip("nothing to generate it from")
    assert not role_readme.stale(role), "run: make docs"


@each_role
def test_main_only_dispatches(role: Path) -> None:
    main = role / "tasks/main.yml"
    if main.exists():
        assert len(main.read_text(encoding="utf-8").splitlines()) <= DISPATCH_LINES, "move work into task files"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(REPOSITORY / "roles")))
def test_a_managed_file_says_so_first(template: Path) -> None:
    if template.name.endswith(".json.j2"):
        pytest.skip("JSON has no comments")
    first, _, rest = template.read_text(encoding="utf-8").partition("\n")
    # A program's first line says what runs it.
    assert (rest if first.startswith("#!") else first).startswith("{{ ansible_managed | comment")
