"""`kuik policy lint`: rules that do not do what whoever wrote them may think."""

import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import click

from hooks.messages import Unreadable
from kube.types import Key, Object
from kuik.commands.cluster import cluster, cluster_options
from kuik.commands.options import inventory_option
from kuik.commands.output import output_option, plain_table, show
from kuik.commands.seen import cluster_or_file
from kuik.lint.findings import Finding, static, unmatched
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
    """Find rules that an earlier one shadows, that an enforced one overrules, or that loosen an enforced one; with a
    cluster or its exported inventory also rules that match nothing.

    Exits with 1 where something is found.
    """
    if in_cluster and inventory_file:
        raise click.UsageError("--cluster and --inventory exclude each other")
    try:
        policies = given(folder)
        if not in_cluster and inventory_file is None:
            found = _found(keyed(policies))
        else:
            with cluster(kubeconfig, context) if inventory_file is None else nullcontext() as api:
                found = _found(over(cluster_or_file(api, inventory_file), (), policies), matching=True)
    except (ManifestError, Unreadable) as error:
        raise click.ClickException(str(error)) from error
    if output != "table" or found:
        rows = ((one.rule, one.finding, one.message) for one in found)
        columns = ("RULE", "FINDING", "MESSAGE")
        show([one.document() for one in found], output, lambda: plain_table(columns, rows))
    sys.exit(1 if found else 0)


def _found(objects: Mapping[Key, Object], *, matching: bool = False) -> list[Finding]:
    policies = policies_of(objects)
    return [*static(policies), *(unmatched(policies, objects) if matching else ())]
