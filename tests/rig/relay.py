"""A TCP relay on loopback that can be cut, so that a server seems to die and come back while it lives."""

import contextlib
import socket
import threading


class Relay:
    """Passes bytes to a loopback port while it is not `cut`."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._cut = False
        self._pairs: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break all connections, and take none that would lead anywhere."""
        self._cut = True
        for one in self._pairs:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def mend(self) -> None:
        """Pass bytes again."""
        self._cut = False

    def close(self) -> None:
        """End for good."""
        self.cut()
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._server.accept()
            except OSError:
                return
            if self._cut:
                here.close()
                continue
            there = socket.create_connection(("127.0.0.1", self._to))
            self._pairs += [here, there]
            for one, other in ((here, there), (there, here)):
                threading.Thread(target=pass_bytes, args=(one, other), daemon=True).start()


def pass_bytes(one: socket.socket, other: socket.socket) -> None:
    """Pass what comes from `one` on to `other`, to its end."""
    with contextlib.suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
    for end in (one, other):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
