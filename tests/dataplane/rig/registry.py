"""The registry of a cluster as tests use it: distribution's writer and one or more readers, on a folder or on S3."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kuik.keeper.distribution import Filesystem, ObjectStorage
from tests.dataplane.rig.distribution import Distribution, reader, writer
from tests.dataplane.rig.s3 import ObjectServer

STORAGES = ("folder", "s3", "s3-proxied")
"""What may be behind it; `s3-proxied` gives the blobs out by itself, without a redirect to the object server."""


@dataclass(frozen=True)
class Registry:
    """Processes that run; `objects` where the storage is S3."""

    writer: Distribution
    readers: tuple[Distribution, ...]
    objects: ObjectServer | None = None


@contextmanager
def registry(folder: Path, storage: str, readers: int = 1) -> Iterator[Registry]:
    """A writer and readers on one of STORAGES; everything ends with the block."""
    with ExitStack() as stack:
        objects = stack.enter_context(ObjectServer(folder / "s3")) if storage != "folder" else None
        place: Filesystem | ObjectStorage = Filesystem(str(folder / "storage"))
        keys: Mapping[str, str] = {}
        if objects:
            place, keys = objects.storage(redirect=storage == "s3"), objects.keys
        writing = stack.enter_context(writer(folder / "writer", place, keys))
        reading = [stack.enter_context(reader(folder / f"reader-{n}", place, keys)) for n in range(readers)]
        yield Registry(writing, tuple(reading), objects)
