"""`kuik run`: local mode."""

import signal
import sys
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

from kube.types import Object
from kuik.commands import options
from kuik.commands.output import plain_table, print_table
from kuik.copy_job import perform
from kuik.local.documents import ManifestError
from kuik.local.engine import Copying, Engine
from kuik.local.feed import Feed
from kuik.local.manifests import Watched
from kuik.local.serving import CannotListen, Served, ServingProcess
from kuik.local.store import Store, StoreBusy
from kuik.local.story import Story, story
from kuik.local.wishes import Wishes
from kuik.through_shield import ThroughShield
from registry.client import Client
from registry.credentials import Credentials
from registry.errors import RegistryError
from registry.layout_target import LayoutTarget

POLL_SECONDS = 1.0
_NOTHING_TO_EXPIRE = "no manifests were given, so nothing is known of what is in use"


@click.command(
    epilog="""\b
Examples:
  kuik run deploy/ --store ~/images
  kubectl get pods -A -o json | kuik run - --store ~/images --once
  kuik run app.yaml --store ~/images --plain-http 127.0.0.1:5000 --platform linux/amd64

\b
An image is then pulled from the store by its name behind the proxy's:
  skopeo copy --src-tls-verify=false docker://127.0.0.1:7439/docker.io/library/nginx:1.25 dir:nginx"""
)
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@options.store_option(exists=False)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:7439",
    show_default=True,
    callback=options.listen,
    help="Serve pulls here.",
)
@options.plain_http_option
@click.option(
    "--retention",
    metavar="DURATION",
    default="",
    callback=options.retention,
    help="Keep unused images so long; by default as an ImageCache among the manifests says, or 30d.",
)
@click.option(
    "--platform",
    metavar="OS/ARCH",
    multiple=True,
    callback=options.platforms,
    help="Cache only this platform; repeatable.",
)
@click.option("-v", "--verbose", is_flag=True, help="Write a line for each request that is served.")
@click.option("--once", is_flag=True, help="Cache everything, then exit: 0 when all is cached, else 1.")
def run(
    paths: tuple[str, ...],
    store: Path,
    listen: tuple[str, int],
    plain_http: frozenset[str],
    retention: str,
    platform: tuple[str, ...],
    verbose: bool,
    once: bool,
) -> None:
    """Cache the images that Kubernetes manifests use, and serve them even when their registries are down.

    PATH is a file or folder of YAML or JSON manifests, or - for standard input: pods, the workloads that make pods,
    policies, and an ImageCache for how registries are asked (CA, mirrors, proxies). Files are followed as they change.
    Without any PATH, kuik serves what the store holds.
    """
    told = story(Console(stderr=True))
    wishes = Wishes(retention, platform, plain_http, "" if paths else _NOTHING_TO_EXPIRE)
    watched = Watched(paths, sys.stdin.read)
    signal.signal(signal.SIGTERM, _end_with(128 + signal.SIGTERM if once else 0))
    try:
        watched.load()
        served = Served(store, None if once else listen, plain_http, verbose=verbose)
        with ExitStack() as stack:
            stack.callback(told.close)
            local = _open(served, wishes, told, stack)
            local.engine.manifests(watched.objects())
            sys.exit(local.once() if once else local.follow(watched))
    except ManifestError as error:
        raise click.UsageError(str(error)) from error
    except (StoreBusy, CannotListen, RegistryError, OSError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        sys.exit(130)


def _open(served: Served, wishes: Wishes, told: Story, stack: ExitStack) -> "Local":
    store = Store(served.store)
    stack.enter_context(store.running())
    feed = Feed()
    serving = stack.enter_context(ServingProcess(served, feed))
    engine = Engine(store, wishes, told, feed, _copying(store, serving))
    if served.listen:
        host, port = served.listen
        told.say(f"serving  {store.folder} on {f'[{host}]' if ':' in host else host}:{port}")
    return Local(engine, serving, told)


def _copying(store: Store, serving: ServingProcess) -> Copying:
    token = Credentials(registry_token=serving.token)
    source = ThroughShield(Client(serving.transport, lambda _reference: (token,)), (serving.shield,))
    target = LayoutTarget(store.layout)
    return Copying(lambda order, progress: perform(order, source, target, progress), serving.release)


@dataclass
class Local:
    """A store that is being run."""

    engine: Engine
    serving: ServingProcess
    told: Story

    def once(self) -> int:
        """Work until every image is cached or has failed; the exit status."""
        self.engine.step()
        while self.engine.copying:
            self.engine.woken.wait(POLL_SECONDS)
            self._check()
            self.engine.step()
        self.told.close()
        return _summary(self.engine)

    def follow(self, watched: Watched) -> int:
        """Work until interrupted."""
        self.engine.proving.start()
        known: Collection[str] = ()
        while True:
            self._check()
            self.engine.step()
            self.engine.woken.wait(self.engine.seconds_to_next(POLL_SECONDS))
            if watched.refresh():
                self.engine.manifests(watched.objects())
            for error in watched.errors:
                if error not in known:
                    self.told.say(f"warning  {error}; what was read before still counts")
            known = watched.errors

    def _check(self) -> None:
        if self.serving.ended is not None:
            raise CannotListen(f"the serving process ended with status {self.serving.ended}; its last words are above")


def _summary(engine: Engine) -> int:
    """Say what is not cached and why; the exit status of `--once`."""
    left_alone = engine.left_alone()
    for one in left_alone:
        click.echo(f"left alone {one.image}: {one.message or f'by {one.rule}'}", err=True)
    images = engine.cached_images()
    failed = [_row(obj) for obj in images if (obj.get("status") or {}).get("phase") != "Cached"]
    click.echo(f"{len(images) - len(failed)} of {len(images)} images are cached", err=True)
    mistakes = [(one.image, one.rule, one.message, ", ".join(one.used_by)) for one in left_alone if one.is_mistake]
    if not failed and not mistakes:
        return 0
    print_table(plain_table(("IMAGE", "REASON", "MESSAGE", "USED-BY"), [*failed, *mistakes]))
    return 1


def _row(obj: Object) -> tuple[str, ...]:
    status = obj.get("status") or {}
    users = ", ".join((obj["spec"].get("usedBy") or ())[:3])
    return obj["spec"]["image"], status.get("reason") or "Pending", status.get("message") or "-", users or "-"


def _end_with(status: int) -> Callable[[int, object], None]:
    """What to do when told to end: 0 for who was to run until then, else the shell's word for SIGTERM."""

    def end(_signal: int, _frame: object) -> None:
        sys.exit(status)

    return end
