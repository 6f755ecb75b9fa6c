"""What a tag named before, and is kept under its anchor, is looked at, hashed and healed from the other volume, too."""

import shutil
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hooks.volumes import WHOLE, Replica, reports
from kube.types import format_time
from kuik.keeper.distribution import USER
from kuik.keeper.healer import Healer
from kuik.keeper.healing import Siblings
from kuik.keeper.memory import Memory
from kuik.keeper.proofs import Proofs
from kuik.keeper.tally import Tally
from kuik.keeper.truth import AGAIN, Truth
from kuik.keeper.volume import Volume, file_of
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
from tests.rig.images import image
from tests.rig.upstream import Upstream

OLD, NEW = image("what it was"), image("what it is")


def flipped(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


def lost(path: Path) -> None:
    shutil.rmtree(path.parent)


@pytest.mark.parametrize(("harm", "sibling"), [(flipped, True), (lost, True), (flipped, False)])
def test_damage_to_an_earlier_digest(
    upstream: Upstream, tmp_path: Path, harm: Callable[[Path], None], *, sibling: bool
) -> None:
    with registry(tmp_path / "0", "folder") as own, registry(tmp_path / "1", "folder") as other:
        hosts = own.writer.host, other.writer.host
        transport = Transport(host_settings([*hosts, upstream.host]))
        client = Client(transport, lambda at: [Credentials(USER, WRITERS_TOKEN)] if at.host in hosts else [])
        for built in (OLD, NEW):  # the second copy gives the first one's digest its anchor
            name = upstream.push(built, "team/app", "1")
            for host in hosts:
                copy(Reference.parse(name), client, RegistryTarget(client, host))
        upstream.stop()

        folder, ends, tally = tmp_path / "0" / "storage", threading.Event(), Tally()
        volume = Volume(transport, hosts[0], Credentials(USER, WRITERS_TOKEN), folder)
        proofs = Proofs(volume, Memory(tmp_path / ".kuik"), tally, ends, lambda: 60.0, time.monotonic)
        cluster = Objects(cached_image("app", name, NEW.digest))
        kept = {"digest": str(OLD.digest), "until": format_time(datetime.now(UTC) + timedelta(days=1))}
        cluster.there["app"]["status"]["previousDigests"] = [kept]
        healer = Healer(volume, proofs, Siblings(client, hosts[1:] if sibling else ()), tally, ends)
        ahead = [0.0]
        truth = Truth(VOLUME, cluster, proofs, healer, tally, ends, lambda: time.monotonic() + ahead[0], look_every=0.0)

        def go_on() -> Replica:
            for _ in range(3):
                ahead[0] += AGAIN
                truth.round()
                proofs.round()
                healer.round()
                truth.round()
            return reports(cluster.there["app"])[VOLUME]

        assert (go_on().state, go_on().message) == (WHOLE, "")
        blob = max(OLD.blobs.keys() - NEW.blobs.keys(), key=lambda one: len(OLD.blobs[one]))
        harm(file_of(folder, blob))
        proofs.now = lambda: datetime.now(UTC) + timedelta(seconds=40)  # what was proven is due again
        said = go_on()
        assert (said.state, said.digest) == (WHOLE, str(NEW.digest))
        if not sibling:
            assert said.message.startswith(f"the earlier digest {OLD.digest}: ")
            return
        assert said.message == ""
        assert file_of(folder, blob).read_bytes() == OLD.blobs[blob]
        place = inside(Reference.parse(name).with_digest(OLD.digest), hosts[0], private=False)
        with client.open_blob(place, blob) as stream:
            assert b"".join(stream) == OLD.blobs[blob]
