"""`python -m kuik.keeper`: the parent of the registry's writer, which keeps its volume as the CachedImages say."""

import logging
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import click

from hooks import telemetry
from kube.client import Api, KubernetesError
from kuik import __version__
from kuik.keeper.bucket import Bucket, bucket_of
from kuik.keeper.check import READERS_TOKEN, findings, host_of
from kuik.keeper.cluster import Cluster
from kuik.keeper.distribution import folder_of
from kuik.keeper.first_look import first_look
from kuik.keeper.healer import Healer
from kuik.keeper.healing import Siblings
from kuik.keeper.keeper import SETTLES, Keeper
from kuik.keeper.memory import Memory
from kuik.keeper.metrics import KeeperTelemetry
from kuik.keeper.proofs import Proofs
from kuik.keeper.report import key_of
from kuik.keeper.tally import Tally
from kuik.keeper.terms import Terms
from kuik.keeper.truth import LOOK_EVERY, Truth
from kuik.keeper.volume import Volume
from kuik.keeper.writer import Writer
from registry.client import Client
from registry.credentials import InvalidDockerConfig
from registry.errors import RegistryError
from registry.own_registry import TOKEN, own_credentials
from registry.proxied import DEFAULT_PROXY
from registry.transport import Transport, host_settings
from telemetry.address import TelemetryAddress

log = logging.getLogger("kuik.keeper")

_TICK = 1.0
_STATE = ".kuik"
_OURS = ("KUIK_REGISTRY_TOKEN", "KUIK_READER_TOKEN", "KUIK_REGISTRY_CREDENTIALS")


