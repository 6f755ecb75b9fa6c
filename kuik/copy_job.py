"""The copy Job: reads one image through the shield and writes it to the registry, then says on its Job how it went.

`python -m kuik.copy_job --image IMAGE --source URL --target URL` is what stage 3's Jobs run; local mode runs the same
order in its own process, from the same Job.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from kuik import __version__
from kuik.copy_volumes import Everywhere, copy_to_volumes, holding
from kuik.copy_waits import SOURCE_PATIENCE, Life, Waits, is_away, while_away
from kuik.through_shield import ThroughShield
from registry.client import Client
from registry.copy import Copied, CopyOptions, Progress, Source, Stopped, Target, copy
from registry.credentials import Credentials
from registry.digest import Digest
from registry.errors import NotFound, RegistryError, Unauthorized
from registry.manifest import Descriptor, Platform
from registry.own_registry import own_credentials
from registry.reference import InvalidReference, Reference
from registry.targets import RegistryTarget
from registry.transport import Timeouts, Transport, host_settings

RESULT = "kuik.dev/result"
"""The annotation on the Job that holds its result, as JSON."""

_MOST_PLATFORMS = 100
_LONGEST_PLATFORM = 64
_MOST_VOLUMES = 32
_LONGEST_MESSAGE = 1024
"""What a CachedImage's status holds, so that the result is as short as an annotation should be."""

STOP_SECONDS = 3.0
"""What a copy that is told to stop may still take; Kubernetes gives a pod 30."""
_STOPPED = "the copy was told to stop; it named nothing that is not whole, and the next attempt goes on with it"

TERMINATION_LOG = Path("/dev/termination-log")

PATIENT = Timeouts(connect=3, read=120)
"""For the shield, which has timeouts of its own and may use them all before it answers."""


@dataclass(frozen=True)
class Order:
    """What a copy Job was asked to do. No platforms means all of them.

    A `private` image is read and written as such; of any other the copy finds out whether it is one. To `adopt` is to
    take what a volume has whole under the image's name for the image, so that its source is not asked.
    """

    image: Reference
    platforms: frozenset[Platform] = frozenset()
    sources: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    private: bool = False
    plain_http: tuple[str, ...] = ()
    referrers: bool = False
    adopt: bool = False


def read_order(arguments: Sequence[str]) -> Order:
    """The order in a copy Job's container arguments (without the module's name); raises click.UsageError."""
    context = main.make_context("kuik.copy_job", list(arguments), resilient_parsing=False)
    return _order(**context.params)


def perform(order: Order, source: Source, target: Target, progress: Progress) -> dict[str, Any]:
    """Copy, and tell how it went in the form of the result annotation. Registries' errors become reasons."""
    try:
        copied = copy(order.image, source, target, CopyOptions(platforms=order.platforms), progress)
    except RegistryError as error:
        return failed(error)
    return succeeded(copied)


def succeeded(copied: Copied) -> dict[str, Any]:
    """The result of a copy that is complete; an index names as many platforms as it likes, and these are the first."""
    named = sorted(text for platform in copied.platforms if len(text := str(platform)) <= _LONGEST_PLATFORM)
    return {"digest": str(copied.digest), "size": copied.size, "platforms": named[:_MOST_PLATFORMS]}


def failed(error: RegistryError) -> dict[str, Any]:
    """The result of a copy that could not be made: the reason that a person acts on, and a sentence."""
    return {"reason": error.reason, "message": str(error)[:_LONGEST_MESSAGE]}


@dataclass
class LogLines:
    """Progress for a log: a line for each part that is done."""

    sizes: dict[Digest, int] = field(default_factory=dict)

    def started(self, descriptor: Descriptor) -> None:
        self.sizes[descriptor.digest] = descriptor.size

    def advanced(self, digest: Digest, count: int) -> None:
        """Bytes passing by are not worth a line."""

    def finished(self, digest: Digest) -> None:
        print(f"copied {digest} ({self.sizes.get(digest, 0)} bytes)", file=sys.stderr)  # noqa: T201 - the Job's log


@click.command()
@click.option("--image", required=True, help="The image to copy, by its canonical name.")
@click.option("--platform", multiple=True, help="A platform to copy, such as linux/amd64; all when not given.")
@click.option(
    "--source", multiple=True, help="The shield's URL; once for each replica. Without any, the image's own registry."
)
@click.option("--target", multiple=True, help="A registry's URL; once for each volume.")
@click.option("--private", is_flag=True, help="The image is private; without this the copy finds out.")
@click.option("--plain-http", multiple=True, help="An image's own registry that is asked without TLS; repeatable.")
@click.option("--referrers", is_flag=True, help="Keep signatures, and whatever else refers to the image, beside it.")
@click.option("--adopt", is_flag=True, help="What a volume has whole under this name is the image: no source is asked.")
@click.version_option(__version__)
def main(**given: Any) -> None:
    """Copy one image from the shield to every volume of the registry, and annotate the Job with the result."""
    order, stop = _order(**given), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    result = _until_told(lambda: run(order, stop), stop)
    text = json.dumps(result, sort_keys=True)
    _report(text)
    click.echo(text)
    sys.stdout.flush()
    # Not sys.exit: that would wait for transfers which were told to stop and still wait for their next bytes.
    os._exit(1 if "reason" in result else 0)


