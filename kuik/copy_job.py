"""The copy Job: reads one image through the shield and writes it to the registry, then says on its Job how it went.

`python -m kuik.copy_job --image IMAGE --source URL --target URL` is what stage 3's Jobs run; local mode runs the same
order in its own process, from the same Job.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from kuik import __version__
from kuik.through_shield import ThroughShield
from registry.client import Client
from registry.copy import Copied, CopyOptions, Progress, Source, Target, copy
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
_LONGEST_MESSAGE = 1024
"""What a CachedImage's status holds, so that the result is as short as an annotation should be."""

TERMINATION_LOG = Path("/dev/termination-log")

PATIENT = Timeouts(connect=3, read=120)
"""For the shield, which has timeouts of its own and may use them all before it answers."""


@dataclass(frozen=True)
class Order:
    """What a copy Job was asked to do. No platforms means all of them.

    A `private` image is read and written as such; of any other the copy finds out whether it is one.
    """

    image: Reference
    platforms: frozenset[Platform] = frozenset()
    sources: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    private: bool = False


def read_order(arguments: Sequence[str]) -> Order:
    """The order in a copy Job's container arguments (without the module's name); raises click.UsageError."""
    context = main.make_context("kuik.copy_job", list(arguments), resilient_parsing=False)
    return _order(**{name: context.params[name] for name in ("image", "platform", "source", "target", "private")})


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
@click.option("--source", multiple=True, help="The shield's URL; once for each replica.")
@click.option("--target", multiple=True, help="A registry's URL; once for each volume.")
@click.option("--private", is_flag=True, help="The image is private; without this the copy finds out.")
@click.version_option(__version__)
def main(
    image: str, platform: tuple[str, ...], source: tuple[str, ...], target: tuple[str, ...], private: bool
) -> None:
    """Copy one image from the shield to the registry and annotate the Job with the result."""
    result = _run(_order(image, platform, source, target, private=private))
    text = json.dumps(result, sort_keys=True)
    _report(text)
    click.echo(text)
    sys.exit(1 if "reason" in result else 0)


def _run(order: Order) -> dict[str, Any]:
    """Copy to each target in turn; the first that fails is the result."""
    client = _client(order)
    try:
        source = opened(order, ThroughShield(client, tuple(map(_host, order.sources)), private=order.private))
    except RegistryError as error:
        return failed(error)
    result: dict[str, Any] = {"reason": "Failed", "message": "the Job names no --target"}
    for target in order.targets:
        place = RegistryTarget(client, _host(target), private=source.private)
        result = perform(order, source, place, LogLines())
        if "reason" in result:
            return result
        result["visibility"] = "Private" if source.private else "Public"
    return result


def opened(order: Order, source: ThroughShield) -> ThroughShield:
    """The source as the image can be read from it: as public where that is possible, else as private.

    Raises what the shield says where it is neither. Other failures are left for the copy itself to meet.
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
    except RegistryError:
        pass
    return source


def _client(order: Order) -> Client:
    """A client for the shield, which takes the token that kuik's components share, and for the registries."""
    urls = (*order.sources, *order.targets)
    plain = {_host(url) for url in urls if url.startswith("http://")}
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


def _order(
    image: str, platform: Sequence[str], source: Sequence[str], target: Sequence[str], *, private: bool
) -> Order:
    try:
        platforms = frozenset(Platform.parse(text) for text in platform)
        return Order(Reference.parse(image), platforms, tuple(source), tuple(target), private)
    except (InvalidReference, ValueError) as error:
        raise click.UsageError(str(error)) from error


if __name__ == "__main__":
    main()
