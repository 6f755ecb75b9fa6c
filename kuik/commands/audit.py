"""`kuik pods audit`: what mode On would do, in numbers."""

from collections import Counter
from collections.abc import Mapping

import click

from kuik.audit import Numbers, numbers
from kuik.commands.cluster import cluster, cluster_options
from kuik.commands.output import output_option, plain_table, show

_HEADINGS = ("NAMESPACE", "PODS", "AUDITED", "REWRITTEN", "WOULD-REWRITE", "WOULD-LEAVE", "WHY")


@click.command(
    epilog="""\b
Example:
  kubectl patch imagecache default --type merge -p '{"spec":{"mode":"Audit"}}'
  kuik pods audit                        once pods were made"""
)
@click.option("-n", "--namespace", "namespaces", multiple=True, help="Only these namespaces; repeatable.")
@cluster_options
@output_option
def audit(namespaces: tuple[str, ...], kubeconfig: str | None, context: str | None, output: str) -> None:
    """Count what mode On would do to pods, as mode Audit noted it on those that were made since.

    WOULD-REWRITE and WOULD-LEAVE are containers; WHY names the rules that leave them, with their numbers. Pods older
    than the mode are in PODS and not in AUDITED. `kuik policy plan` tells of pods that exist, by the policies.
    """
    from kube.paths import KINDS
    from kuik.rescue.perform import pods_of

    with cluster(kubeconfig, context) as api:
        pods = pods_of(api, namespaces) if namespaces else api.items(KINDS["Pod"].collection())
        found = numbers(pods)
    show(
        [dict(one.document(name)) for name, one in sorted(found.items())],
        output,
        lambda: plain_table(_HEADINGS, _rows(found)),
    )


def _rows(found: Mapping[str, Numbers]) -> list[tuple[str, ...]]:
    rows = [_row(name, one) for name, one in sorted(found.items())]
    return [*rows, _row("all", _sum(found))] if len(rows) > 1 else rows


def _row(name: str, one: Numbers) -> tuple[str, ...]:
    why = ", ".join(f"{rule} {count}" for rule, count in one.left.most_common(5)) or "-"
    counts = (one.pods, one.audited, one.rewritten, one.would, one.left.total())
    return (name, *map(str, counts), why)


def _sum(found: Mapping[str, Numbers]) -> Numbers:
    every = found.values()
    left: Counter[str] = sum((one.left for one in every), Counter())
    pods, audited, rewritten, would = (
        sum(getattr(one, name) for one in every) for name in ("pods", "audited", "rewritten", "would")
    )
    return Numbers(pods, audited, rewritten, would, left)
