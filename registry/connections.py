"""Connections to hosts whose addresses somebody else knows than this machine's resolver."""

import socket
from collections.abc import Callable, Sequence

from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

Addresses = Callable[[str], Sequence[str]]
"""The addresses of a host, one at least, in the order to try them; raises `socket.gaierror`."""


def connected(
    connection: HTTPConnection, connect: Callable[[], socket.socket], addresses: Addresses | None
) -> socket.socket:
    """What `connect` gives for the first address of the connection's host that takes one; its name stays its host's."""
    if addresses is None:
        return connect()
    name = connection._dns_host
    try:
        found = addresses(name)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
    except socket.gaierror as error:
        raise NameResolutionError(name, connection, error) from error
    for left, address in enumerate(found, 1 - len(found)):
        connection._dns_host = address
        try:
            return connect()
        except (ConnectTimeoutError, NewConnectionError):
            if not left:
                raise
        finally:
            connection._dns_host = name
    raise AssertionError("the last address returns or raises")
