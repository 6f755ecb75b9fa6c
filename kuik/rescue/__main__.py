"""`python -m kuik.rescue --namespace NS ...`: what the rescue Job of stage 2 runs, once."""

import itertools
import json
import os
import sys
from collections import Counter

import click

from hooks.containers import parse
from hooks.observe import InvalidSetting, settings_from
from hooks.webhook import MODES, ON
from kube.client import Api, KubernetesError
from kuik import __version__
from kuik.commands.output import plain_table, print_table
from kuik.rescue.decision import World, rescue
from kuik.rescue.perform import FAILED, MOST, Outcome, perform, pods_of, read_world
from registry.proxied import split_private
from registry.reference import InvalidReference, Reference

_KUBE_SYSTEM = "kube-system"
_LONGEST_MESSAGE = 300


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--namespace", "namespaces", multiple=True, required=True, help="Whose pods to look at; more than once.")
@click.option("--mode", type=click.Choice(MODES), default=ON, show_default=True, help="The ImageCache's mode.")
@click.option("--kubeconfig", type=click.Path(dir_okay=False), help="How to reach the cluster from outside of it.")
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would change.")
@click.option("-o", "--output", type=click.Choice(("table", "json")), default="table", show_default=True)
@click.version_option(__version__)
def main(namespaces: tuple[str, ...], mode: str, kubeconfig: str | None, dry_run: bool, output: str) -> None:
    """Give containers that wait for their image in vain the name under which it can be pulled now.

    Exits with 0, or with 1 where something failed.
    """
    try:
        api = Api.from_kubeconfig(kubeconfig) if kubeconfig else Api.in_cluster()
        found, whole = _run(api, namespaces, mode, dry_run=dry_run)
    except (KubernetesError, InvalidSetting) as error:
        raise click.ClickException(str(error)) from error
    _summarise(found, output)
    sys.exit(0 if whole and all(one.result != FAILED for one in found) else 1)


def _run(api: Api, namespaces: tuple[str, ...], mode: str, *, dry_run: bool) -> tuple[list[Outcome], bool]:
    """What became of each container, and whether everything could be read."""
    settings = settings_from(os.environ)
    ours = settings.job.namespace
    beside = os.environ.get("KUIK_METACONTROLLER_NAMESPACE", "metacontroller")
    start = World(mode=mode, left_out=frozenset({_KUBE_SYSTEM, ours, beside}), settings=settings)
    world, whole = read_world(api, start, ours, _say)
    wanted = (found for pod in pods_of(api, namespaces) if (found := rescue(pod, world)) is not None)
    told: list[Outcome] = []
    for found in itertools.islice(wanted, MOST):
        for one in perform(api, found, world, dry_run=dry_run):
            _say(_line(one))
            told.append(one)
    return told, whole


def _line(one: Outcome) -> str:
    change = one.change
    where = f"{one.namespace}/{one.pod} container {change.container}"
    why = f": {one.message[:_LONGEST_MESSAGE]}" if one.message else ""
    return f"{one.result} {where} {_shown(change.before)} -> {_shown(change.after)}{why}"


def _shown(image: str) -> str:
    """An image without its capability, which opens its repository to everybody who reads it."""
    found = parse(image)
    try:
        secret = split_private(found.repository)[0] if isinstance(found, Reference) else ""
    except InvalidReference:
        secret = ""
    return image.replace(secret, "...") if secret else image


def _summarise(found: list[Outcome], output: str) -> None:
    counts = Counter((one.namespace, one.direction, one.result) for one in found)
    columns = ("namespace", "direction", "result")
    if output == "json":
        rows = [{**dict(zip(columns, key, strict=True)), "containers": count} for key, count in sorted(counts.items())]
        click.echo(json.dumps(rows, indent=2))
        return
    headings = (*(name.upper() for name in columns), "CONTAINERS")
    print_table(plain_table(headings, ((*key, str(count)) for key, count in sorted(counts.items()))))


def _say(line: str) -> None:
    click.echo(line, err=True)


if __name__ == "__main__":
    main(prog_name="python -m kuik.rescue")
