"""Loopback ports for servers that are stopped and started again."""

import contextlib
import random
import socket

_PORTS = range(15_000, 32_000)
"""Below the range from which the kernel takes ports for outgoing connections, which would come in between."""


def free_port() -> int:
    """A loopback port that nobody listens on at this moment, and that no client is given by chance."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
