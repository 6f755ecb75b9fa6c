"""A link of 10 Gbit/s on this machine: a network namespace behind a pair of virtual cards whose rates are bounded."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

RATE = "10gbit"
_BURST = "2mb"
"""At 10 Gbit/s a token bucket needs room for what comes between two ticks of the kernel (tc-tbf(8))."""


@dataclass(frozen=True, slots=True)
class Link:
    """Programs that are started with `inside` before their words are reached at `address`, over the link."""

    inside: Sequence[str]
    address: str


def possible() -> bool:
    """Whether this user may make network namespaces."""
    return os.geteuid() == 0


@contextmanager
def shaped() -> Iterator[Link]:
    """The link, removed at the end with all that is in it. Both directions are bounded."""
    number = os.getpid()
    space, here, there = f"kuik-bench-{number}", f"kb{number % 100000}a", f"kb{number % 100000}b"
    net = f"10.213.{number % 250}"
    inside = ["ip", "netns", "exec", space]
    _run("ip", "netns", "add", space)
    try:
        _run("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", space)
        _run("ip", "addr", "add", f"{net}.1/30", "dev", here)
        _run("ip", "link", "set", here, "up")
        _run(*inside, "ip", "addr", "add", f"{net}.2/30", "dev", there)
        _run(*inside, "ip", "link", "set", "lo", "up")
        _run(*inside, "ip", "link", "set", there, "up")
        _run("tc", "qdisc", "add", "dev", here, "root", "tbf", "rate", RATE, "burst", _BURST, "latency", "20ms")
        _run(
            *inside, "tc", "qdisc", "add", "dev", there, "root", "tbf", "rate", RATE, "burst", _BURST, "latency", "20ms"
        )
        yield Link(inside, f"{net}.2")
    finally:
        subprocess.run(["ip", "link", "del", here], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)


def _run(*words: str) -> None:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")
