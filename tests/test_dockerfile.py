"""What the Dockerfile needs is there: in the repository, in the build's context, and every room in the image."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def copied() -> set[str]:
    """What the Dockerfile copies from the build's context."""
    lines = [line.split() for line in (ROOT / "Dockerfile").read_text().splitlines()]
    return {line[1] for line in lines if line[:1] == ["COPY"] and not line[1].startswith("--")}


def test_what_is_copied_is_let_into_the_context() -> None:
    rules = (ROOT / ".dockerignore").read_text().split()
    assert rules[0] == "*"
    assert copied() == {rule[1:] for rule in rules if rule.startswith("!")}


def test_every_package_is_copied() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    rooms = {name.rstrip("*") for name in packages}
    assert rooms <= copied()
    assert all((ROOT / name).exists() for name in copied())
