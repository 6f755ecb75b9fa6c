"""`kuik policy inventory`: what a plan needs to know of a cluster, in a file."""

import json

import click

from kuik.commands.cluster import cluster, cluster_options
from kuik.commands.seen import as_document, from_cluster


@click.command(epilog="Example: kuik policy inventory --context production > inventory.json")
@cluster_options
def inventory(kubeconfig: str | None, context: str | None) -> None:
    """Print what `kuik policy plan --inventory` and `lint --inventory` need to know of the cluster.

    These are the names, labels, images and placement of workloads, the names of pull secrets, kuik's own objects and
    nothing else: no environment, arguments or secrets. It is read only.
    """
    with cluster(kubeconfig, context) as api:
        found = from_cluster(api)
    click.echo(json.dumps(as_document(found), separators=(",", ":")))
