"""`kuik check`: could these workloads start with every upstream down?"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hooks.facts import Settings
from hooks.messages import Unreadable
from hooks.rewrite import everything_public
from kube.types import IMAGE_CACHE, Key, Object, metadata
from kuik.check.readable import unreadable
from kuik.commands import options
from kuik.commands.cluster import cluster, cluster_options, listed
from kuik.commands.held import OTHERWISE, open_store
from kuik.commands.output import output_option, plain_table, show
from kuik.local.documents import ManifestError
from kuik.local.manifests import Watched
from kuik.local.workloads import cluster_objects
from registry.manifest import Platform

if TYPE_CHECKING:
    from kube.client import Api
    from kuik.check.start import Start

_AROUND = ("Namespace", "ServiceAccount", "ClusterCachePolicy", "CachePolicy")
"""What a cluster adds to the manifests: who decides, and who pulls with what."""


@click.command(
    epilog="""\b
Examples:
  kuik check deploy/                                       against the cluster's cache
  helm template my-release my-chart | kuik check -
  kuik check deploy/ --store ~/images --platform linux/arm64 -o json"""
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@options.other_store_option
@click.option(
    "--platform", metavar="OS/ARCH", multiple=True, callback=options.platforms, help="What the nodes are; repeatable."
)
@options.plain_http_option
@cluster_options
@output_option
def check(
    paths: tuple[str, ...],
    store: Path | None,
    platform: tuple[str, ...],
    plain_http: frozenset[str],
    kubeconfig: str | None,
    context: str | None,
    output: str,
) -> None:
    """Tell which workloads could start with every upstream registry down, and why others could not.

    PATH is a file or folder of manifests, or - for standard input. Each container's image must be in the cache, for the
    platform that the pod's node selector asks for or for each --platform, and the pod must come to the cache: not be
    opted out, private with a proven pull secret, and so on. Policies and Namespaces among the manifests count, beside
    those of the cluster.

    Exits with 1 where one could not start, where one cannot be read, or where there is none.
    """
    watched = Watched(paths, sys.stdin.read)
    try:
        watched.load()
    except ManifestError as error:
        raise click.ClickException(str(error)) from error
    for why in unreadable(watched.objects()):
        raise click.ClickException(why)
    settings = Settings(plain_http=plain_http)
    wanted = frozenset(map(Platform.parse, platform))
    try:
        if store is not None:
            found = _by_store(watched.objects(), store, settings, wanted)
        else:
            with cluster(kubeconfig, context, otherwise=OTHERWISE) as api:
                found = _by_cluster(api, watched.objects(), settings, wanted)
    except Unreadable as error:
        raise click.ClickException(str(error)) from error
    if not found:
        raise click.ClickException("there is no workload with containers among the manifests")
    _print(found, output)
    sys.exit(1 if any(one.lack for one in found) else 0)


def _by_store(
    manifests: list[Object], folder: Path, settings: Settings, platforms: frozenset[Platform]
) -> "list[Start]":
    from kuik.check.copies import InStore
    from kuik.check.outage import kept
    from kuik.check.start import starts
    from kuik.plan.rewriting import verdicts

    layout = open_store(folder).layout
    containers = verdicts(kept(cluster_objects(manifests).values()), {}, (), settings, everything_public)
    return starts(containers.values(), InStore(layout), platforms)


def _by_cluster(
    api: "Api", manifests: list[Object], settings: Settings, platforms: frozenset[Platform]
) -> "list[Start]":
    from kuik.check.copies import InCluster
    from kuik.check.outage import NO_CACHE, in_outage
    from kuik.check.start import starts

    around = {Key.of(one): one for kind in _AROUND for one in listed(api, kind)}
    given = cluster_objects(manifests)
    said = {(one["kind"], metadata(one).get("name")) for one in manifests}
    unsaid = [key for key in given if key.kind == "Namespace" and ("Namespace", key.name) not in said]
    objects = {**around, **{key: one for key, one in given.items() if key not in unsaid or key not in around}}
    caches = listed(api, IMAGE_CACHE)
    images = listed(api, "CachedImage")
    containers = in_outage(objects.values(), caches[0] if caches else NO_CACHE, images, settings)
    return starts(containers, InCluster(tuple(images), datetime.now(UTC)), platforms)


def _print(found: "list[Start]", output: str) -> None:
    failing = [one for one in found if one.lack]
    rows = ((one.workload, one.container, one.image, one.lack.reason, one.lack.message) for one in failing if one.lack)
    columns = ("WORKLOAD", "CONTAINER", "IMAGE", "REASON", "MESSAGE")
    if output != "table" or failing:
        show([one.document() for one in found], output, lambda: plain_table(columns, rows))
    workloads = {one.workload for one in found}
    count = len(workloads - {one.workload for one in failing})
    click.echo(f"{count} of {len(workloads)} workloads could start with every upstream down", err=True)
