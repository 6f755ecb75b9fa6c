"""`kuik pods revert`: the way out, pod by pod."""

import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from hooks.facts import Settings
from kuik.commands.cluster import cluster, cluster_options
from kuik.commands.output import output_option, plain_table, show
from kuik.rescue.decision import World
from kuik.revert.decision import ALONE, ENDS, EVICT, PUT_BACK, WRITTEN, Holder
from registry.proxied import DEFAULT_PROXY

if TYPE_CHECKING:
    from kube.client import Api
    from kuik.revert.perform import Result

_SAYS = {
    PUT_BACK: "waits for its image, or has no node yet: its original image is put back",
    EVICT: "runs: --evict lets its controller make a new pod",
    ENDS: "ends by itself",
    ALONE: "runs, and nobody would make it again: delete it yourself when it may end",
    WRITTEN: "has the proxy's name in its own manifest: change it there",
}


@click.command(
    epilog="""\b
Examples:
  kuik pods revert --dry-run             what still needs the node proxies
  kuik pods revert                       give back the originals that nothing runs of
  kuik pods revert --evict -n shop       and roll what runs in namespace shop"""
)
@click.option("-n", "--namespace", "namespaces", multiple=True, help="Only these namespaces; repeatable.")
@click.option("--evict", is_flag=True, help="Evict pods that run, one at a time a workload, under disruption budgets.")
@click.option("--dry-run", is_flag=True, help="Change nothing; only list.")
@click.option("--timeout", type=click.FloatRange(1, 86400), default=300.0, show_default=True, help="Seconds a pod.")
@click.option("--proxy", default=DEFAULT_PROXY, show_default=True, metavar="HOST:PORT", help="The proxies' name.")
@cluster_options
@output_option
def revert(
    namespaces: tuple[str, ...],
    evict: bool,
    dry_run: bool,
    timeout: float,
    proxy: str,
    kubeconfig: str | None,
    context: str | None,
    output: str,
) -> None:
    """Give pods the original names of their images back, so that they need the node proxies no more.

    Nothing that runs is restarted, unless --evict says so: then a workload's pods are evicted one after another, each
    when the one before was replaced and is ready. Pods of Jobs end by themselves; pods without a controller are left.
    Set the ImageCache's mode to Off first, or new pods are pointed to the proxies again.

    Prints the pods that still need the proxies. Exits with 0 when there are none, with 1 when there are.
    """
    from kuik.revert.perform import Pace, holders, put_back
    from kuik.revert.perform import evict as roll

    world = World(settings=Settings(proxy=proxy))
    with cluster(kubeconfig, context) as api:
        if evict and not dry_run:
            _refuse_while_rewriting(api)
        found = holders(api, namespaces, world)
        if not dry_run:
            for result in put_back(api, found, world):
                _say(result)
            if evict:
                roll(api, found, world, Pace(patience=timeout), _say)
            found = holders(api, namespaces, world)
    _print(found, output)
    sys.exit(1 if found else 0)


def _refuse_while_rewriting(api: "Api") -> None:
    """New pods would be pointed to the proxies again, and one eviction after another would be for nothing."""
    from kuik.revert.webhook import rewriting

    mode = rewriting(api)
    if mode:
        raise click.ClickException(
            f"new pods are still rewritten (mode {mode}). Turn that off first:\n"
            """  kubectl patch imagecache default --type merge -p '{"spec":{"mode":"Off"}}'"""
        )


def _say(result: "Result") -> None:
    why = f": {result.message}" if result.message else ""
    click.echo(f"{result.result} {result.namespace}/{result.pod} ({result.workload}){why}", err=True)


def _print(found: Sequence[Holder], output: str) -> None:
    show([_row(one) for one in found], output, lambda: plain_table(_HEADINGS, map(_columns, found)))
    if output == "table":
        click.echo(_sentence(found), err=True)


_HEADINGS = ("NAMESPACE", "POD", "WORKLOAD", "CONTAINERS", "WHAT BECOMES OF IT")


def _row(one: Holder) -> dict[str, Any]:
    return {
        "namespace": one.namespace,
        "pod": one.name,
        "workload": one.workload,
        "containers": list(one.containers),
        "step": one.step,
        "ready": one.ready,
    }


def _columns(one: Holder) -> tuple[str, ...]:
    return (one.namespace, one.name, one.workload, ",".join(one.containers), _SAYS[one.step])


def _sentence(found: Sequence[Holder]) -> str:
    if not found:
        return "no pod needs the node proxies"
    counts = Counter(one.step for one in found)
    said = ", ".join(f"{count} {_SHORT[step]}" for step, count in sorted(counts.items()))
    return f"{len(found)} pods still need the node proxies: {said}"


_SHORT = {
    PUT_BACK: "to be put back",
    EVICT: "to be evicted",
    ENDS: "that end by themselves",
    ALONE: "without a controller",
    WRITTEN: "written so by hand",
}
