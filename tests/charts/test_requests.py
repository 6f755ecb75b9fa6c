"""The chart's requests of memory are what was measured on a real node, as the page that the run wrote has it."""

import re
from typing import Any

import pytest
import yaml

from scripts import chart

_PAGE = chart.ROOT / "docs" / "e2e.md"
_VALUES = yaml.safe_load((chart.CHART / "values.yaml").read_text())
_MEASURED = {
    "node proxy": ("proxy", "resources"),
    "hooks": ("hooks", "resources"),
    "admission": ("hooks", "admissionResources"),
    "origin shield": ("shield", "resources"),
    "registry: writer, and keeper": ("registry", "resources"),
    "registry: reader": ("registry", "readerResources"),
}


def _measured() -> dict[str, int]:
    """MiB (PSS) of each component when it was busy."""
    rows = re.findall(r"^\| ([^|]+) \| \d+ \| (\d+) \| \d+ \| \d+ \|", _PAGE.read_text(), re.MULTILINE)
    return {name: int(busy) for name, busy in rows}


@pytest.mark.parametrize("component", _MEASURED)
def test_a_request_is_what_was_measured_and_some_more(component: str) -> None:
    part, name = _MEASURED[component]
    resources: dict[str, Any] = _VALUES[part][name]
    busy, asked = _measured()[component], int(resources["requests"]["memory"].removesuffix("Mi"))
    assert busy <= asked <= 2 * busy
