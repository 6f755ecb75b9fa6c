"""`kuik cache import`: the images of an archive into a store, or into a cluster's registry."""

import sys
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from kuik.archive.beside import attached, beside
from kuik.archive.names import Named
from kuik.archive.reading import Archive
from kuik.archive.retained import retained
from kuik.archive.sources import kept_platforms
from kuik.commands import options
from kuik.commands.places import Place, RegistryPlace, named, open_place, place_options
from kuik.copy_job import failed, succeeded
from kuik.local.documents import written
from kuik.local.story import Story, story
from registry.copy import CopyOptions, copy
from registry.errors import RegistryError
from registry.manifest import Platform
from registry.reference import InvalidReference, Reference


@click.command(
    "import",
    epilog="""\b
Examples:
  kuik cache import images.tar --store ~/images
  kuik cache import images.tar nginx:1.27 --store ~/images
  kuik cache import nginx.tar --as docker.io/library/nginx:1.27 --store ~/images
  KUIK_REGISTRY_TOKEN=... kuik cache import images.tar --registry http://localhost:5000 | kubectl apply -f -""",
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.argument("images", metavar="[IMAGE]...", nargs=-1)
@place_options(exists=False)
@options.platform_option
@click.option("--as", "name", metavar="IMAGE", help="The name of the archive's one image, whatever it says itself.")
@click.option("--private", is_flag=True, help="Keep the images as private ones in the registry.")
def import_(
    file: Path,
    images: tuple[str, ...],
    store: Path | None,
    registry: str | None,
    platform: tuple[str, ...],
    name: str | None,
    private: bool,
) -> None:
    """Bring the images of FILE, an OCI image layout in a tar archive, into a store or a cluster's registry.

    All images come, or those that are named; what is attached to them comes into a registry alone. What is there
    already is passed over, so that the same command, given again after it was interrupted, goes on. Every byte is
    proven by its digest, and an image gets its name only when all of it is there.

    What comes into a registry would be swept one day as nothing names it in the cluster: so the CachedImages that
    retain the images are printed, for `kubectl apply -f -`. Exits with 1 where an image cannot be brought in.
    """
    place = open_place(store, registry)
    told = story(Console(stderr=True))
    wanted = frozenset(map(Platform.parse, platform))
    try:
        archive = Archive.open(file, _name(name))
        chosen = _chosen(archive, images)
        if isinstance(place, RegistryPlace):
            chosen += _attached(archive, chosen)
        done = [one for one in chosen if _copy(one, archive, place, wanted, told, private=private)]
    except RegistryError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        told.close()
    if isinstance(place, RegistryPlace):
        kept = (one.reference for one in done if not attached(one.reference))
        click.echo(written(retained(reference, platform) for reference in kept), nl=False)
    sys.exit(0 if len(done) == len(chosen) else 1)


def _name(name: str | None) -> Reference | None:
    try:
        return Reference.parse(name).identity if name else None
    except InvalidReference as error:
        raise click.BadParameter(str(error), param_hint="--as") from error


def _chosen(archive: Archive, images: tuple[str, ...]) -> list[Named]:
    if not archive.images:
        raise click.ClickException(f"{archive.path} names no image by its whole name: give it one with --as IMAGE")
    if not images:
        return [one for one in archive.images.values() if not attached(one.reference)]
    chosen = named(images)
    for reference in chosen:
        if reference not in archive.images:
            there = ", ".join(map(str, sorted(archive.images)))
            raise click.ClickException(f"{reference} is not in {archive.path}, which holds {there}")
    return [archive.images[reference] for reference in chosen]


def _attached(archive: Archive, chosen: list[Named]) -> list[Named]:
    """What the archive holds beside these images."""
    names = (reference for one in chosen for reference in beside(archive, one.reference))
    return [archive.images[reference] for reference in dict.fromkeys(names)]


def _copy(
    one: Named, archive: Archive, place: Place, wanted: frozenset[Platform], told: Story, *, private: bool
) -> bool:
    began, image = time.monotonic(), str(one.reference)
    progress = told.copying(image)
    result: dict[str, Any]
    try:
        platforms = frozenset() if attached(one.reference) else wanted or kept_platforms(archive, one.reference)
        target = place.target(private=private or one.private)
        result = succeeded(copy(one.reference, archive, target, CopyOptions(platforms), progress))
    except RegistryError as error:
        result = failed(error)
    told.ended(image, result, time.monotonic() - began, "imported")
    return "reason" not in result
