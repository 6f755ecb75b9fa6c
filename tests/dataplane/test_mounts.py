"""Layers that images share, in a registry on S3: mounted across repositories, and read back through its redirects."""

import random
from pathlib import Path

import pytest

from kuik.keeper.distribution import USER
from registry.client import Client
from registry.copy import copy
from registry.credentials import Credentials
from registry.reference import Reference
from registry.targets import RegistryTarget
from registry.transport import Transport, host_settings
from tests.dataplane.rig.distribution import READERS_TOKEN, WRITERS_TOKEN
from tests.dataplane.rig.registry import registry
from tests.registry.memory_source import MemorySource
from tests.registry.test_commons import image

MIB = 1 << 20


def layer(seed: str) -> bytes:
    return random.Random(seed).randbytes(MIB)  # noqa: S311 - reproducible bytes


@pytest.mark.parametrize("storage", ["s3", "s3-proxied"])
def test_a_shared_layer_is_sent_once_and_read_from_every_repository(tmp_path: Path, storage: str) -> None:
    with registry(tmp_path, storage) as running:
        hosts = [f"127.0.0.1:{one.port}" for one in (running.writer, running.readers[0])]
        objects = [f"127.0.0.1:{running.objects.port}"] if running.objects else []
        transport = Transport(host_settings([*hosts, *objects]))
        writing = Client(transport, lambda _: [Credentials(USER, WRITERS_TOKEN)])
        reading = Client(transport, lambda _: [Credentials(USER, READERS_TOKEN)])
        shared = (layer("base 0"), layer("base 1"))
        for name in ("first", "second"):
            built, source = image(name, (*shared, layer(name))), MemorySource()
            reference = source.add(built, f"reg:5000/team/{name}:1")
            assert copy(reference, source, RegistryTarget(writing, hosts[0])).digest == built.digest
            fetched = {digest for digest, _ in source.blob_requests}
            assert len(fetched) == (4 if name == "first" else 2)
            place = Reference.parse(f"{hosts[1]}/reg__5000/team/{name}:1")
            assert reading.manifest(place).digest == built.digest
            for digest, content in built.blobs.items():
                with reading.open_blob(place, digest) as stream:
                    assert b"".join(stream) == content
