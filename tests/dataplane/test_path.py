"""The whole path: copies into distribution, pulls by a real client through the proxy, also when all else is dead."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dataplane.rig.plane import Plane, plane
from tests.dataplane.rig.registry import STORAGES, registry
from tests.rig import skopeo
from tests.rig.images import BuiltImage, multi_platform
from tests.rig.upstream import Upstream


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    running = Upstream(tmp_path_factory.mktemp("upstream")).start()
    yield running
    running.stop()


@pytest.fixture(scope="module", params=STORAGES)
def running(
    request: pytest.FixtureRequest, source: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Plane]:
    folder = tmp_path_factory.mktemp("plane")
    with registry(folder, request.param, readers=2) as copies, plane(folder, copies, source) as found:
        yield found


def pushed(source: Upstream, name: str, built: BuiltImage) -> str:
    return source.push(built, f"team/{name}", "1")


def test_what_was_copied_is_pulled_by_a_proxy_that_starts_with_upstream_shield_and_a_reader_dead(
    running: Plane, source: Upstream, tmp_path: Path
) -> None:
    built = multi_platform(f"path-{tmp_path}", layer_size=3_000_000)
    reference = pushed(source, "copied", built)
    assert running.copy(reference)["digest"] == str(built.digest)
    source.stop()
    running.shield.stop()
    try:
        whole = ("--multi-arch", "all")
        for number, reader in enumerate(running.registry.readers):
            running.proxy.stop()
            reader.stop()
            running.proxy.start()  # which knows nothing of who was dead before, and begins with most of them dead
            try:
                pulled = tmp_path / f"pulled-{number}"
                assert skopeo.pull(running.proxy.image(reference), pulled, *whole) == str(built.digest)
            finally:
                reader.start()
        by_digest = reference.rpartition(":")[0] + f"@{built.digest}"
        assert skopeo.pull(running.proxy.image(by_digest), tmp_path / "by-digest", *whole) == str(built.digest)
    finally:
        running.shield.start()
        source.start()
