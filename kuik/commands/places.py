"""Where a command finds images or puts them: a store on disk, or the registry that holds a cluster's copies."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from kuik import __version__
from kuik.archive.sources import LayoutSource, RegistrySource
from kuik.keeper.check import host_of
from kuik.local.store import Store
from registry.client import Client
from registry.copy import Source, Target
from registry.credentials import InvalidDockerConfig
from registry.errors import RegistryError
from registry.layout_target import LayoutTarget
from registry.own_registry import own_credentials
from registry.reference import InvalidReference, Reference
from registry.targets import RegistryTarget
from registry.transport import Transport, host_settings


def place_options(*, exists: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options --store and --registry, of which a command takes one."""
    folder = click.Path(path_type=Path, file_okay=False, exists=exists)

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        command = click.option("--registry", metavar="URL", help="The registry that holds a cluster's copies.")(command)
        return click.option("--store", type=folder, help="The folder that images are kept in.")(command)

    return decorate


@dataclass(frozen=True)
class StorePlace:
    """A store on disk."""

    store: Store

    def source(self, _image: Reference) -> tuple[Source, bool]:
        return LayoutSource(self.store.layout), False

    def target(self, *, private: bool) -> Target:  # noqa: ARG002 - a folder belongs to who may read it
        return LayoutTarget(self.store.layout)

    def images(self) -> list[Reference]:
        """All that is there."""
        return sorted(self.store.layout.references())


@dataclass(frozen=True)
class RegistryPlace:
    """A registry, with what the environment says is to be shown to it."""

    client: Client
    host: str

    def source(self, image: Reference) -> tuple[Source, bool]:
        """Where to read an image, and whether it is a private one; raises RegistryError."""
        found = RegistrySource(self.client, self.host).having(image)
        return found, found.private

    def target(self, *, private: bool) -> Target:
        return RegistryTarget(self.client, self.host, private=private)


Place = StorePlace | RegistryPlace


def open_place(store: Path | None, registry: str | None) -> Place:
    """The one of the two that was given; raises click's errors."""
    if (store is None) == (registry is None):
        raise click.UsageError("say where the images are: either --store DIR or --registry URL")
    try:
        if store is not None:
            return StorePlace(Store(store))
        return _registry(registry or "")
    except InvalidDockerConfig as error:
        raise click.ClickException(str(error)) from error
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--registry") from error
    except (RegistryError, OSError) as error:
        raise click.ClickException(str(error)) from error


def named(images: tuple[str, ...]) -> list[Reference]:
    """Images as they are kept, each once; raises click.BadParameter."""
    try:
        return list(dict.fromkeys(Reference.parse(image).identity for image in images))
    except InvalidReference as error:
        raise click.BadParameter(str(error), param_hint="IMAGE") from error


def _registry(url: str) -> RegistryPlace:
    host = host_of(url)
    shown = own_credentials(host, os.environ)
    plain = {host} if url.startswith("http://") else set()
    transport = Transport(host_settings(plain), user_agent=f"kuik/{__version__}")
    return RegistryPlace(Client(transport, lambda _reference: [shown] if shown else []), host)
