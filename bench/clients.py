"""Clients that cost little themselves, so that what is measured is the servers."""

import http.client
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

from registry.manifest import ACCEPT

_BUFFER = 1 << 20
_TIMEOUT = 60.0
_WARM_UP = 5


class WrongAnswer(RuntimeError):
    """A server answered something else than what is to be measured."""


def download(host: str, path: str) -> int:
    """GET a blob and throw it away; the number of its bytes. Raises WrongAnswer, OSError."""
    buffer, total = bytearray(_BUFFER), 0
    with _connected(host) as connection:
        response = _get(connection, path)
        while count := response.readinto(buffer):
            total += count
        expected = response.headers.get("Content-Length")
    if expected is not None and int(expected) != total:
        raise WrongAnswer(f"{host}{path} broke off after {total} of {expected} bytes")
    return total


def downloads(host: str, path: str, clients: int, times: int = 1) -> int:
    """So many clients at once, each with a connection of its own, `times` after one another; the bytes of all."""
    with ThreadPoolExecutor(clients) as pool:
        return sum(pool.map(lambda _: sum(download(host, path) for _ in range(times)), range(clients)))


def latencies(host: str, path: str, count: int) -> list[float]:
    """Milliseconds of each of `count` requests, one after another on one connection that has been used before."""
    found = []
    with _connected(host) as connection:
        for _ in range(_WARM_UP + count):
            begun = time.perf_counter()
            _get(connection, path).read()
            found.append((time.perf_counter() - begun) * 1000)
    return found[_WARM_UP:]


@contextmanager
def _connected(host: str) -> Iterator[http.client.HTTPConnection]:
    with closing(http.client.HTTPConnection(host, timeout=_TIMEOUT)) as connection:
        yield connection


def _get(connection: http.client.HTTPConnection, path: str) -> http.client.HTTPResponse:
    connection.request("GET", path, headers={"Accept": ACCEPT})
    response = connection.getresponse()
    if response.status != 200:
        raise WrongAnswer(f"GET {path}: {response.status} {response.read(200)!r}")
    return response
