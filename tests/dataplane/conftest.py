"""The data plane on real servers, with faults between them. These tests run where they are named: `make
test-dataplane`."""

from pathlib import Path

import pytest


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leave these tests out unless the command line names them: they take minutes."""
    return None if any("dataplane" in Path(argument).parts for argument in config.args) else True
