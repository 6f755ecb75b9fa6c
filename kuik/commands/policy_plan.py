"""`kuik policy plan`: what a change of policies would do."""

import json
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import click
import yaml

from kube.types import Key, Object
from kuik.commands.cluster import cluster, cluster_options
from kuik.commands.exit_codes import CHANGES, DetailedExitCode
from kuik.commands.options import inventory_option
from kuik.commands.seen import cluster_or_file
from kuik.local.documents import ManifestError
from kuik.plan.change import becomes, change, over, strangers
from kuik.plan.difference import Plan, difference
from kuik.plan.given import given
from kuik.plan.inventory import keyed
from kuik.plan.text import as_markdown, as_text


@click.command(
    cls=DetailedExitCode,
    epilog="""\b
Examples:
  kuik policy plan --to policies/                            against what the cluster has
  kuik policy plan --from origin/main --to policies/         against what git had
  kuik policy plan --from origin/main --to policies/ --inventory inventory.json -o markdown
  kubectl kustomize policies/ | kuik policy plan --to -""",
)
@click.option("--from", "before", metavar="DIR|REV", help="The policies as they are; by default the cluster's own.")
@click.option("--to", "after", metavar="DIR", required=True, help="The policies as they would be; - is standard input.")
@click.option("--cluster", "in_cluster", is_flag=True, help="Read the cluster's objects; so without --inventory.")
@inventory_option
@cluster_options
@click.option(
    "-o", "--output", type=click.Choice(["text", "json", "yaml", "markdown"]), default="text", show_default=True
)
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 0 for no change, 1 for an error, 2 for changes.")
def plan(
    before: str | None,
    after: str,
    in_cluster: bool,
    inventory_file: Path | None,
    kubeconfig: str | None,
    context: str | None,
    output: str,
    detailed_exitcode: bool,
) -> None:
    """Show which images would be cached, expire or be kept otherwise, and which containers would be rewritten or left
    alone, if the policies of one folder became those of another.

    DIR is a folder or file of policies, with its kustomization.yaml where there is one; REV a git revision, of which
    the same folder as --to is taken, or REV:FOLDER. ClusterCachePolicies with their quotas and prefetch rules,
    CachePolicies, labels of Namespaces, the ImageCache, and workloads of which the labels or images change are planned.
    The stages that kuik runs in a cluster decide over the objects of the cluster, which is read only, or of an exported
    inventory.

    Exits with 0, or with 1 where no plan can be made. With --detailed-exitcode 2 stands for changes, and a wrong
    command line exits with 1 instead of 2.
    """
    if in_cluster and inventory_file:
        raise click.UsageError("--cluster and --inventory exclude each other")
    try:
        to = given(after)
        since = given(before, beside=after) if before else None
    except ManifestError as error:
        raise click.ClickException(str(error)) from error
    with cluster(kubeconfig, context) if inventory_file is None else nullcontext() as api:
        found = cluster_or_file(api, inventory_file)
    made = _plan(found, since, to)
    if not to and not since:
        click.echo(f"{after} holds no policy: is it the folder that was meant?", err=True)
    for name in strangers(found, to):
        click.echo(
            f"{name} is of a namespace that the cluster does not have, and has no effect before it does", err=True
        )
    if output == "json":
        click.echo(json.dumps(made.document(), indent=2))
    elif output == "yaml":
        click.echo(yaml.safe_dump(made.document(), sort_keys=False, width=1000), nl=False)
    else:
        click.echo(as_text(made) if output == "text" else as_markdown(made), nl=False)
    sys.exit(CHANGES if detailed_exitcode and made.changes else 0)


def _plan(found: Mapping[Key, Object], since: list[Object] | None, to: list[Object]) -> Plan:
    from kuik.plan.outcome import CannotTell, outcome  # late: the stages cost a moment

    policies = becomes(found, to) if since is None else change(since, to)
    try:
        old = outcome((over(found, (), since) if since is not None else found).values())
        settled = {**found, **keyed(old.images)}  # what is kept by then is there when the policies change
        new = outcome(over(settled, since or (), to).values())
    except CannotTell as error:
        raise click.ClickException(str(error)) from error
    return difference(policies, old, new)
