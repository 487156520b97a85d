"""Write roles/<role>/README.md from the role's meta/argument_specs.yml, and its defaults.

`python docs/role_readme.py` writes them all; `--check` writes nothing and fails when one is stale.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
NOTICE = "<!-- Generated from meta/argument_specs.yml and defaults/main.yml by `make docs`: change those. -->"
DEFAULT_COLUMN_WIDTH = 60


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None


def paragraphs(text: Any) -> list[str]:
    """Descriptions are a string or a list of strings, with the markup of ansible-doc: C(code), V(value), B(bold)."""
    lines = [text] if isinstance(text, str) else list(text or [])
    lines = [re.sub(r"\b[CVOEMF]\(([^)]*)\)", r"`\1`", str(line)) for line in lines]
    return [re.sub(r"\bB\(([^)]*)\)", r"**\1**", line).strip() for line in lines]


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def type_of(option: Mapping[str, Any]) -> str:
    name = str(option.get("type", "str"))
    return f"{name} of {option['elements']}" if "elements" in option else name


def default_of(name: str, option: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    if option.get("required"):
        return "**required**"
    value = defaults.get(name, option.get("default"))
    if value is None:
        return ""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False).removesuffix("\n...\n").strip()
    return f"`{cell(text)}`" if len(text) <= DEFAULT_COLUMN_WIDTH else "see `defaults/main.yml`"


def rows(options: Mapping[str, Any], defaults: Mapping[str, Any], parent: str = "") -> Iterator[str]:
    """One line an option; options of an option follow it as `parent.child`."""
    for name, option in options.items():
        text = " ".join(paragraphs(option.get("description")))
        if choices := option.get("choices"):
            text += f" One of {', '.join(f'`{choice}`' for choice in choices)}."
        default = default_of(name, option, {} if parent else defaults)
        yield f"| `{parent}{name}` | {type_of(option)} | {default} | {cell(text)} |"
        yield from rows(option.get("options", {}), {}, f"{parent}{name}.")


def entry_point(name: str, spec: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[str]:
    if name != "main":
        yield f"## Entry point `{name}`"
        yield ""
        yield str(spec.get("short_description", ""))
        yield ""
    for paragraph in paragraphs(spec.get("description")):
        yield paragraph
        yield ""
    if options := spec.get("options"):
        yield "| input | type | default | what it does |"
        yield "| --- | --- | --- | --- |"
        yield from rows(options, defaults)
        yield ""


def example(role: str, spec: Mapping[str, Any]) -> Iterator[str]:
    required = [name for name, option in spec.get("options", {}).items() if option.get("required")]
    yield "```yaml"
    yield "- ansible.builtin.import_role:"
    yield f"    name: {role}"
    if required:
        yield "  vars:"
        yield from (f"    {name}: …" for name in required)
    yield "```"


def render(role: Path) -> str:
    specs: Mapping[str, Any] = load(role / "meta/argument_specs.yml")["argument_specs"]
    defaults: Mapping[str, Any] = load(role / "defaults/main.yml") or {}
    main = specs.get("main", {})
    lines = [NOTICE, "", f"# {role.name}", "", str(main.get("short_description", "")), ""]
    for name, spec in sorted(specs.items(), key=lambda item: (item[0] != "main", item[0])):
        lines += entry_point(name, spec, defaults)
    if main:
        lines += example(role.name, main)
    return "\n".join(lines).rstrip() + "\n"


def roles(repository: Path = REPOSITORY) -> list[Path]:
    return sorted(path.parent.parent for path in repository.glob("roles/*/meta/argument_specs.yml"))


def stale(role: Path) -> bool:
    readme = role / "README.md"
    return not readme.exists() or readme.read_text(encoding="utf-8") != render(role)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when a README is stale")
    parser.add_argument("role", nargs="*", help="names of roles; all when none is given")
    arguments = parser.parse_args()
    chosen = [role for role in roles() if not arguments.role or role.name in arguments.role]
    changed = [role for role in chosen if stale(role)]
    for role in changed:
        if arguments.check:
            print(f"roles/{role.name}/README.md is stale; run: make docs", file=sys.stderr)
        else:
            (role / "README.md").write_text(render(role), encoding="utf-8")
            print(f"wrote roles/{role.name}/README.md")
    return 1 if arguments.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
