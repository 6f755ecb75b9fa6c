"""A volume in a bucket: looked at and hashed through its registry; what is wrong there is told with what to do."""

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hooks.volumes import DAMAGED, WHOLE, reports
from kuik.keeper.distribution import USER
from kuik.keeper.healer import Healer
from kuik.keeper.healing import Siblings
from kuik.keeper.memory import Memory
from kuik.keeper.proofs import Proofs
from kuik.keeper.tally import Tally
from kuik.keeper.truth import Truth
from kuik.keeper.volume import Volume, file_of
from registry.client import Client
from registry.copy import CopyOptions, copy
from registry.credentials import Credentials
from registry.reference import Reference
from registry.targets import RegistryTarget
from registry.transport import Transport, host_settings
from tests.dataplane.rig.distribution import WRITERS_TOKEN
from tests.dataplane.rig.registry import registry
from tests.dataplane.rig.s3 import BUCKET
from tests.kuik.keeper.test_healer import VOLUME, Objects, cached_image
from tests.rig.images import image
from tests.rig.upstream import Upstream

BUILT = image("in a bucket", layers=2)


def flipped(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


@pytest.mark.parametrize("damaged", ["layer", "manifest", "cut layer"])
def test_what_is_overwritten_in_the_bucket_is_found_and_told(upstream: Upstream, tmp_path: Path, damaged: str) -> None:
    name = upstream.push(BUILT, "team/app", "1")
    with registry(tmp_path / "registry", "s3") as running:
        assert running.objects
        host, ends, tally = running.writer.host, threading.Event(), Tally()
        transport = Transport(host_settings([host, upstream.host]))
        volume = Volume(transport, host, Credentials(USER, WRITERS_TOKEN), None)
        anybody = Client(transport, lambda _reference: ())
        copy(Reference.parse(name), anybody, RegistryTarget(volume.client, host), CopyOptions())
        proofs = Proofs(volume, Memory(tmp_path / ".kuik"), tally, ends, lambda: 60.0, time.monotonic)
        cluster = Objects(cached_image("app", name, BUILT.digest))
        healer = Healer(volume, proofs, Siblings(anybody, []), tally, ends)
        truth = Truth(VOLUME, cluster, proofs, healer, tally, ends, time.monotonic, look_every=0.0)

        truth.round()
        proofs.round()
        truth.round()
        said = reports(cluster.there["app"])[VOLUME]
        assert said.state == WHOLE, said
        assert said.verified
        assert tally.hashed_bytes >= sum(map(len, BUILT.blobs.values()))

        digest = BUILT.digest if damaged == "manifest" else max(BUILT.blobs, key=lambda one: len(BUILT.blobs[one]))
        key = file_of(Path(), digest)
        path = running.objects.folder / "objects" / BUCKET / key
        right = path.read_bytes()
        path.write_bytes(right[:-3] if damaged == "cut layer" else flipped(right))
        proofs.now = lambda: datetime.now(UTC) + timedelta(seconds=40)
        proofs.round()
        truth.round()
        said = reports(cluster.there["app"])[VOLUME]
        assert said.state == DAMAGED
        assert str(digest) in said.message
        assert f"remove the object {key} from the bucket" in said.message

        path.unlink()
        copy(Reference.parse(name), anybody, RegistryTarget(volume.client, host), CopyOptions())
        assert path.read_bytes() == right
