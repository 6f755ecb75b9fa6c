"""A tag that moves: what it named before stays pullable through a collection of garbage, for the retention."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

from kube.types import format_time
from kuik.keeper.distribution import USER, Filesystem
from kuik.keeper.kept import kept
from kuik.keeper.sweep import places_of, unwanted
from registry.client import Client
from registry.copy import copy
from registry.credentials import Credentials
from registry.proxied import inside
from registry.reference import Reference
from registry.targets import RegistryTarget
from registry.transport import Transport, host_settings
from tests.dataplane.rig.distribution import WRITERS_TOKEN, Distribution, writer
from tests.rig import skopeo
from tests.rig.built import program
from tests.rig.images import BuiltImage, multi_platform
from tests.rig.upstream import Upstream

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FIRST, SECOND = multi_platform("first"), multi_platform("second")


def cached_image(reference: Reference, now: BuiltImage, *, until: str) -> dict[str, object]:
    """As stage 3 leaves it after the tag moved."""
    earlier = [{"digest": str(FIRST.digest), "until": until}]
    status = {"digest": str(now.digest), "copiedAs": "Public", "previousDigests": earlier}
    return {"spec": {"image": str(reference)}, "status": status}


def collect(registry: Distribution) -> None:
    """As the keeper does it: while the writer is stopped."""
    registry.stop()
    command = [program("registry"), "garbage-collect", "--delete-untagged", str(registry.folder / "config.yaml")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    registry.start()


def test_an_earlier_digest_is_served_after_a_refresh_and_a_collection(upstream: Upstream, tmp_path: Path) -> None:
    with writer(tmp_path / "writer", Filesystem(str(tmp_path / "storage"))) as registry:
        known = (Credentials(USER, WRITERS_TOKEN),)
        transport = Transport(host_settings([registry.host, upstream.host]))
        client = Client(transport, lambda asked: known if asked.host == registry.host else ())
        for built in (FIRST, SECOND):
            reference = Reference.parse(upstream.push(built, "team/app", "1"))
            copy(reference, client, RegistryTarget(client, registry.host))
        place = inside(reference, registry.host)

        def sweep(until: str) -> None:
            tags = {place.repository: client.tags(place)}
            stay = kept([cached_image(reference, SECOND, until=until)], NOW)
            for one in unwanted(places_of(tags), stay, {}):
                client.delete(one.at(registry.host))
            collect(registry)

        def pulls(built: BuiltImage, name: str) -> bool:
            target = f"dir:{tmp_path / name}-{built.digest.hex[:6]}"
            source = f"docker://{place.name}@{built.digest}"
            options = ("--all", "--preserve-digests", "--src-tls-verify=false", f"--src-creds={USER}:{WRITERS_TOKEN}")
            return skopeo.run("copy", *options, source, target, check=False).returncode == 0

        sweep(until="2026-03-30T00:00:00Z")
        assert pulls(FIRST, "kept"), "pods that run may still need it"
        assert pulls(SECOND, "kept")
        sweep(until=format_time(NOW))
        assert not pulls(FIRST, "over"), "its retention is over"
        assert pulls(SECOND, "over")
