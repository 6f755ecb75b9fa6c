"""What upstream was spared in local mode: counted over restarts, kept in the store, told by `kuik report`."""

import json
import urllib.request
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from kuik.__main__ import main
from kuik.local.savings import saved
from tests.rig.images import BuiltImage, image
from tests.rig.kuik import Running, cache_list
from tests.rig.manifests import deployment, write
from tests.rig.processes import wait_until
from tests.rig.upstream import Upstream

BUILT = image("saved", layers=2, layer_size=100_000)
SIZE = len(BUILT.raw) + sum(map(len, BUILT.blobs.values()))


def reported(store: Path, *options: str) -> str:
    return CliRunner().invoke(main, ["report", "--store", str(store), *options]).stdout


def told(store: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(reported(store, "-o", "json"))["saved"]
    return found


def pull(running: Running, upstream: Upstream, built: BuiltImage) -> None:
    """All of an image, as a node gets it."""
    base = f"http://{running.host}/v2/{upstream.host.replace(':', '__')}/team/app"
    places = {f"{base}/manifests/1": built.raw, **{f"{base}/blobs/{one}": blob for one, blob in built.blobs.items()}}
    for place, content in places.items():
        with urllib.request.urlopen(place, timeout=60) as answer:
            assert answer.read() == content


def test_what_was_served_less_what_was_fetched_is_told_over_restarts(upstream: Upstream, tmp_path: Path) -> None:
    name = upstream.push(BUILT, "team/app", "1")
    store, pods = tmp_path / "store", write(tmp_path / "pods.yaml", deployment("web", name))
    words = (str(pods), "--plain-http", upstream.host)
    with Running(store, words) as running:
        wait_until(
            lambda: cache_list(store).get(name, {}).get("phase") == "Cached", f"it is cached: {running.said}", 60
        )
        for _ in range(3):
            pull(running, upstream, BUILT)
    first = told(store)
    anew = 2 - first["pulls"]  # the manifest may be got once more, when the copy's is not kept in the spool any longer
    assert anew in (0, 1)
    assert first["bytes"] == 2 * SIZE - anew * len(BUILT.raw)
    upstream.stop()
    with Running(store, words) as running:
        pull(running, upstream, BUILT)
        running.kill()
        assert told(store)["since"] == first["since"]
    with Running(store, words) as running:
        pull(running, upstream, BUILT)
        wait_until(lambda: told(store)["pulls"] > first["pulls"], "it is kept while it runs", 60)
    more = told(store)["bytes"] - first["bytes"]
    assert SIZE <= more <= 2 * SIZE, "a kill costs what was counted last"
    assert "upstream was spared " in reported(store)


def test_a_store_that_nobody_served_from_says_that_nothing_was_counted(tmp_path: Path) -> None:
    assert saved(tmp_path) is None
    assert "is not known" in reported(tmp_path)
    assert told(tmp_path) is None


def test_a_damaged_file_counts_anew(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "savings.json").write_text("{")
    found = saved(tmp_path)
    assert found is not None
    assert (found["bytes"], found["pulls"]) == (0, 0)
