"""`kuik policy lint`: rules that do not do what whoever wrote them may think."""

import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import click

from hooks.messages import Unreadable
from kube.types import CACHE_POLICY, CLUSTER_CACHE_POLICY, Key, Object
from kuik.commands.cluster import cluster, cluster_options
from kuik.commands.options import inventory_option
from kuik.commands.output import output_option, plain_table, show
from kuik.commands.seen import cluster_or_file
from kuik.lint.findings import NEVER, Finding, static, unmatched
from kuik.local.documents import ManifestError
from kuik.plan.change import keyed, over
from kuik.plan.given import given
from kuik.plan.groups import policies_of


@click.command(
    epilog="""\b
Examples:
  kuik policy lint policies/
  kuik policy lint policies/ --cluster           also rules that match nothing there"""
)
@click.argument("folder", metavar="[DIR]", default=".")
@click.option("--cluster", "in_cluster", is_flag=True, help="Beside what the cluster has.")
@inventory_option
@cluster_options
@output_option
def lint(
    folder: str,
    in_cluster: bool,
    inventory_file: Path | None,
    kubeconfig: str | None,
    context: str | None,
    output: str,
) -> None:
    """Find rules that an earlier one shadows, that an enforced one overrules, that loosen an enforced one, or that name
    images as none is called; with a cluster or its exported inventory also rules that match nothing there.

    Exits with 1 where something is found, or where there is no policy.
    """
    if in_cluster and inventory_file:
        raise click.UsageError("--cluster and --inventory exclude each other")
    try:
        policies = given(folder)
        if not in_cluster and inventory_file is None:
            objects = keyed(policies)
        else:
            with cluster(kubeconfig, context) if inventory_file is None else nullcontext() as api:
                objects = over(cluster_or_file(api, inventory_file), (), policies)
        found = _found(objects, matching=in_cluster or inventory_file is not None)
    except (ManifestError, Unreadable) as error:
        raise click.ClickException(str(error)) from error
    count = sum(key.kind in (CLUSTER_CACHE_POLICY, CACHE_POLICY) for key in objects)
    if not count:
        raise click.ClickException(f"{folder} holds no policy: is it the folder that was meant?")
    if output != "table" or found:
        rows = ((one.rule, one.finding, one.message) for one in found)
        columns = ("RULE", "FINDING", "MESSAGE")
        show([one.document() for one in found], output, lambda: plain_table(columns, rows))
    click.echo(f"{len(found) or 'nothing'} found in {count} {'policy' if count == 1 else 'policies'}", err=True)
    sys.exit(1 if found else 0)


def _found(objects: Mapping[Key, Object], *, matching: bool = False) -> list[Finding]:
    policies = policies_of(objects)
    found = static(policies)
    if matching:
        said = {one.rule for one in found if one.finding == NEVER}
        found += [one for one in unmatched(policies, objects) if one.rule not in said]
    return found
