"""`kuik cache export`: images into one file, for where no network leads."""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.filesize import decimal

from kuik.archive.beside import beside
from kuik.archive.sources import kept_platforms
from kuik.archive.writing import Writing
from kuik.commands import options
from kuik.commands.places import Place, RegistryPlace, named, open_place, place_options
from kuik.copy_job import failed, succeeded
from kuik.local.story import Story, story
from registry.copy import CopyOptions, Source, Target, copy
from registry.errors import NotFound, RegistryError
from registry.manifest import Platform
from registry.reference import Reference


@click.command(
    epilog="""\b
Examples:
  kuik cache export nginx:1.27 redis:7 --store ~/images -o images.tar
  kuik cache export --all --store ~/images -o images.tar --platform linux/amd64
  KUIK_REGISTRY_TOKEN=... kuik cache export nginx:1.27 --registry http://localhost:5000 -o images.tar
  skopeo inspect oci-archive:images.tar:docker.io/library/nginx:1.27"""
)
@click.argument("images", metavar="[IMAGE]...", nargs=-1)
@place_options(exists=True)
@click.option(
    "-o", "--output", "file", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The file to write."
)
@click.option("--all", "everything", is_flag=True, help="Every image of the store.")
@options.platform_option
def export(
    images: tuple[str, ...],
    store: Path | None,
    registry: str | None,
    file: Path,
    everything: bool,
    platform: tuple[str, ...],
) -> None:
    """Write images into FILE, an OCI image layout in a tar archive, under their own digests.

    Without --platform, all platforms that are kept are written; what is attached to an image in a registry, such as a
    signature, comes along. What is under way is in FILE.part: the same command, given again after it was interrupted,
    goes on from there. FILE gets its name when all images are in it, and a file of that name is replaced then.

    The variables KUIK_REGISTRY_TOKEN or KUIK_REGISTRY_CREDENTIALS say what to show to the registry at URL, as for
    kuik's components. Exits with 1 where an image cannot be had: FILE is not written then.
    """
    place = open_place(store, registry)
    chosen = _chosen(place, images, everything=everything)
    told = story(Console(stderr=True))
    wanted = frozenset(map(Platform.parse, platform))
    try:
        with Writing(file) as writing:
            if writing.resumed:
                told.say(f"going on  {writing.part} holds {decimal(writing.resumed)} already")
            done = [_copy(image, place, writing, wanted, told) for image in chosen]
            if not all(done):
                told.say(f"not written {file}: {done.count(False)} of {len(done)} images failed")
                sys.exit(1)
            told.say(f"written  {file} {decimal(writing.finish())}")
    except RegistryError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        told.close()


def _chosen(place: Place, images: tuple[str, ...], *, everything: bool) -> list[Reference]:
    if everything and isinstance(place, RegistryPlace):
        raise click.UsageError("--all: a registry does not tell what it holds: name the images")
    if everything == bool(images):
        raise click.UsageError("name the images to export, or --all")
    if isinstance(place, RegistryPlace) or not everything:
        return named(images)
    return place.images()


def _copy(image: Reference, place: Place, writing: Writing, wanted: frozenset[Platform], told: Story) -> bool:
    began = time.monotonic()
    progress = told.copying(str(image))
    try:
        source, private = place.source(image)
        platforms = wanted or kept_platforms(source, image)
        # One blob after the other: a file has one end to write at.
        target = writing.target(private=private)
        result = succeeded(copy(image, source, target, CopyOptions(platforms, parallel=1), progress))
        if isinstance(place, RegistryPlace):
            _copy_attached(image, source, partial(writing.target, private=private), told)
    except RegistryError as error:
        result = failed(error)
    told.ended(str(image), result, time.monotonic() - began, "exported")
    return "reason" not in result


def _copy_attached(image: Reference, source: Source, target: Callable[[], Target], told: Story) -> None:
    """What is attached to it, but for what is lost: an image without its signature is better than none."""
    for one in beside(source, image):
        try:
            copy(one, source, target(), CopyOptions(parallel=1))
        except NotFound as error:
            told.say(f"left out  {one}: {error}")
