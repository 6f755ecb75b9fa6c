"""A store on disk: the image layout folder, the CachedImages beside it, and who runs it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kube.types import Object
from kuik.local.state import State
from registry.durable import locked, make_folder
from registry.layout import Layout
from registry.manifest import Descriptor
from registry.reference import InvalidReference, Reference


class StoreBusy(RuntimeError):
    """Another `kuik run` works on this store."""


class Store:
    """The store in `folder`, made where it is not there; raises registry.errors.RegistryError, OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.layout = Layout(folder)
        self.state = State(folder)
        self.spool = folder / "spool"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Hold the store as the one process that runs it; raises StoreBusy."""
        make_folder(self.folder / "state")
        path = self.folder / "state" / "run.lock"
        try:
            with locked(path, exclusive=True, within=0):
                path.write_text(f"{os.getpid()}\n")
                yield
        except BlockingIOError as error:
            pid = path.read_text().strip()
            raise StoreBusy(f"another kuik (process {pid}) runs the store {self.folder}") from error


@dataclass(frozen=True)
class Held:
    """An image in a store: its CachedImage where there is one, and its tag in the layout where it has one."""

    image: str
    cached_image: Object | None
    descriptor: Descriptor | None

    @property
    def status(self) -> Mapping[str, Any]:
        return (self.cached_image or {}).get("status") or {}

    @property
    def used_by(self) -> tuple[str, ...]:
        """The workloads that use the image, as `Namespace/Kind/name`."""
        return tuple((self.cached_image or {}).get("spec", {}).get("usedBy") or ())

    @property
    def phase(self) -> str:
        """The CachedImage's phase; `Untracked` for an image without one."""
        if self.cached_image is None:
            return "Untracked"
        return str(self.status.get("phase") or "Pending")


def held(store: Store) -> list[Held]:
    """Every image of the store, by name."""
    tags = {str(reference): descriptor for reference, descriptor in store.layout.references().items()}
    tracked = {str(obj["spec"]["image"]): obj for obj in store.state.load()}
    return [Held(image, tracked.get(image), tags.get(image)) for image in sorted(tags.keys() | tracked.keys())]


def forget(store: Store, one: Held) -> None:
    """Take an image out of the store: first its tag, then its CachedImage, so that a crash between leaves no ghost."""
    with suppress(InvalidReference):  # a CachedImage that names no image has no tag
        store.layout.untag(Reference.parse(one.image))
    if one.cached_image is not None:
        store.state.remove(one.cached_image["metadata"]["name"])
