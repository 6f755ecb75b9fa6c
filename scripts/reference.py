"""Writes the references that docs/ has of kuik's own sources: `python scripts/reference.py` writes, `--check` compares.

- docs/command-line.md: every command with its options, as `--help` tells them.
- docs/custom-resources.md: every field of kuik's kinds, from metacontroller/crds.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
CRDS = ROOT / "metacontroller" / "crds"
COMMANDS = ROOT / "docs" / "command-line.md"
KINDS = ROOT / "docs" / "custom-resources.md"
_WIDTH = 100
_BY_ALL = ("apiVersion", "kind", "metadata")


def wanted() -> Mapping[Path, str]:
    """What each page should hold."""
    from kuik.__main__ import main

    return {COMMANDS: "\n".join(_command_pages(main)) + "\n", KINDS: "\n".join(_kind_pages()) + "\n"}


def _command_pages(root: click.Group) -> Iterator[str]:
    yield "# The command line\n"
    yield "Written by `make docs` from the commands' own help. `kuik` is also installed as `kubectl-kuik`, so that"
    yield "`kubectl kuik` does the same; `kuik completion` prints what a shell needs to complete it.\n"
    yield "Commands end with 0, with 1 where what they looked for is not well, and with 2 where they were called"
    yield "wrongly, unless their help says otherwise.\n"
    for path, command in _commands(root, ("kuik",)):
        context = click.Context(command, info_name=" ".join(path), terminal_width=_WIDTH, max_content_width=_WIDTH)
        yield f"## {' '.join(path)}\n"
        yield f"```text\n{command.get_help(context).rstrip()}\n```\n"


def _commands(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in sorted(group.list_commands(context)):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))
        elif command is not None and not command.hidden:
            yield (*path, name), command


def _kind_pages() -> Iterator[str]:
    yield "# Custom resources\n"
    yield "Written by `make docs` from `metacontroller/crds`. All are of group `kuik.dev`, version `v1alpha1`;"
    yield "`kubectl explain` tells the same. Fields of `status` are written by kuik alone.\n"
    for file in sorted(CRDS.glob("*.yaml")):
        definition = yaml.safe_load(file.read_text())["spec"]
        names, version = definition["names"], definition["versions"][0]
        schema = version["schema"]["openAPIV3Schema"]
        short = f", short name `{names['shortNames'][0]}`" if names.get("shortNames") else ""
        yield f"## {names['kind']}\n"
        yield f"{definition['scope']}{short}. {_line(schema.get('description', ''))}\n"
        yield "| field | type | default | meaning |\n|---|---|---|---|"
        for path, field in _fields(schema):
            default = f"`{_short(field['default'])}`" if "default" in field else ""
            yield f"| `{path}` | {_type(field)} | {default} | {_line(field.get('description', ''))} |"
        for path, rule in _rules(schema):
            yield f"| `{path}` | rule | | {_line(rule)} |"
        yield ""


def _fields(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, field in schema.get("properties", {}).items():
        if not path and name in _BY_ALL:
            continue
        inside = f"{path}.{name}" if path else name
        yield inside, field
        yield from _fields(field, inside)
        if field.get("type") == "array":
            yield from _fields(field.get("items", {}), f"{inside}[]")


def _rules(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """What CEL refuses, in its own words."""
    for rule in schema.get("x-kubernetes-validations", ()):
        yield path or ".", rule.get("message", rule["rule"])
    for name, field in schema.get("properties", {}).items():
        yield from _rules(field, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from _rules(schema["items"], f"{path}[]")


def _type(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return " \\| ".join(f"`{one}`" for one in field["enum"])
    if field.get("type") == "array":
        return f"list of {field.get('items', {}).get('type', 'any')}"
    return str(field.get("format") if field.get("format") == "date-time" else field.get("type", ""))


def _short(default: Any) -> str:
    return yaml.safe_dump(default, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def _line(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def main() -> int:
    """The exit status."""
    options = argparse.ArgumentParser(description="Write docs/command-line.md and docs/custom-resources.md.")
    options.add_argument("--check", action="store_true", help="change nothing; fail where something is out of date")
    check = options.parse_args().check
    stale = [file for file, text in wanted().items() if not file.exists() or file.read_text() != text]
    for file in stale:
        if not check:
            file.write_text(wanted()[file])
        print(f"{file.relative_to(ROOT)}: {'out of date: make docs' if check else 'written'}")  # noqa: T201
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
