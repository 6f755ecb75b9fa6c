"""`kuik drill`: which running workloads would not survive an outage of upstream now, tried without disturbing them."""

import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hooks.conditions import condition
from kube.quantity import parse_quantity
from kuik.commands.cluster import cluster, cluster_options
from kuik.commands.output import output_option, plain_table, show

if TYPE_CHECKING:
    from kube.client import Api
    from kuik.drill.needs import Needs, Seen
    from kuik.drill.question import Question, Said
    from kuik.drill.verdict import Verdict

_COLUMNS = ("WORKLOAD", "CONTAINER", "IMAGE", "SURVIVES", "REASON", "MESSAGE")


def _bytes(_context: click.Context, _option: click.Parameter, value: str) -> int:
    try:
        found = parse_quantity(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if found < 1:
        raise click.BadParameter("write at least one byte a second")
    return found


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the options say."""

    count: int | None
    seed: int
    node: str
    through: str | None
    rate: int


@dataclass
class _Read:
    """What was read, and why no more could be."""

    node: str = ""
    asked: "Sequence[Question]" = ()
    said: "dict[str, Said]" = field(default_factory=dict)
    failed: str = ""

    @property
    def bytes(self) -> int:
        return sum(one.bytes for one in self.said.values())


@click.command(
    epilog="""\b
Examples:
  kuik drill                                       ten images that are in use, by lot
  kuik drill --all --bandwidth 200Mi -o json       all of them, faster
  kuik drill -n shop -n billing --count 50         of two namespaces
  kuik drill --all --node worker-7                 through the proxy of that node
  kuik drill --no-read                             by what the cache says of itself
  kubectl port-forward -n kuik-system POD 7439 &   without the right to create Jobs
  kuik drill --through http://127.0.0.1:7439"""
)
@click.option("-n", "--namespace", "namespaces", multiple=True, help="Workloads of this namespace alone; repeatable.")
@click.option("--count", type=click.IntRange(min=1), default=10, show_default=True, help="How many images to read.")
@click.option("--all", "everything", is_flag=True, help="Read all images in use.")
@click.option("--no-read", is_flag=True, help="Read no image: believe what the cache says of itself.")
@click.option("--seed", type=int, metavar="NUMBER", help="Read the same images as the drill that printed this number.")
@click.option(
    "--bandwidth",
    default="50Mi",
    show_default=True,
    metavar="BYTES",
    callback=_bytes,
    help="At most so many bytes a second are read.",
)
@click.option("--node", default="", help="Read through the proxy of this node; by default of one by lot.")
@click.option("--through", metavar="URL", help="Read from here, through a node proxy that this machine reaches.")
@click.option("--kuik-namespace", default="kuik-system", show_default=True, help="Where kuik is.")
@cluster_options
@output_option
def drill(
    namespaces: tuple[str, ...],
    count: int,
    everything: bool,
    no_read: bool,
    seed: int | None,
    bandwidth: int,
    node: str,
    through: str | None,
    kuik_namespace: str,
    kubeconfig: str | None,
    context: str | None,
    output: str,
) -> None:
    """Tell which running workloads would not survive an outage of every upstream registry now, and why.

    Of what runs, or will by its schedule, each image must be in the cache, for the nodes that it runs on, open to the
    pods that use it, and a node proxy must be ready there. Some of the images are then read as a node would pull them,
    every manifest and blob, from the cache alone, and hashed: by a Job on a node that has neither rights nor
    credentials, through that node's proxy, which is told to ask nobody upstream. No workload is touched.

    Exits with 1 where one would not survive, or where images could not be read.
    """
    lot = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    asked = _Asked(0 if no_read else None if everything else count, lot, node, through, bandwidth)
    with cluster(kubeconfig, context) as api:
        from kuik.drill.needs import needs
        from kuik.drill.perform import look
        from kuik.drill.verdict import verdicts

        seen = look(api, kuik_namespace)
        _warn(seen)
        found = needs(seen, frozenset(namespaces))
        if not found.of:
            raise click.ClickException("no workload with containers runs there")
        read = _read(api, seen, found, asked)
    judged = verdicts(found.of, read.said)
    _print(judged, output)
    _summary(judged, found, read, asked)
    sys.exit(1 if read.failed or any(one.lack for one in judged) else 0)