def _until_told(work: Callable[[], dict[str, Any]], stop: threading.Event) -> dict[str, Any]:
    """The result of the work, which is given little more time once it is told to stop."""
    results: list[dict[str, Any]] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def works() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            errors.append(error)
        done.set()

    threading.Thread(target=works, name="copy", daemon=True).start()
    while not done.wait(0.1) and not stop.is_set():
        pass  # a signal is handled only between two short waits
    done.wait(STOP_SECONDS)
    if errors:
        raise errors[0]
    return results[0] if results else failed(Stopped(_STOPPED))


def run(order: Order, stop: threading.Event) -> dict[str, Any]:
    """Copy to all targets, and tell how it went in the form of the result annotation."""
    if not order.targets:
        return {"reason": "Failed", "message": "the Job names no --target"}
    client = _client(order)
    options = CopyOptions(platforms=order.platforms, stop=stop)
    waits = Waits(source=SOURCE_PATIENCE if order.sources else 0, pause=stop.wait)
    try:
        found = _adopted(order, client) if order.adopt else None
        source, private = found or while_away(partial(_source, order, client), waits, Life(waits.clock))
        volumes = [RegistryTarget(client, _host(target), private=private) for target in order.targets]
        done = copy_to_volumes(order.image, source, volumes, options, LogLines(), waits, referrers=order.referrers)
        for note in done.copied.notes:
            print(note, file=sys.stderr)  # noqa: T201 - the Job's log
    except RegistryError as error:
        return failed(Stopped(_STOPPED) if stop.is_set() else error)
    return {
        **succeeded(done.copied),
        "visibility": "Private" if private else "Public",
        "volumes": volumes_of(order, done),
    }


def _adopted(order: Order, client: Client) -> tuple[Source, bool] | None:
    """A volume that has the image, as its source, and whether it has it as a private one; None where none has."""
    for private in (True,) if order.private else (False, True):
        volumes = (RegistryTarget(client, _host(target), private=private) for target in order.targets)
        if found := holding(order.image, volumes, order.platforms):
            return found.stored, private
    return None


def volumes_of(order: Order, done: Everywhere) -> dict[str, str]:
    """How the image stands on each target: `ok`, or the reason why it is not there."""
    hosts = [_host(target) for target in order.targets][:_MOST_VOLUMES]
    return {host: done.failures[host].reason if host in done.failures else "ok" for host in hosts}


def _source(order: Order, client: Client) -> tuple[Source, bool]:
    """Where the image is read, and whether it is private."""
    if not order.sources:
        return client, order.private
    source = opened(order, ThroughShield(client, tuple(map(_host, order.sources)), private=order.private))
    return source, source.private


def opened(order: Order, source: ThroughShield) -> ThroughShield:
    """The source as the image can be read from it: as public where that is possible, else as private.

    Raises what the shield says where it is neither, and Unreachable where no replica answers, as then nobody can tell.
    Other failures are left for the copy itself to meet.
    """
    if source.private:
        return source
    try:
        source.manifest(order.image)
    except (Unauthorized, NotFound) as error:
        private = replace(source, private=True)
        try:
            private.manifest(order.image)
        except Unauthorized:  # it names the pull secrets that are of no use
            raise
        except RegistryError:
            raise error from None
        return private
    except RegistryError as error:
        if is_away(error):
            raise
    return source


def _client(order: Order) -> Client:
    """A client for the shield, which takes the token that kuik's components share, and for the registries."""
    urls = (*order.sources, *order.targets)
    plain = {_host(url) for url in urls if url.startswith("http://")} | set(order.plain_http)
    shared = Credentials(registry_token=os.environ.get("KUIK_TOKEN", ""))
    known = {_host(url): own_credentials(_host(url), os.environ) for url in order.targets}
    known |= {_host(url): shared if shared.registry_token else None for url in order.sources}
    transport = Transport(host_settings(plain), timeouts=PATIENT, user_agent=f"kuik/{__version__}")
    return Client(transport, lambda reference: [one] if (one := known.get(reference.host)) else [])


def _host(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise click.UsageError(f"{url!r} is not a URL such as http://kuik-shield:7440")
    return parts.netloc


def _report(result: str) -> None:
    """Say how it went where Kubernetes finds it: the container's termination message, and the Job's annotation."""
    if TERMINATION_LOG.exists():  # as it does in a container of a pod
        TERMINATION_LOG.write_text(result[:4096])
    job, namespace = os.environ.get("KUIK_JOB"), os.environ.get("KUIK_NAMESPACE")
    if job and namespace:
        from kube.client import Jobs, KubernetesError  # late: 44 MiB that a copy outside of a cluster does not need

        try:
            Jobs.in_cluster().annotate(namespace, job, {RESULT: result})
        except KubernetesError as error:
            raise click.ClickException(str(error)) from error


def _order(  # noqa: PLR0913 - an order has this many parts
    *,
    image: str,
    platform: Sequence[str],
    source: Sequence[str],
    target: Sequence[str],
    private: bool,
    plain_http: Sequence[str],
    referrers: bool,
    adopt: bool,
) -> Order:
    try:
        platforms = frozenset(Platform.parse(text) for text in platform)
        return Order(
            Reference.parse(image),
            platforms,
            tuple(source),
            tuple(target),
            private,
            tuple(plain_http),
            referrers,
            adopt,
        )
    except (InvalidReference, ValueError) as error:
        raise click.UsageError(str(error)) from error


if __name__ == "__main__":
    main()