@click.command(
    epilog="""\b
Example:
  KUIK_REGISTRY_TOKEN=... python -m kuik.keeper --url http://127.0.0.1:5000 -- registry serve /etc/writer.yaml"""
)
@click.option("--url", required=True, help="Where the writer answers.")
@click.option("--reader", multiple=True, metavar="URL", help="Where node proxies read; repeatable.")
@click.option("--sibling", "siblings", multiple=True, metavar="URL", help="Where another volume is read; repeatable.")
@click.option("--volume", default=socket.gethostname, show_default="the host's name", help="What the volume is called.")
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where it remembers its sweeps; by default in the writer's folder.",
)
@click.option("--kubeconfig", type=click.Path(dir_okay=False), help="How to reach the cluster from outside of it.")
@click.option("--proxy", default=DEFAULT_PROXY, show_default=True, metavar="HOST:PORT", help="The proxies' name.")
@click.option("--settles", type=float, default=SETTLES, hidden=True, help="Seconds that garbage waits for more.")
@click.option("--look-every", type=float, default=LOOK_EVERY, hidden=True, help="Seconds between looks at an image.")
@telemetry.option("127.0.0.1:7443")
@click.argument("command", nargs=-1, required=True)
@click.version_option(__version__)
def main(
    url: str,
    reader: tuple[str, ...],
    siblings: tuple[str, ...],
    volume: str,
    state: Path | None,
    kubeconfig: str | None,
    proxy: str,
    settles: float,
    look_every: float,
    address: TelemetryAddress | None,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND, the registry's writer, keep what it stores as the CachedImages say, and end as it ends.

    At the start each thing that kuik needs of a registry is looked at; what is not met is an error in the log, with
    what to do, and the writer goes on. The variables are those of `kuik registry check`; the writer does not get them.
    Outside of a cluster, and without --kubeconfig, nothing is removed.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        for one in (url, *reader, *siblings):
            host_of(one)
        key_of(volume)
        findings(url, reader, os.environ)
        folder, bucket = storage_of(command)
    except (ValueError, InvalidDockerConfig) as error:
        raise click.UsageError(str(error)) from error
    ends, tally = threading.Event(), Tally()
    _end_with(ends)
    told = KeeperTelemetry(address, tally)
    writer = Writer(command, {name: value for name, value in os.environ.items() if name not in _OURS})
    cluster = _cluster(kubeconfig, proxy)
    keeper = (
        Keeper(volume, cluster, volume_at(url, folder, bucket), _memory(state, folder), writer) if cluster else None
    )
    truth: Truth | None = None
    if keeper:
        keeper.tally, keeper.settles, keeper.ends = tally, settles, _beating(ends, told)
        keeper.volume.ends = keeper.ends
        proofs = Proofs(keeper.volume, keeper.memory, tally, ends, _period(keeper.cluster), time.monotonic)
        others = [one for one in siblings if host_of(one).partition(".")[0] != volume]  # all pods get the same options
        away = Siblings(_reading(others), [host_of(one) for one in others])
        healer = Healer(keeper.volume, proofs, away, tally, ends)
        truth = Truth(volume, keeper.cluster, proofs, healer, tally, ends, time.monotonic)
        truth.look_every = look_every
    try:
        told.start()
        if keeper and not alone(keeper.memory, ends, told.health.beat):
            return
        writer.start()
        if truth:
            truth.start()
        threading.Thread(target=first_look, args=(url, reader, writer), daemon=True, name="check").start()
        status = _run(writer, keeper, ends, told)
    except OSError as error:
        raise click.ClickException(f"{command[0]} cannot be run: {error.strerror}") from error
    if cluster:
        cluster.stop()
    log.info("the writer ended with %d", status)
    raise SystemExit(status if status >= 0 else 128 - status)


def _period(cluster: Cluster) -> Callable[[], float]:
    return lambda: Terms.read(cluster.cache()).verify_every


def _reading(urls: Sequence[str]) -> Client:
    """A client for other volumes' readers."""
    token = os.environ.get(READERS_TOKEN) or os.environ.get(TOKEN, "")
    shown = {host_of(one): own_credentials(host_of(one), {**os.environ, TOKEN: token}) for one in urls}
    transport = Transport(
        host_settings([host_of(one) for one in urls if one.startswith("http://")]), user_agent=f"kuik/{__version__}"
    )
    return Client(transport, lambda reference: [found] if (found := shown.get(reference.host)) else [])


def _memory(state: Path | None, folder: Path | None) -> Memory:
    return Memory(state or (folder or Path(tempfile.gettempdir())) / _STATE)


def _beating(ends: threading.Event, told: KeeperTelemetry) -> Callable[[], bool]:
    """Whether this ends, asked while it is busy with something long: which is no reason to restart it."""

    def ask() -> bool:
        told.health.beat()
        return ends.is_set()

    return ask


def alone(memory: Memory, ends: threading.Event, beat: Callable[[], None]) -> bool:
    """Wait until no other keeper has this volume, so that there is one writer; False where this is told to end before.

    Where that cannot be found out the writer starts all the same: nothing is removed until it can.
    """
    told = False
    while not ends.is_set():
        beat()
        try:
            if memory.own():
                return True
        except RegistryError as error:
            log.warning("whether another keeper has this volume cannot be found out: %s", error)
            return True
        if not told:
            log.warning("another keeper has this volume: its writer is waited for")
            told = True
        ends.wait(_TICK)
    return False


def _run(writer: Writer, keeper: Keeper | None, ends: threading.Event, told: KeeperTelemetry) -> int:
    """Round after round until the writer ends or this is told to; the writer's exit status."""
    told.health.serving(ends.is_set)
    while not ends.wait(_TICK):
        told.health.beat()
        status = writer.ended
        if status is not None:
            return status
        if keeper:
            keeper.tick()
    return writer.stop()


def storage_of(command: Sequence[str]) -> tuple[Path | None, Bucket | None]:
    """The folder or the bucket in which `registry serve CONFIG` stores; both None where it is neither. Raises
    ValueError."""
    try:
        text = Path(command[-1]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None, None  # the writer says what is wrong with it
    return Path(found) if (found := folder_of(text)) else None, bucket_of(text)


def volume_at(url: str, folder: Path | None, bucket: Bucket | None = None) -> Volume:
    """The volume behind the writer at `url`."""
    host = host_of(url)
    plain = [host] if url.startswith("http://") else []
    transport = Transport(host_settings(plain), user_agent=f"kuik/{__version__}")
    return Volume(transport, host, own_credentials(host, os.environ), folder, bucket)


def _cluster(kubeconfig: str | None, proxy: str) -> Cluster | None:
    """The cluster, followed from now on; None where this runs in none."""
    try:
        if kubeconfig:
            api = Api.from_kubeconfig(kubeconfig)
        elif "KUBERNETES_SERVICE_HOST" in os.environ:
            api = Api.in_cluster()
        else:
            log.warning("this is no pod, and no --kubeconfig is given: nothing is swept or collected")
            return None
    except KubernetesError as error:
        raise click.UsageError(str(error)) from error
    cluster = Cluster(api, proxy)
    cluster.start(0)
    return cluster


def _end_with(ends: threading.Event) -> None:
    """What is said to end is passed on to the writer in order, so that it drains."""

    def pass_on(_number: int, _frame: FrameType | None) -> None:
        ends.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)


if __name__ == "__main__":
    main()
