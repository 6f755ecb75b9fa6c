"""The commands that pages show are there: those of kuik with their options, those of make, and the chart's values."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from kuik.__main__ import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "policies" / "README.md"]
VALUES = yaml.safe_load((ROOT / "charts" / "kube-image-keeper" / "values.yaml").read_text())
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
_BLOCK = re.compile(r"^ *```(?:console|sh|bash)?\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_KUIK = re.compile(r"(?:^|[|&;(]|\$ )\s*(?:\S*python\S* -m kuik|kuik|kubectl kuik) (.*)")
_FREE = ("imageCache.spec", "podAnnotations", "labels")
"""Values of which the chart says nothing further."""


def typed(page: Path) -> Iterator[str]:
    """Every line that a page shows to be typed, and what stands between backticks in its text."""
    text = page.read_text()
    for block in _BLOCK.findall(text):
        joined = re.sub(r"\\\n\s*", " ", block)
        yield from (line.strip().removeprefix("$ ") for line in joined.splitlines() if line.strip().startswith("$ "))
    yield from re.findall(r"`([^`\n]+)`", _BLOCK.sub("", text))


def words(command: str) -> list[str]:
    """Its words up to a comment, a pipe or a redirection."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    found: list[str] = []
    for word in lexer:
        if set(word) <= set("|&;<>"):
            break
        found.append(word)
    return found


def refused(arguments: list[str]) -> str:
    """Why kuik would not take these arguments; empty where it would."""
    command: click.Command = main
    context = click.Context(main, info_name="kuik")
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        found = command.get_command(context, arguments[0])
        if found is None:
            return f"no command {arguments[0]}"
        command, arguments = found, arguments[1:]
        context = click.Context(command, parent=context, info_name=command.name)
    placeholders = {"…", "..."}
    try:
        command.make_parser(context).parse_args([one for one in arguments if one not in placeholders])
    except click.BadOptionUsage:
        return ""  # an option that a sentence names, without what it takes
    except click.UsageError as error:
        return error.format_message()
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_kuiks_commands_are_taken(page: Path) -> None:
    wrong = []
    for line in typed(page):
        match = _KUIK.search(line)
        if match and line.startswith(("kuik ", "kubectl kuik ", ".venv", "python", "kubectl ", "helm ")):
            why = refused(words(match[1]))
            wrong += [f"{line}: {why}"] if why else []
    assert wrong == []


def test_targets_and_values_are_there() -> None:
    for page in PAGES:
        for line in typed(page):
            for target in re.findall(r"^make ([a-z0-9-]+)", line):
                assert target in TARGETS, f"{page.name}: {line}"
            chart = "charts/kube-image-keeper" in line or line.startswith("--set ")
            for value in re.findall(r"--set(?:-json|-string)?[ =]'?([A-Za-z0-9.]+)=", line) if chart else ():
                assert _is_value(value), f"{page.name}: {line}"


def _is_value(path: str) -> bool:
    if path.startswith(_FREE):
        return True
    found = VALUES
    for name in path.split("."):
        if not isinstance(found, dict) or name not in found:
            return isinstance(found, dict) and not found  # an empty map takes any name
        found = found[name]
    return True


def test_what_is_not_there_is_found() -> None:
    assert refused(words("policy plan --two x | cat")).startswith("No such option")
    assert refused(["nothing"]) == "no command nothing"
    assert not refused(words("policy plan --to policies/ -o markdown > plan.md  # all of it"))
    assert not _is_value("image.nothing")


def test_the_workflow_for_pull_requests_can_be_taken_as_it_is() -> None:
    page = (ROOT / "docs" / "policy-pull-requests.md").read_text()
    (text,) = (one for one in re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL) if "jobs:" in one)
    workflow = yaml.safe_load(text)
    assert workflow[True]["pull_request"]["paths"] == ["policies/**"]  # YAML 1.1 reads `on` so
    steps = workflow["jobs"]["plan"]["steps"]
    typed_there = [line.strip() for step in steps for line in step.get("run", "").replace("\\\n", " ").splitlines()]
    asked = [match[1] for line in typed_there if (match := re.search(r"python -m kuik (.*)", line))]
    assert [one.split()[1] for one in asked] == ["test", "lint", "plan"]
    assert [refused(words(one)) for one in asked] == ["", "", ""]
