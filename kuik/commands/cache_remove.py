"""`kuik cache remove`: the explicit way out of the cache, for some images or for all."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from kube.types import metadata
from kuik.commands.cluster import cluster, cluster_options, listed
from kuik.commands.held import OTHERWISE, collect, in_cluster, open_store
from kuik.commands.options import other_store_option
from kuik.commands.places import named
from kuik.local.store import Held, Store, forget, held
from kuik.removal.choice import Choice, choose, choose_all
from kuik.removal.wish import await_all, wish


@click.command(
    epilog="""\b
Examples:
  kuik cache remove nginx:1.25                        from the cluster that kubectl asks
  kuik cache remove nginx:1.25 --force --wait         although it is used: it is copied anew then
  kuik cache remove --all --yes
  kuik cache remove nginx:1.25 --store ~/images"""
)
@click.argument("images", metavar="[IMAGE]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All images that nothing uses; with --force all of them.")
@click.option("--force", is_flag=True, help="Remove it even while a workload uses it.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before all are removed.")
@click.option("--wait", is_flag=True, help="In a cluster, wait until the images are gone.")
@click.option("--timeout", type=click.FloatRange(1, 86400), default=300.0, show_default=True, help="Seconds to wait.")
@other_store_option
@cluster_options
def remove(
    images: tuple[str, ...],
    everything: bool,
    force: bool,
    yes: bool,
    wait: bool,
    timeout: float,
    store: Path | None,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """Remove images from the cache, and give their space back.

    An image that a workload uses stays, unless --force is given; it is copied anew then, in a cluster at once, from
    where it comes. An image that is retained stays in any case. Where one of the images that are named may not go, none
    does.

    In a cluster this is a wish that the keeper fulfils: tags go at once, their bytes with the next collection.
    Exits with 1 where an image may not be removed, or is not gone in time.
    """
    if everything == bool(images):
        raise click.UsageError("name the images to remove, or --all")
    names = [str(one) for one in named(images)]
    if store is not None:
        opened = open_store(store)
        _forget(opened, _chosen(names, held(opened), "the store", force=force, yes=yes))
        return
    with cluster(kubeconfig, context, otherwise=OTHERWISE) as api:
        chosen = _chosen(names, in_cluster(api), "the cluster's cache", force=force, yes=yes)
        for one in chosen:
            wish(api, one, force=force)
            click.echo(f"{'asked to remove' if wait else 'removing'} {one.image}")
        if not wait:
            return

        def look() -> dict[str, dict[str, object]]:
            return {str(metadata(one)["name"]): dict(one) for one in listed(api, "CachedImage")}

        by_name = {str(metadata(one.cached_image or {})["name"]): one.image for one in chosen}
        left = await_all(look, list(by_name), timeout, time.sleep)
    for name in by_name.keys() - set(left):
        click.echo(f"removed {by_name[name]}")
    for name in left:
        click.echo(f"{by_name[name]} is not gone after {timeout:g} s: kubectl describe ci {name}", err=True)
    sys.exit(1 if left else 0)


def _chosen(names: Sequence[str], found: list[Held], where: str, *, force: bool, yes: bool) -> tuple[Held, ...]:
    if names:
        choice = choose(names, {one.image: one for one in found}, where, force=force)
        if choice.refused:
            raise click.ClickException("\n".join(choice.refused))
        return choice.chosen
    choice = choose_all(found, force=force)
    for refused in choice.refused:
        click.echo(f"stays: {refused}", err=True)
    if choice.chosen and not yes:
        _ask(choice, where)
    return choice.chosen


def _ask(choice: Choice, where: str) -> None:
    count = len(choice.chosen)
    if not sys.stdin.isatty():
        raise click.UsageError(f"{count} images would be removed from {where}: give --yes where nobody can be asked")
    click.confirm(f"Remove {count} images from {where}?", abort=True, err=True)


def _forget(store: Store, chosen: Sequence[Held]) -> None:
    for one in chosen:
        forget(store, one)
        click.echo(f"removed {one.image}")
    collect(store)
