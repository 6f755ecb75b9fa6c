"""`kuik report`: which workloads are at risk, and what was saved."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import yaml
from rich.filesize import decimal

from hooks.usage import usage
from kube.types import metadata, part
from kuik.commands.cluster import cluster, cluster_options, listed
from kuik.commands.held import OTHERWISE, open_store
from kuik.commands.options import other_store_option
from kuik.commands.output import output_option, plain_table, print_table
from kuik.report.summary import Report, report, saved_words, uses_of

if TYPE_CHECKING:
    from hooks.facts import Group
    from kube.client import Api


@click.command(
    "report",
    epilog="""\b
Examples:
  kuik report                            of the cluster that kubectl asks
  kuik report --context production -o json
  kuik report --store ~/images""",
)
@other_store_option
@cluster_options
@output_option
def report_(store: Path | None, kubeconfig: str | None, context: str | None, output: str) -> None:
    """Tell which workloads use an image that is not safe in the cache, or that only the cache still has, and why.

    Exits with 0 where there is none, and with 1 where there is one, or where the report cannot be made.
    """
    if store is not None:
        from kuik.local.savings import saved

        images = open_store(store).state.load()
        found = report(images, uses_of(images), saved=saved(store))
    else:
        with cluster(kubeconfig, context, otherwise=OTHERWISE) as api:
            found = _of_cluster(api)
    if output == "table":
        _print(found)
    elif output == "json":
        click.echo(json.dumps(found.document(), indent=2))
    else:
        click.echo(yaml.safe_dump(found.document(), sort_keys=False, width=1000), nl=False)
    sys.exit(1 if found.risks else 0)


def _of_cluster(api: "Api") -> Report:
    images = listed(api, "CachedImage")
    namespaces, inventories, policies = (
        _group(api, kind) for kind in ("Namespace", "ImageInventory", "ClusterCachePolicy")
    )
    found = usage(namespaces, inventories, policies)
    caches = listed(api, "ImageCache")
    saved = part(caches[0], "status").get("saved") if caches else None
    if found.gaps:
        named = ", ".join(f"{name} {why}" for name, why in sorted(found.gaps.items())[:5])
        click.echo(f"warning: not all that is used is known: {named}", err=True)
    uses = {image: sorted(use.users) for image, use in found.uses.items()}
    return report(images, uses, inventories.values(), saved if isinstance(saved, dict) else None)


def _group(api: "Api", kind: str) -> "Group":
    return {str(metadata(one)["name"]): one for one in listed(api, kind)}


def _print(found: Report) -> None:
    click.echo(f"{found.cached} of {found.images} images are cached, {decimal(found.bytes)}; {found.failed} failed")
    alone = len({one.image for one in found.left_alone})
    click.echo(f"{found.workloads_at_risk} of {found.workloads} workloads are at risk; {alone} images are left alone")
    click.echo(saved_words(found.saved))
    if found.risks:
        click.echo()
        rows = ((one.workload, one.image, one.reason, one.message) for one in found.risks)
        print_table(plain_table(("WORKLOAD", "IMAGE", "REASON", "MESSAGE"), rows))
