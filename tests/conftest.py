"""Fixtures that every room shares: real upstream registries, and tests that name the programs they need."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.processes import find
from tests.rig.upstream import Upstream


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, by name, what needs a program that is not here; where nothing may be skipped (CI), leave it to fail."""
    if os.environ.get("CI"):
        return
    for item in items:
        marks = list(item.iter_markers("needs"))
        fixtures = getattr(item, "fixturenames", ())
        wanted = {program for mark in marks for program in mark.args}
        wanted |= {"docker-registry"} if {"upstream", "private_upstream"} & set(fixtures) else set()
        wanted |= {"htpasswd"} if "private_upstream" in fixtures else set()
        missing = sorted(program for program in wanted if not find(program))
        if missing:
            item.add_marker(pytest.mark.skip(reason=f"needs {', '.join(missing)}: not installed"))


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    """A docker-registry that anyone may read and write."""
    registry = Upstream(tmp_path / "upstream").start()
    yield registry
    registry.stop()


@pytest.fixture
def private_upstream(tmp_path: Path) -> Iterator[Upstream]:
    """A docker-registry behind a user and a password."""
    registry = Upstream(tmp_path / "private-upstream", user="alice", password="s3cret-enough").start()
    yield registry
    registry.stop()
