"""Fixtures that every room shares: real upstream registries, and tests that name the programs they need."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.rig.processes import find
from tests.rig.upstream import Upstream

# Property tests here are about values, never about time: a slow machine must not fail them.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

MAY_BE_AWAY = {
    "real_metacontroller": "Metacontroller is in no package registry, so a machine may have no way to get it",
    "small_disk": "only root may mount a file system, and in many containers not even root",
}
"""Fixtures that may skip their tests even where nothing else may be skipped, and why."""


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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Where nothing may be skipped, a skip is a failure, except what MAY_BE_AWAY names."""
    report = yield
    exempt = call.when == "setup" and MAY_BE_AWAY.keys() & set(getattr(item, "fixturenames", ()))
    if report.skipped and os.environ.get("CI") and not exempt and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but nothing may be skipped in CI: {report.longrepr}"
    return report


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
