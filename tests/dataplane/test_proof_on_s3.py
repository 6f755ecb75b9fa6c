"""A volume in a bucket: looked at and hashed through its registry; what is wrong leaves, so that a copy heals it."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hooks.volumes import DAMAGED, WHOLE, Replica, reports
from kuik.keeper.bucket import Bucket, bucket_of
from kuik.keeper.distribution import USER, text
from kuik.keeper.healer import Healer
from kuik.keeper.healing import Siblings
from kuik.keeper.memory import Memory
from kuik.keeper.proofs import Proofs
from kuik.keeper.tally import Tally
from kuik.keeper.truth import Truth
from kuik.keeper.volume import Room, Volume, file_of
from registry.client import Client
from registry.copy import CopyOptions, copy
from registry.credentials import Credentials
from registry.digest import Digest
from registry.errors import Unreachable
from registry.reference import Reference
from registry.targets import RegistryTarget
from registry.transport import Transport, host_settings
from tests.dataplane.rig.distribution import WRITERS_TOKEN
from tests.dataplane.rig.registry import registry
from tests.dataplane.rig.s3 import BUCKET, ObjectServer
from tests.kuik.keeper.test_healer import VOLUME, Objects, cached_image
from tests.rig.images import image
from tests.rig.upstream import Upstream

BUILT = image("in a bucket", layers=2)
LAYER = max(BUILT.blobs, key=lambda one: len(BUILT.blobs[one]))
ALL = sum(map(len, BUILT.blobs.values())) + len(BUILT.raw)


@dataclass
class Bed:
    """The keeper's truth beside a registry in a bucket, and the copy of an image in it."""

    objects: ObjectServer
    volume: Volume
    truth: Truth
    cluster: Objects
    copied: Callable[[], None]

    def path(self, digest: Digest) -> Path:
        return self.objects.folder / "objects" / BUCKET / file_of(Path(), digest)

    def round(self, later: float = 0.0) -> Replica:
        """Look and hash, so much later; what is said then."""
        self.truth.proofs.now = lambda: datetime.now(UTC) + timedelta(seconds=later)
        self.truth.round()
        self.truth.proofs.round()
        self.truth.round()
        return reports(self.cluster.there["app"])[VOLUME]


@pytest.fixture
def bed(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bed]:
    name = upstream.push(BUILT, "team/app", "1")
    with registry(tmp_path / "registry", "s3") as running:
        assert running.objects
        for variable, value in running.objects.keys.items():
            monkeypatch.setenv(variable, value)
        host, ends, tally = running.writer.host, threading.Event(), Tally()
        transport = Transport(host_settings([host, upstream.host]))
        bucket = bucket_of(text(running.writer.document))
        assert bucket
        volume = Volume(transport, host, Credentials(USER, WRITERS_TOKEN), None, bucket)
        anybody = Client(transport, lambda _reference: ())

        def copied() -> None:
            copy(Reference.parse(name), anybody, RegistryTarget(volume.client, host), CopyOptions())

        copied()
        proofs = Proofs(volume, Memory(tmp_path / ".kuik"), tally, ends, lambda: 60.0, time.monotonic)
        cluster = Objects(cached_image("app", name, BUILT.digest))
        healer = Healer(volume, proofs, Siblings(anybody, []), tally, ends)
        truth = Truth(VOLUME, cluster, proofs, healer, tally, ends, time.monotonic, look_every=0.0)
        yield Bed(running.objects, volume, truth, cluster, copied)


def flipped(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


@pytest.mark.parametrize("damaged", ["layer", "manifest", "cut layer"])
def test_what_is_overwritten_in_the_bucket_is_found_and_leaves_so_that_a_copy_heals_it(bed: Bed, damaged: str) -> None:
    said = bed.round()
    assert said.state == WHOLE, said
    assert said.verified
    assert bed.truth.tally.hashed_bytes >= ALL - len(BUILT.raw)

    digest = BUILT.digest if damaged == "manifest" else LAYER
    path = bed.path(digest)
    right = path.read_bytes()
    path.write_bytes(right[:-3] if damaged == "cut layer" else flipped(right))
    said = bed.round(later=40)
    assert said.state == DAMAGED
    assert str(digest) in said.message
    assert not path.exists(), "a copy that found it there would leave it as it is"

    bed.copied()
    assert path.read_bytes() == right
    said = bed.round(later=41)
    assert (said.state, bool(said.verified)) == (WHOLE, True)


def test_where_the_bucket_cannot_be_changed_it_is_told_what_to_do(bed: Bed) -> None:
    assert bed.round().state == WHOLE
    path, right = bed.path(LAYER), bed.path(LAYER).read_bytes()
    path.write_bytes(flipped(right))
    assert bed.volume.bucket
    bed.volume.bucket = Bucket(bed.volume.bucket.storage, ("rig", "not the key"))
    said = bed.round(later=40)
    assert said.state == DAMAGED
    assert f"remove the object {file_of(Path(), LAYER)} from the bucket" in said.message
    assert "SignatureDoesNotMatch" in said.message
    assert path.exists()
    assert bed.round(later=41) == said, "it is said once"

    path.write_bytes(right)  # by a person
    assert bed.round(later=80).state == DAMAGED, "until it is looked at again"


def test_what_is_in_the_bucket_is_counted_and_not_often(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bed.volume.room(10 * ALL) == Room(ALL, 10 * ALL, 9 * ALL)
    assert bed.volume.room(None) == Room(ALL, None, None)
    bed.path(LAYER).unlink()
    assert bed.volume.room(None).used == ALL, "to list it takes many requests"
    assert bed.volume.room(None, anew=True).used == ALL - len(BUILT.blobs[LAYER])
    bucket = bed.volume.bucket
    assert bucket
    bed.objects.stop()
    assert bed.volume.room(None, anew=True) == Room()
    with pytest.raises(Unreachable, match="does not answer"):
        bucket.remove(LAYER)
    bed.objects.start()
    for variable in bed.objects.keys:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9/")  # as a role's, which is away
    with pytest.raises(Unreachable, match="who gives its keys"):
        Bucket(bucket.storage).remove(LAYER)
