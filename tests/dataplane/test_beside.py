"""What was attached to an image, signatures and referrers, is looked at, hashed and healed like the image itself."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hooks.volumes import WHOLE, Replica, reports
from kuik.keeper.distribution import USER
from kuik.keeper.healer import Healer
from kuik.keeper.healing import Siblings
from kuik.keeper.memory import Memory
from kuik.keeper.proofs import Proofs
from kuik.keeper.tally import Tally
from kuik.keeper.truth import AGAIN, Truth
from kuik.keeper.volume import Volume, file_of
from registry.attached import fallback_tag
from registry.attaching import copy_attached
from registry.client import Client
from registry.copy import copy
from registry.credentials import Credentials
from registry.proxied import inside
from registry.reference import Reference
from registry.targets import RegistryTarget
from registry.transport import Transport, host_settings
from tests.dataplane.rig.distribution import WRITERS_TOKEN
from tests.dataplane.rig.registry import registry
from tests.kuik.keeper.test_healer import VOLUME, Objects, cached_image
from tests.rig.images import BuiltImage, image, index
from tests.rig.upstream import Upstream

APP, SIGNATURE, SBOM = image("an image"), image("its signature"), image("its bill of materials")
REFERRERS = index([SBOM])
COSIGN, FALLBACK = f"{fallback_tag(APP.digest)}.sig", fallback_tag(APP.digest)
LAYER = max(SIGNATURE.blobs, key=lambda one: len(SIGNATURE.blobs[one]))


@dataclass
class Bed:
    """The keeper's truth of one registry, with or without another one beside it."""

    name: str
    hosts: Sequence[str]
    client: Client
    truth: Truth
    cluster: Objects
    ahead: float = 0.0
    late: float = 0.0

    def go_on(self) -> Replica:
        """Some looks later, when all is due to be hashed again."""
        self.late += 40
        self.truth.proofs.now = lambda: datetime.now(UTC) + timedelta(seconds=self.late)
        for _ in range(4):
            self.ahead += AGAIN
            self.truth.round()
            self.truth.proofs.round()
            self.truth.healer.round()
            self.truth.round()
        return reports(self.cluster.there["app"])[VOLUME]

    def place(self, tag: str) -> Reference:
        return replace(inside(Reference.parse(self.name), self.hosts[0], private=False), tag=tag)

    def there(self) -> bool:
        """Whether all that is attached is served, byte for byte."""
        for tag, built in ((COSIGN, SIGNATURE), (FALLBACK, REFERRERS)):
            place = self.place(tag)
            if self.client.manifest(place).digest != built.digest:
                return False
            for digest, (_, raw) in built.manifests.items():
                if self.client.manifest(place.with_digest(digest)).raw != raw:
                    return False
            for digest, blob in built.blobs.items():
                with self.client.open_blob(place, digest) as stream:
                    if b"".join(stream) != blob:
                        return False
        return True


@contextmanager
def bed(upstream: Upstream, folder: Path, *, sibling: bool) -> Iterator[Bed]:
    with registry(folder / "0", "folder") as own, registry(folder / "1", "folder") as other:
        hosts = own.writer.host, other.writer.host
        transport = Transport(host_settings([*hosts, upstream.host]))
        client = Client(transport, lambda at: [Credentials(USER, WRITERS_TOKEN)] if at.host in hosts else [])
        for built, tag in ((SIGNATURE, COSIGN), (REFERRERS, FALLBACK), (APP, "1")):
            name = upstream.push(built, "team/app", tag)
        for host in hosts:
            target = RegistryTarget(client, host)
            copy(Reference.parse(name), client, target)
            assert copy_attached(Reference.parse(name), APP.digest, client, target) == ()
        upstream.stop()
        ends, tally = threading.Event(), Tally()
        volume = Volume(transport, hosts[0], Credentials(USER, WRITERS_TOKEN), folder / "0" / "storage")
        proofs = Proofs(volume, Memory(folder / ".kuik"), tally, ends, lambda: 60.0, time.monotonic)
        cluster = Objects(cached_image("app", name, APP.digest))
        cluster.there["app"]["status"]["referrers"] = True
        healer = Healer(volume, proofs, Siblings(client, hosts[1:] if sibling else ()), tally, ends)
        truth = Truth(VOLUME, cluster, proofs, healer, tally, ends, time.monotonic, look_every=0.0)
        made = Bed(name, hosts, client, truth, cluster)
        truth.monotonic = lambda: time.monotonic() + made.ahead
        yield made


