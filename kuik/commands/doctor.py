"""`kuik doctor`: what keeps kuik from doing its work in a cluster, or would."""

import os
import sys
from collections.abc import Iterator

import click

from kuik.commands.cluster import cluster, cluster_options
from kuik.commands.output import FORMATS, plain_table, show
from kuik.doctor.finding import Finding, Level

_MARKS = {Level.OK: "ok", Level.WARN: "WARN", Level.FAIL: "FAIL", Level.UNKNOWN: "?"}


@click.command(
    epilog="""\b
Examples:
  kuik doctor                                before and after an install
  kuik doctor -n shop                        with the policies of namespace shop
  kuik doctor --registry http://127.0.0.1:5000 -o json"""
)
@click.option("-n", "--namespace", default="default", show_default=True, help="Where pods are tried, by dry run.")
@click.option("--kuik-namespace", default="kuik-system", show_default=True, help="Where kuik is, or will be.")
@click.option("--registry", metavar="URL", help="Check the registry too, by pushing a tiny image, as `registry check`.")
@cluster_options
@click.option("-o", "--output", type=click.Choice(FORMATS), default="table", show_default=True)
def doctor(
    namespace: str,
    kuik_namespace: str,
    registry: str | None,
    kubeconfig: str | None,
    context: str | None,
    output: str,
) -> None:
    """Look for what keeps kuik from doing its work in a cluster, or would once it is installed.

    Nothing is changed: pods are sent to be made in a dry run. What you may not read is said to be unknown. Exits with 1
    where something fails.
    """
    from kuik.doctor.diagnosis import diagnose
    from kuik.doctor.gather import gather

    with cluster(kubeconfig, context) as api:
        gathered = gather(api, kuik_namespace, namespace)
    found = [*diagnose(gathered), *(_registry(registry) if registry else ())]
    if output == "table":
        for one in found:
            click.echo(f"{_MARKS[one.level]:<5} {one.check:<15} {one.what}")
            if one.do and one.level is not Level.OK:
                click.echo(f"{'':<21} -> {one.do}")
    else:
        show([dict(one.document()) for one in found], output, lambda: plain_table((), ()))
    sys.exit(1 if any(one.level is Level.FAIL for one in found) else 0)


def _registry(url: str) -> Iterator[Finding]:
    """What any registry must offer, of this one."""
    from kuik.keeper.check import findings
    from registry.credentials import InvalidDockerConfig

    try:
        found = list(findings(url, (), os.environ))
    except (ValueError, InvalidDockerConfig) as error:
        raise click.UsageError(f"--registry: {error}") from error
    for one in found:
        level = Level.FAIL if one.fails else Level.WARN if one.problem else Level.OK
        yield Finding("registry", level, f"{one.need}: {one.problem or one.requirement.what}", one.requirement.advice)
