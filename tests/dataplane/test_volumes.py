"""Two volumes without shared storage: what one lacks comes from the other, while everything else is away."""

from pathlib import Path

import pytest

from registry.digest import Digest
from tests.dataplane.rig.plane import Plane, plane
from tests.dataplane.rig.registry import Registry, registry
from tests.rig.images import image
from tests.rig.upstream import Upstream

BUILT = image("on two volumes", layers=8)


def blob_file(volume: Registry, digest: Digest) -> Path:
    blobs = volume.writer.folder.parent / "storage" / "docker/registry/v2/blobs"
    return blobs / digest.algorithm / digest.hex[:2] / digest.hex / "data"


@pytest.mark.parametrize("lacks", ["blobs", "the image"])
def test_a_volume_that_lacks_something_breaks_no_pull(upstream: Upstream, tmp_path: Path, lacks: str) -> None:
    name = upstream.push(BUILT, "team/app", "1")
    with registry(tmp_path / "0", "folder") as first, registry(tmp_path / "1", "folder") as second:
        both = Registry(first.writer, (*first.readers, *second.readers))
        with plane(tmp_path / "plane", both, upstream) as running:
            for volume in (first, second) if lacks == "blobs" else (second,):
                assert Plane(volume, running.shield, running.proxy).copy(name)["digest"] == str(BUILT.digest)
            if lacks == "blobs":
                for number, digest in enumerate(BUILT.blobs):
                    blob_file((first, second)[number % 2], digest).unlink()
            upstream.stop()
            running.shield.kill()
            base = f"/v2/{upstream.host.replace(':', '__')}/team/app"
            by_tag = running.proxy.get(f"{base}/manifests/1")
            assert (by_tag.status, by_tag.body) == (200, BUILT.raw)
            for _ in range(2):  # nobody is left alone for what it does not have
                for digest, content in BUILT.blobs.items():
                    found = running.proxy.get(f"{base}/blobs/{digest}")
                    assert (found.status, found.body) == (200, content)
            peers = {f"registry at {reader.host}" for reader in both.readers}
            told = running.proxy.tells("/metrics").body.decode()
            assert not [
                line
                for line in told.splitlines()
                if "breaker" in line and line.endswith(" 1.0") and any(peer in line for peer in peers)
            ]