def flipped(bed: Bed) -> None:
    path = file_of(bed.truth.healer.volume.folder or Path(), LAYER)
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


def lost_blob(bed: Bed) -> None:
    shutil.rmtree(file_of(bed.truth.healer.volume.folder or Path(), LAYER).parent)


def lost_manifest(bed: Bed) -> None:
    shutil.rmtree(file_of(bed.truth.healer.volume.folder or Path(), SBOM.digest).parent)


def lost_index(bed: Bed) -> None:
    shutil.rmtree(file_of(bed.truth.healer.volume.folder or Path(), REFERRERS.digest).parent)


def lost_tag(bed: Bed) -> None:
    bed.client.delete(bed.place(COSIGN))


HARM = (flipped, lost_blob, lost_manifest, lost_index, lost_tag)


@pytest.mark.parametrize("harm", HARM)
def test_what_is_attached_is_healed_from_the_other_volume(
    upstream: Upstream, tmp_path: Path, harm: Callable[[Bed], None]
) -> None:
    with bed(upstream, tmp_path, sibling=True) as made:
        assert (made.go_on().state, made.go_on().message) == (WHOLE, "")
        assert made.there()
        harm(made)
        said = made.go_on()
        assert (said.state, said.digest, said.message, said.beside) == (WHOLE, str(APP.digest), "", False)
        assert made.there()


@pytest.mark.parametrize("harm", HARM)
def test_without_another_volume_a_copy_is_asked_for_and_the_image_stays_whole(
    upstream: Upstream, tmp_path: Path, harm: Callable[[Bed], None]
) -> None:
    with bed(upstream, tmp_path, sibling=False) as made:
        assert made.go_on().message == ""
        harm(made)
        said = made.go_on()
        assert said.state == WHOLE
        if harm is lost_tag:  # what it named was seen before
            assert (said.message, said.beside) == ("", False)
            assert made.there()
            return
        assert said.beside
        assert "attached to it: " in said.message
        assert said.message.startswith(FALLBACK)
        target = RegistryTarget(made.client, made.hosts[0])
        upstream.start()
        copy_attached(Reference.parse(made.name), APP.digest, made.client, target)
        assert made.there(), "nothing wrong was left in its way"
        said = made.go_on()
        assert (said.message, said.beside) == ("", False)


@pytest.mark.parametrize("harm", [lost_index, lost_tag])
def test_what_was_lost_before_this_keeper_came(upstream: Upstream, tmp_path: Path, harm: Callable[[Bed], None]) -> None:
    with bed(upstream, tmp_path / "a", sibling=True) as made:
        harm(made)
        said = made.go_on()
        assert (said.message, said.beside, made.there()) == ("", False, True), "the other volume knows"
    with bed(upstream.start(), tmp_path / "b", sibling=False) as alone:
        harm(alone)
        said = alone.go_on()
        assert said.state == WHOLE
        if harm is lost_index:
            assert said.beside
            assert said.message == f"{FALLBACK}, attached to it: nobody knows what it named"


def test_a_volume_that_is_new_gets_what_is_attached_too(upstream: Upstream, tmp_path: Path) -> None:
    with bed(upstream, tmp_path, sibling=True) as made:
        shutil.rmtree(tmp_path / "0" / "storage" / "docker")
        assert made.go_on().state == WHOLE
        assert made.go_on().message == ""
        assert made.there()


def _other(built: BuiltImage) -> BuiltImage:
    return index([built, SIGNATURE])


def test_what_a_later_copy_attaches_is_followed(upstream: Upstream, tmp_path: Path) -> None:
    with bed(upstream, tmp_path, sibling=False) as made:
        assert made.go_on().message == ""
        upstream.start().push(_other(SBOM), "team/app", FALLBACK)
        target = RegistryTarget(made.client, made.hosts[0])
        copy_attached(Reference.parse(made.name), APP.digest, made.client, target)
        assert made.go_on().message == ""
        assert made.client.head(made.place(FALLBACK)).digest == _other(SBOM).digest, "nobody moves it back"
