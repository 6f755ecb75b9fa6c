"""`kuik policy why`: the rule that decides about a pod, and those it beats."""

import json
import sys
from contextlib import nullcontext
from pathlib import Path

import click
import yaml

from hooks.messages import Unreadable
from kube.types import Key, Object
from kuik.commands.cluster import cluster, cluster_options
from kuik.commands.options import inventory_option
from kuik.commands.output import output_option
from kuik.commands.seen import cluster_or_file
from kuik.local.documents import ManifestError
from kuik.local.manifests import Watched
from kuik.local.workloads import DEFAULT_NAMESPACE, cluster_objects
from kuik.plan.why import Why, why


@click.command(
    "why",
    epilog="""\b
Examples:
  kuik policy why web-7c5d-x2x9p -n shop       of the cluster that kubectl asks
  kuik policy why Deployment/web -n shop -o json
  kuik policy why web -f deployment.yaml -f policies/""",
)
@click.argument("pod", metavar="POD|KIND/NAME")
@click.option("-n", "--namespace", default=DEFAULT_NAMESPACE, show_default=True, help="The namespace it is in.")
@click.option(
    "-f", "--file", "files", multiple=True, metavar="FILE", help="Manifests, in place of the cluster; repeatable."
)
@inventory_option
@cluster_options
@output_option
def why_(
    pod: str,
    namespace: str,
    files: tuple[str, ...],
    inventory_file: Path | None,
    kubeconfig: str | None,
    context: str | None,
    output: str,
) -> None:
    """Name the rule that decides about each container of a pod or workload, and those that it beats.

    With --file only the policies and namespaces among the manifests count. Exits with 1 where there is no such pod.
    """
    if files and inventory_file:
        raise click.UsageError("--file and --inventory exclude each other")
    if files:
        objects = _of_files(files)
    else:
        with cluster(kubeconfig, context) if inventory_file is None else nullcontext() as api:
            objects = cluster_or_file(api, inventory_file)
    try:
        found = why(objects, namespace, pod)
    except Unreadable as error:
        raise click.ClickException(str(error)) from error
    if not found:
        raise click.ClickException(f"there is no {pod} with containers in namespace {namespace}")
    _print(found, output)


def _of_files(files: tuple[str, ...]) -> dict[Key, Object]:
    watched = Watched(files, sys.stdin.read)
    try:
        watched.load()
    except ManifestError as error:
        raise click.ClickException(str(error)) from error
    return cluster_objects(watched.objects())


def _print(found: list[Why], output: str) -> None:
    rows = [one.document() for one in found]
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
    elif output == "yaml":
        click.echo(yaml.safe_dump(rows, sort_keys=False, width=1000), nl=False)
    else:
        for one in found:
            click.echo(f"{one.workload} {one.container}: {one.image}")
            click.echo(f"  {one.action} by {one.rule}" + (f" ({one.message})" if one.message else ""))
            for name, text in one.terms.items():
                click.echo(f"  {name} {text}")
            for rule, action in one.beaten:
                click.echo(f"  beaten: {rule}, which says {action}")
