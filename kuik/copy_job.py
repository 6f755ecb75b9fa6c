"""The copy Job: reads one image through the shield and writes it to the registry, then says on its Job how it went.

`python -m kuik.copy_job --image IMAGE --source URL --target URL` is what stage 3's Jobs run; local mode runs the same
order in its own process, from the same Job.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from kuik import __version__
from registry.blobstream import BlobStream
from registry.client import Client
from registry.copy import Copied, CopyOptions, Progress, Source, Target, copy
from registry.credentials import Credentials
from registry.digest import Digest
from registry.errors import RegistryError
from registry.manifest import Descriptor, Manifest, Platform
from registry.own_registry import own_credentials
from registry.proxied import proxied
from registry.reference import InvalidReference, Reference
from registry.targets import RegistryTarget
from registry.transport import Timeouts, Transport, host_settings

RESULT = "kuik.dev/result"
"""The annotation on the Job that holds its result, as JSON."""

TERMINATION_LOG = Path("/dev/termination-log")

PATIENT = Timeouts(connect=3, read=120)
"""For the shield, which has timeouts of its own and may use them all before it answers."""


@dataclass(frozen=True)
class Order:
    """What a copy Job was asked to do. No platforms means all of them."""

    image: Reference
    platforms: frozenset[Platform] = frozenset()
    source: str = ""
    targets: tuple[str, ...] = ()


def read_order(arguments: Sequence[str]) -> Order:
    """The order in a copy Job's container arguments (without the module's name); raises click.UsageError."""
    context = main.make_context("kuik.copy_job", list(arguments), resilient_parsing=False)
    return _order(**{name: context.params[name] for name in ("image", "platform", "source", "target")})


def perform(order: Order, source: Source, target: Target, progress: Progress) -> dict[str, Any]:
    """Copy, and tell how it went in the form of the result annotation. Registries' errors become reasons."""
    try:
        copied = copy(order.image, source, target, CopyOptions(platforms=order.platforms), progress)
    except RegistryError as error:
        return failed(error)
    return succeeded(copied)


def succeeded(copied: Copied) -> dict[str, Any]:
    """The result of a copy that is complete."""
    return {"digest": str(copied.digest), "size": copied.size, "platforms": sorted(str(p) for p in copied.platforms)}


def failed(error: RegistryError) -> dict[str, Any]:
    """The result of a copy that could not be made: the reason that a person acts on, and a sentence."""
    return {"reason": error.reason, "message": str(error)}


@dataclass(frozen=True)
class ThroughShield:
    """A copy's source: every image is asked for by its name at the shield (`host:port`)."""

    client: Client
    shield: str

    def manifest(self, reference: Reference) -> Manifest:
        return self.client.manifest(proxied(reference, self.shield))

    def open_blob(self, reference: Reference, digest: Digest, start: int = 0) -> BlobStream:
        return self.client.open_blob(proxied(reference, self.shield), digest, start)


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
@click.option("--source", default="", help="The shield's URL.")
@click.option("--target", multiple=True, help="A registry's URL; once for each volume.")
@click.version_option(__version__)
def main(image: str, platform: tuple[str, ...], source: str, target: tuple[str, ...]) -> None:
    """Copy one image from the shield to the registry and annotate the Job with the result."""
    result = _run(_order(image, platform, source, target))
    text = json.dumps(result, sort_keys=True)
    _report(text)
    click.echo(text)
    sys.exit(1 if "reason" in result else 0)


def _run(order: Order) -> dict[str, Any]:
    """Copy to each target in turn; the first that fails is the result."""
    client = _client(order)
    source = ThroughShield(client, _host(order.source))
    result: dict[str, Any] = {"reason": "Failed", "message": "the Job names no --target"}
    for target in order.targets:
        result = perform(order, source, RegistryTarget(client, _host(target)), LogLines())
        if "reason" in result:
            return result
    return result


def _client(order: Order) -> Client:
    """A client for the shield, which takes the token that kuik's components share, and for the registries."""
    urls = (order.source, *order.targets)
    plain = {_host(url) for url in urls if url.startswith("http://")}
    shared = Credentials(registry_token=os.environ.get("KUIK_TOKEN", ""))
    known = {_host(url): own_credentials(_host(url), os.environ) for url in order.targets}
    known[_host(order.source)] = shared if shared.registry_token else None
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


def _order(image: str, platform: Sequence[str], source: str, target: Sequence[str]) -> Order:
    try:
        platforms = frozenset(Platform.parse(text) for text in platform)
        return Order(Reference.parse(image), platforms, source, tuple(target))
    except (InvalidReference, ValueError) as error:
        raise click.UsageError(str(error)) from error


if __name__ == "__main__":
    main()
