"""The benchmarks' arithmetic on known numbers, and runs without some of the programs that they need."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import link
from bench.figures import MORE, Figure, growth, percentile
from tests.rig.built import cache
from tests.rig.processes import find

BUILT = all((cache() / part).exists() for part in ("registry", "crane"))
FIGURES = {
    "copy": 6,
    "copies": 8 if BUILT else 0,
    "herd": 4,
    "warm": 13,
    "node": 49 if link.possible() else 31,
    "stages": 20,
    "admission": 3,
}
"""How many things each benchmark measures."""


def test_ratios_are_of_medians_and_their_spread_of_rounds() -> None:
    figure = Figure("throughput", "MiB/s", (30.0, 10.0, 20.0), (10.0, 10.0, 40.0), MORE)
    assert figure.ratio == 2.0
    assert figure.spread == (0.5, 3.0)
    assert Figure("alone", "s", (1.0,)).ratio is None
    assert Figure("by nothing", "s", (1.0,), (0.0,)).ratio is None


@pytest.mark.parametrize(("share", "expected"), [(0.5, 5), (0.99, 10), (1.0, 10), (0.0, 1)])
def test_percentiles(share: float, expected: int) -> None:
    assert percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], share) == expected


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_growth_is_the_exponent(power: float) -> None:
    sizes = [1, 2, 4, 8]
    assert growth(sizes, [3 * size**power for size in sizes]) == pytest.approx(power)


def bench(*words: str, path: Path | None = None) -> dict[str, Any]:
    """The results of a run on next to nothing; with `path` only programs in that folder are there."""
    command = [sys.executable, "-m", "bench", "--scale", "0.004", "--rounds", "1", "-o", "json", *words]
    environment = os.environ | ({"PATH": str(path), "TMPDIR": str(path)} if path else {})
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["benchmarks"]
    return found


@pytest.mark.needs("docker-registry")
def test_a_peer_that_is_missing_is_named_and_kuik_is_measured_alone(tmp_path: Path) -> None:
    (tmp_path / "docker-registry").symlink_to(str(find("docker-registry")))
    copied = bench("--only", "copy", path=tmp_path)["copy"]
    assert copied["missing"] == ["skopeo"]
    assert len(copied["figures"]) == FIGURES["copy"]
    assert all(figure["ours"] > 0 and figure["ratio"] is None for figure in copied["figures"])
    assert [path.name for path in tmp_path.iterdir()] == ["docker-registry"]  # the temporary folder is gone


def test_what_cannot_be_measured_without_a_program_says_so(tmp_path: Path) -> None:
    names = ("copy", "herd", "warm", "node")
    results = bench(*(word for name in names for word in ("--only", name)), path=tmp_path)
    assert results["copy"]["missing"] == ["docker-registry", "skopeo"]
    for name in names:
        assert results[name]["figures"] == []
        assert "docker-registry" in results[name]["missing"]


def test_the_table_names_what_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "--scale", "0.004", "--only", "herd", "--only", "stages"]
    environment = os.environ | {"PATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert "not measured: docker-registry is missing" in done.stdout
    assert "docker-registry is not installed" in done.stdout
    assert "stage 1: 32 pods, one sync" in done.stdout
