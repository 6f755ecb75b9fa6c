"""The keeper's first look at its registry: whether it is what kuik needs."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence

from kuik.keeper.check import findings
from kuik.keeper.writer import Writer
from registry.fitness import Finding
from registry.requirements import Need

log = logging.getLogger("kuik.keeper")

STARTS_WITHIN = 60.0
"""Seconds within which a registry is expected to answer."""
_AGAIN = 0.5


def first_look(url: str, readers: Sequence[str], writer: Writer) -> None:
    """Wait until the registry answers, and log each thing that it needs, met or not, as long as the writer runs."""
    found = answered(lambda: findings(url, readers, os.environ), lambda: writer.ended is None, STARTS_WITHIN)
    if writer.ended is not None:
        return
    if report(found):
        log.info("the registry at %s is what kuik needs", url)
    else:
        log.error("the registry at %s is not what kuik needs: copies will fail until it is", url)


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
