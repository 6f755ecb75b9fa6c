"""Every benchmark runs, on next to nothing: with all the peers that `make bench` has."""

import pytest

from tests.bench.test_bench import FIGURES, bench


@pytest.mark.needs("docker-registry", "skopeo", "nginx", "tc")
def test_every_benchmark_runs_and_prints_its_ratios() -> None:
    results = bench()
    assert {name: len(result["figures"]) for name, result in results.items()} == FIGURES
    for name in ("copy", "herd", "warm", "node"):
        assert results[name]["missing"] == []
        timed = [figure for figure in results[name]["figures"] if "CPU" not in figure["what"]]  # next to nothing is 0 s
        assert all(figure["ours"] > 0 and figure["ratio"] is not None for figure in timed), name
