"""`python -m kuik.keeper`: the parent of the registry's writer, which checks at its start that the registry will do."""

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import FrameType

import click

from kuik import __version__
from kuik.keeper.check import findings, host_of
from registry.credentials import InvalidDockerConfig
from registry.fitness import Finding
from registry.requirements import Need

log = logging.getLogger("kuik.keeper")

STARTS_WITHIN = 60.0
"""Seconds within which a registry is expected to answer."""
_AGAIN = 0.5
_OURS = ("KUIK_REGISTRY_TOKEN", "KUIK_READER_TOKEN", "KUIK_REGISTRY_CREDENTIALS")


@click.command(
    epilog="""\b
Example:
  KUIK_REGISTRY_TOKEN=... python -m kuik.keeper --url http://127.0.0.1:5000 -- registry serve /etc/writer.yaml"""
)
@click.option("--url", required=True, help="Where the writer answers.")
@click.option("--reader", multiple=True, metavar="URL", help="Where node proxies read; repeatable.")
@click.argument("command", nargs=-1, required=True)
@click.version_option(__version__)
def main(url: str, reader: tuple[str, ...], command: tuple[str, ...]) -> None:
    """Run COMMAND, the registry's writer, tell of each thing that kuik needs whether it is met, and end as it ends.

    What is not met is an error in the log, with what to do; the writer goes on. The variables are those of
    `kuik registry check`; the writer does not get them.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        for one in (url, *reader):
            host_of(one)
        findings(url, reader, os.environ)
    except (ValueError, InvalidDockerConfig) as error:
        raise click.UsageError(str(error)) from error
    writer = _started(command)
    _end_with(writer)
    threading.Thread(target=_look, args=(url, reader, writer), daemon=True, name="check").start()
    status = writer.wait()
    log.info("the writer ended with %d", status)
    raise SystemExit(status if status >= 0 else 128 - status)


def report(found: Iterator[Finding]) -> bool:
    """Log each finding; whether the registry will do."""
    fails = False
    for finding in found:
        fails |= finding.fails
        level = logging.ERROR if finding.fails else logging.WARNING if finding.problem else logging.INFO
        log.log(level, "%s", finding)
    return not fails


def answered(look: Callable[[], Iterator[Finding]], goes_on: Callable[[], bool], seconds: float) -> Iterator[Finding]:
    """The findings once the registry answers, or what they are after `seconds` or when it does not go on."""
    until = time.monotonic() + seconds
    while True:
        found = list(look())
        silent = any(one.need is Need.ANSWERS and one.problem for one in found)
        if not silent or time.monotonic() > until or not goes_on():
            return iter(found)
        time.sleep(_AGAIN)


def _started(command: Sequence[str]) -> "subprocess.Popen[bytes]":
    environment: Mapping[str, str] = {name: value for name, value in os.environ.items() if name not in _OURS}
    try:
        return subprocess.Popen(command, env=environment)
    except OSError as error:
        raise click.ClickException(f"{command[0]} cannot be run: {error.strerror}") from error


def _end_with(writer: "subprocess.Popen[bytes]") -> None:
    """Pass on what is said to end, so that the writer drains."""

    def pass_on(number: int, _frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            writer.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)


def _look(url: str, readers: Sequence[str], writer: "subprocess.Popen[bytes]") -> None:
    found = answered(lambda: findings(url, readers, os.environ), lambda: writer.poll() is None, STARTS_WITHIN)
    if writer.poll() is not None:
        return
    if report(found):
        log.info("the registry at %s is what kuik needs", url)
    else:
        log.error("the registry at %s is not what kuik needs: copies will fail until it is", url)


if __name__ == "__main__":
    main()
