"""`python -m kuik.mirror`: tells containerd of the node proxy, and takes that back.

`write` is for the init container of the node proxy's pod, `remove` for the uninstallation; `hold` does both, for a
container that lives as long as the proxy. Without any of them, a proxy that is gone costs containerd one refused
connection before it asks upstream.
"""

import fcntl
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from kuik import __version__
from kuik.mirror import folders
from kuik.mirror.containerd_config import NotConfigured
from kuik.mirror.containerd_config import folders as configured
from kuik.mirror.folders import Outcome

TERMINATION_LOG = Path("/dev/termination-log")

_root = click.option(
    "--root", type=click.Path(path_type=Path), default=Path("/"), help="Where the node's file system is mounted."
)
_config = click.option(
    "--containerd-config",
    type=click.Path(path_type=Path),
    default=Path("/etc/containerd/config.toml"),
    show_default=True,
    help="containerd's configuration, by its path on the node.",
)
_folders = click.option(
    "--config-path",
    multiple=True,
    metavar="DIR",
    help="The folder with hosts.toml files, on the node; without it, containerd's configuration says which.",
)
_proxy = click.option(
    "--proxy",
    default="http://127.0.0.1:7439",
    show_default=True,
    help="The node proxy's URL, as containerd reaches it.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Let containerd ask the node proxy before every registry. It asks the registry itself when the proxy is away."""


@main.command()
@_root
@_config
@_folders
@_proxy
def write(root: Path, containerd_config: Path, config_path: Sequence[str], proxy: str) -> None:
    """Write the proxy into hosts.toml files; what others wrote there stays. containerd needs no restart."""
    _tell(folders.write(_roots(root, containerd_config, config_path), _checked(proxy)))


@main.command()
@_root
@_config
@_folders
def remove(root: Path, containerd_config: Path, config_path: Sequence[str]) -> None:
    """Take out what `write` wrote."""
    _tell(folders.remove(_roots(root, containerd_config, config_path)))


@main.command()
@_root
@_config
@_folders
@_proxy
@click.option(
    "--lock",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file of the node: while another holds it too, as in an upgrade, nothing is taken out.",
)
def hold(root: Path, containerd_config: Path, config_path: Sequence[str], proxy: str, lock: Path | None) -> None:
    """Write, wait for SIGTERM, and take it out again."""
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    roots = _roots(root, containerd_config, config_path)
    with _sharing(lock) as held:
        _tell(folders.write(roots, _checked(proxy)))
        signal.sigwait(ends)
        if _is_last(held):
            _tell(folders.remove(roots))
        else:
            click.echo("another proxy has taken over: what it told containerd stays", err=True)


@contextmanager
def _sharing(lock: Path | None) -> Iterator[int | None]:
    """Hold the file with all others who do, as long as this lasts."""
    if lock is None:
        yield None
        return
    held = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_SH)
        yield held
    finally:
        os.close(held)


def _is_last(held: int | None) -> bool:
    """Whether nobody else holds the file; it is held alone from then on."""
    if held is None:
        return True
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _roots(root: Path, file: Path, config_path: Sequence[str]) -> list[Path]:
    try:
        found = tuple(config_path) or configured(file, root)
    except NotConfigured as error:
        _fail(str(error))
    places = [root / folder.lstrip("/") for folder in found]
    away = [place for place in places if not place.parent.is_dir()]
    if away:
        _fail(f"{away[0]}: its parent folder is not there. Is the node's folder mounted below {root}?")
    return places


def _checked(proxy: str) -> str:
    if not proxy.startswith(("http://", "https://")) or '"' in proxy or "\n" in proxy:
        raise click.BadParameter(f"{proxy!r} is not a URL such as http://127.0.0.1:7439")
    return proxy.rstrip("/")


def _tell(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        click.echo(
            f"{outcome.file}: {outcome.problem or ('changed' if outcome.changed else 'as it should be')}", err=True
        )


def _fail(message: str) -> None:
    """Say why where people and Kubernetes look, and end."""
    if TERMINATION_LOG.exists():
        TERMINATION_LOG.write_text(message[:4096])
    click.echo(message, err=True)
    sys.exit(1)


if __name__ == "__main__":
    main(prog_name="python -m kuik.mirror")
