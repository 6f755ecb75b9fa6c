"""`python -m kuik.uninstall`: what the chart runs before it is removed."""

import sys
from collections.abc import Sequence

import click

from hooks.facts import Settings
from kube.client import Api, KubernetesError
from kuik import __version__
from kuik.rescue.decision import World
from kuik.revert.decision import Holder
from kuik.uninstall.steps import PODS, WAIT, Leaving, leave
from registry.proxied import DEFAULT_PROXY

_NAMED = 20


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--pods",
    type=click.Choice(PODS),
    default=WAIT,
    show_default=True,
    help="Pods that run with the node proxies' names: wait until there are none, evict them, or ignore them.",
)
@click.option("--timeout", type=click.FloatRange(0, 86400), default=240.0, show_default=True, help="Seconds to wait.")
@click.option("--proxy", default=DEFAULT_PROXY, show_default=True, metavar="HOST:PORT", help="The proxies' name.")
@click.option("--kubeconfig", type=click.Path(dir_okay=False), help="How to reach the cluster from outside of it.")
@click.version_option(__version__)
def main(pods: str, timeout: float, proxy: str, kubeconfig: str | None) -> None:
    """Make a cluster ready to be without kuik.

    Turns rewriting off, gives waiting pods their own images back, waits until no pod needs the node proxies, and then
    removes the inventories. While pods need the proxies it exits with 1 and names them: all that they need is still
    there, and it can be run again.
    """
    try:
        api = Api.from_kubeconfig(kubeconfig) if kubeconfig else Api.in_cluster()
        how = Leaving(pods, timeout, lambda line: click.echo(line, err=True))
        left = leave(api, how, World(settings=Settings(proxy=proxy)))
    except KubernetesError as error:
        raise click.ClickException(str(error)) from error
    if left:
        click.echo(_told(left), err=True)
        sys.exit(1)
    click.echo("kuik can go", err=True)


def _told(left: Sequence[Holder]) -> str:
    names = [f"  {one.namespace}/{one.name} ({one.workload}): {one.step}" for one in left[:_NAMED]]
    more = [f"  and {len(left) - _NAMED} more"] if len(left) > _NAMED else []
    return "\n".join(
        [
            f"{len(left)} pods still need the node proxies, so nothing that they need is removed:",
            *names,
            *more,
            "New pods are not rewritten any more. Roll these with `kuik pods revert --evict`, and uninstall again.",
            "To stay instead: `helm rollback kuik REVISION`, and give the ImageCache its mode back.",
        ]
    )


if __name__ == "__main__":
    main(prog_name="python -m kuik.uninstall")
