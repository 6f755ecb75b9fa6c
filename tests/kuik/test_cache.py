"""`kuik cache`: what is listed, what may be removed, what comes back."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.rig.images import image, multi_platform
from tests.rig.kuik import Running, cache_list, kuik
from tests.rig.manifests import deployment, write
from tests.rig.upstream import Upstream


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    folder = tmp_path_factory.mktemp("made")
    store, pods = folder / "store", folder / "pods"
    upstream = Upstream(folder / "upstream").start()
    try:
        used, unused = (
            upstream.push(multi_platform("used"), "a/used", "1"),
            upstream.push(image("unused"), "a/unused", "1"),
        )
        write(pods / "a.yaml", deployment("used", used, namespace="shop"))
        write(pods / "b.yaml", deployment("unused", unused))
        words = ("run", str(pods), "--store", str(store), "--plain-http", upstream.host, "--once")
        assert kuik(*words).returncode == 0
        (pods / "b.yaml").unlink()
        assert kuik(*words).returncode == 0
    finally:
        upstream.stop()
    return store, used, unused


@pytest.fixture
def stored(_made: tuple[Path, str, str], tmp_path: Path) -> tuple[Path, str, str]:
    """A store with an image in use and one that is not, for this test alone."""
    store, used, unused = _made
    return Path(shutil.copytree(store, tmp_path / "store")), used, unused


def test_the_list_in_three_forms(stored: tuple[Path, str, str]) -> None:
    store, used, unused = stored
    table = kuik("cache", "list", "--store", str(store)).stdout.splitlines()
    assert table[0].split() == ["IMAGE", "PHASE", "SIZE", "USED-BY", "AGE", "REASON"]
    assert [line.split()[0] for line in table[1:]] == sorted([used, unused])
    assert "shop/Deployment/used" in table[2]
    as_json = json.loads(kuik("cache", "list", "--store", str(store), "-o", "json").stdout)
    as_yaml = yaml.safe_load(kuik("cache", "list", "--store", str(store), "-o", "yaml").stdout)
    assert as_json == as_yaml
    assert {row["image"]: (row["phase"], row["unusedSince"] is None) for row in as_json} == {
        used: ("Cached", True),
        unused: ("Cached", False),
    }


def test_removing_frees_space_and_spares_what_is_used(stored: tuple[Path, str, str]) -> None:
    store, used, unused = stored
    refused = kuik("cache", "remove", unused, used, "--store", str(store))
    assert refused.returncode == 1
    assert "shop/Deployment/used" in refused.stderr
    assert cache_list(store).keys() == {used, unused}, "nothing goes when one of the images may not"
    before = _blobs(store)
    assert kuik("cache", "remove", unused, "--store", str(store)).returncode == 0
    assert cache_list(store).keys() == {used}
    assert len(before) - len(_blobs(store)) == 4
    assert kuik("cache", "remove", used, "--force", "--store", str(store)).returncode == 0
    assert _blobs(store) == set()


def test_mistakes_have_words_and_exit_codes(stored: tuple[Path, str, str], tmp_path: Path) -> None:
    store, _, _ = stored
    unknown = kuik("cache", "remove", "nginx", "--store", str(store))
    assert (unknown.returncode, "docker.io/library/nginx:latest is not in the store" in unknown.stderr) == (1, True)
    assert kuik("cache", "remove", "UPPER/case", "--store", str(store)).returncode == 2
    assert kuik("cache", "list", "--store", str(tmp_path / "none")).returncode == 2
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    assert kuik("cache", "gc", "--store", str(foreign)).returncode == 1
    assert [path.name for path in foreign.iterdir()] == ["thesis.txt"]


def test_gc_takes_orphans_and_leaves_images(stored: tuple[Path, str, str]) -> None:
    store, used, unused = stored
    before = _blobs(store)
    orphan = store / "blobs" / "sha256" / ("0" * 64)
    orphan.write_bytes(b"nobody's")
    assert kuik("cache", "gc", "--store", str(store)).returncode == 0
    assert not orphan.exists()
    assert _blobs(store) == before
    assert cache_list(store).keys() == {used, unused}


def test_what_is_removed_while_kuik_runs_is_cached_again_if_it_is_used(upstream: Upstream, tmp_path: Path) -> None:
    name = upstream.push(image("one"), "a/one", "1")
    pods = write(tmp_path / "pods.yaml", deployment("one", name))
    with Running(tmp_path / "store", (pods, "--plain-http", upstream.host)) as running:
        running.until_cached(name)
        upstream.forget_requests()
        done = kuik("cache", "remove", name, "--force", "--store", str(tmp_path / "store"))
        assert done.returncode == 0, done.stderr
        running.until_cached(name)
    assert upstream.count("GET", "/blobs/") == 3


def _blobs(store: Path) -> set[str]:
    return {path.name for path in (store / "blobs").rglob("*") if path.is_file()}
