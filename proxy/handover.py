"""How a new proxy takes over from one that leaves: both listen on the same port, and no connection is refused or lost.

The port is shared by SO_REUSEPORT, among processes of one user. Linux gives each listening socket a queue of its own,
and what is in the queue of one that closes is reset. So who leaves first sends newcomers to the others, then answers
all who are queued here, and only then closes.
"""

import contextlib
import ctypes
import logging
import socket
import struct
import time
from collections.abc import Iterable
from typing import Any

from proxy import clients

log = logging.getLogger("kuik.proxy")

_ATTACH_CBPF, _DETACH = 51, 68  # SO_ATTACH_REUSEPORT_CBPF, SO_DETACH_REUSEPORT_BPF (asm-generic/socket.h)
_RETURN = 0x06  # BPF_RET | BPF_K
_SETTLED = 0.05
"""Seconds until a handshake that was under way has reached the queue; on loopback it takes a thousandth of this."""
_BACKLOG = 2048


def listening(binds: Iterable[str], *, optional: Iterable[str] = ()) -> list[int]:
    """File descriptors that listen on each `host:port` or `[host]:port`, on ports that others may share.

    Those of `optional` are left out where the machine has no such address. Raises OSError, or ValueError for what is
    no address.
    """
    found = [_listening(bind).detach() for bind in binds]
    for bind in optional:
        try:
            found.append(_listening(bind).detach())
        except OSError as error:
            log.warning("not listening on %s: %s", bind, error.strerror)
    return found


def _listening(bind: str) -> socket.socket:
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"--listen {bind!r}: write it as 127.0.0.1:7439 or [::1]:7439")
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, int(port)))
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


class Worker(clients.Worker):
    """gunicorn's worker with threads, which leaves its port in order when it is told to stop."""

    def run(self) -> None:
        """gunicorn's own hook: serve."""
        for listener in self.sockets:
            with contextlib.suppress(OSError):  # nobody is leaving
                listener.setsockopt(socket.SOL_SOCKET, _DETACH, 0)
        log.info("serving on %s", ", ".join(str(listener) for listener in self.sockets))
        super().run()

    def set_accept_enabled(self, enabled: bool) -> None:
        """gunicorn's own hook: the first thing it does when it is to stop is to stop accepting."""
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            self._leave()

    def _leave(self) -> None:
        for listener in self.sockets:
            with contextlib.suppress(OSError):
                _send_elsewhere(listener)
        until = time.monotonic() + _SETTLED
        while time.monotonic() < until:
            for listener in self.sockets:
                self._accepted(listener)
            time.sleep(0.001)
        for listener in self.sockets:
            while self._accepted(listener):
                pass
            listener.close()
        log.info("leaving: %d connections are served to their end", self.nr_conns)

    def _accepted(self, listener: Any) -> bool:
        """Take one connection from the queue, where there is one and this process may open another file."""
        before: int = self.nr_conns
        with contextlib.suppress(OSError):
            self.accept(listener)
        return bool(self.nr_conns > before)


def _send_elsewhere(listener: socket.socket) -> None:
    """Let the kernel choose the second of the sockets that share the port: those that came later are behind the first.

    Where there is no second, it chooses as it did before. A program of one instruction, `return 1`, needs no rights.
    """
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", _RETURN, 0, 0, 1))
    program = struct.pack("HP", 1, ctypes.addressof(instruction))
    listener.setsockopt(socket.SOL_SOCKET, _ATTACH_CBPF, program)