def _warn(seen: "Seen") -> None:
    """Pods that are made now may not come to the cache by themselves; those that wait are then rescued."""
    said = condition(seen.cache, "Rewriting")
    if said is not None and said.get("status") == "False" and said.get("reason") not in ("Mirror", "Off", "Audit"):
        words = f"new pods are not pointed to the cache now, and wait until they are rescued: {said.get('message')}"
        click.echo(f"warning: {words}", err=True)


def _read(api: "Api", seen: "Seen", found: "Needs", asked: _Asked) -> _Read:
    from kube.client import KubernetesError
    from kuik.drill.choice import chosen
    from kuik.drill.perform import DrillFailed, OnNodes, ready_nodes, sizes, through
    from registry.errors import RegistryError

    read = _Read(asked=chosen(found.of, asked.count, asked.seed))
    if not read.asked:
        return read
    nodes = ready_nodes(seen)
    if asked.node and asked.node not in nodes and not asked.through:
        raise click.ClickException(f"no node proxy is ready on {asked.node!r}; on these it is: {', '.join(nodes[:10])}")
    random.Random(asked.seed).shuffle(nodes)  # noqa: S311 - a lot that can be drawn again
    known = sizes(seen)
    size = sum(known.get(one.image, 0) for one in read.asked)
    try:
        with _bar(len(read.asked)) as bar:
            if asked.through:
                said = through(asked.through, read.asked, asked.rate)
            else:
                chosen_nodes = [asked.node] if asked.node else nodes
                said = OnNodes(api, seen, chosen_nodes, asked.rate, size, bar.says).read(read.asked)
            for one in said:
                read.said[one.image] = one
                bar.shows(sum(1 for each in read.said.values() if each.ends), read.bytes)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--through") from error
    except (KubernetesError, DrillFailed, RegistryError) as error:
        read.failed = str(error)
    return read


class _Bar:
    """How far it is."""

    def __init__(self, bars: Progress, total: int) -> None:
        self._bars = bars
        self._task = bars.add_task("reading", total=total, what="")

    def says(self, words: str) -> None:
        """What is waited for."""
        self._bars.update(self._task, description=words)

    def shows(self, images: int, count: int) -> None:
        """So many images were read, and so many bytes."""
        self._bars.update(self._task, completed=images, what=decimal(count))


@contextmanager
def _bar(total: int) -> Iterator[_Bar]:
    """A bar on standard error where that is a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images, {task.fields[what]}"),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        yield _Bar(bars, total)


def _print(judged: "Sequence[Verdict]", output: str) -> None:
    rows = []
    for one in sorted(judged, key=lambda one: one.lack is None):
        if because := one.lack or one.doubt:
            survives = "no" if one.lack else "yes, but"
            rows.append((one.workload, one.container, one.image, survives, because.reason, because.message))
    if output != "table" or rows:
        show([one.document() for one in judged], output, lambda: plain_table(_COLUMNS, rows))


def _summary(judged: "Sequence[Verdict]", found: "Needs", read: _Read, asked: _Asked) -> None:
    workloads = {one.workload for one in judged}
    alive = len(workloads - {one.workload for one in judged if one.lack})
    click.echo(
        f"{alive} of {len(workloads)} workloads would survive an outage of every upstream registry now", err=True
    )
    whole = sum(1 for one in read.said.values() if one.ends and one.lack is None)
    images = len({one.image for one in found.of if one.read})
    told = f"{whole} of {images} cached images in use were read whole, {decimal(read.bytes)}"
    click.echo(told + (f" (--seed {asked.seed})" if 0 < len(read.asked) < images else ""), err=True)
    if found.apart:
        words = f"{len(found.apart)} workloads of kube-system and of kuik itself are left out: they need their images"
        click.echo(f"{words} on the nodes", err=True)
    if read.failed:
        click.echo(f"Error: images could not be read: {read.failed}", err=True)
