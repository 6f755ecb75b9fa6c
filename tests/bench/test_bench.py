"""The benchmarks' arithmetic on known numbers, and a run of all of them on next to nothing."""

import json
import subprocess
import sys

import pytest

from bench.figures import MORE, Figure, growth, percentile

FIGURES = {"copy": 6, "herd": 4, "warm": 13, "stages": 5}
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


@pytest.mark.needs("docker-registry", "skopeo")
def test_every_benchmark_runs_and_prints_its_ratios() -> None:
    command = [sys.executable, "-m", "bench", "--scale", "0.004", "--rounds", "1", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["benchmarks"]
    assert {name: len(result["figures"]) for name, result in results.items()} == FIGURES
    for name in ("copy", "herd", "warm"):
        timed = [figure for figure in results[name]["figures"] if "CPU" not in figure["what"]]  # next to nothing is 0 s
        assert all(figure["ours"] > 0 and figure["ratio"] is not None for figure in timed), name
