"""Services without nodes: what kube-proxy would do for an API server that calls webhooks by their Services' addresses.

The API server reaches what is in its cluster through a proxy (its egress selector, HTTP CONNECT over a Unix socket).
That proxy leads each Service to the process on loopback that stands for its pods.
"""

import contextlib
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

_CONFIGURATION = """\
apiVersion: apiserver.k8s.io/v1beta1
kind: EgressSelectorConfiguration
egressSelections:
  - name: cluster
    connection:
      proxyProtocol: HTTPConnect
      transport: {uds: {udsName: %s}}
"""
_MAX_HEAD = 4096
_PIECE = 64 * 1024


class Services:
    """Listens from `start` to `stop`. `find` tells the loopback port behind an address, 10.96.0.7:443, or None."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="kuik-services-"))  # a socket's path is 107 characters at most
        self.configuration = self._folder / "egress.yaml"
        """The file that kube-apiserver takes as --egress-selector-config-file."""
        self.find: Callable[[str], int | None] = lambda _address: None
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def start(self) -> Self:
        place = self._folder / "socket"
        self._listener.bind(str(place))
        self._listener.listen(64)
        self.configuration.write_text(_CONFIGURATION % place)
        threading.Thread(target=self._accept, name="services", daemon=True).start()
        return self

    def stop(self) -> None:
        self._listener.close()
        shutil.rmtree(self._folder)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head and len(head) < _MAX_HEAD:
                piece = client.recv(_PIECE)
                if not piece:
                    return
                head += piece
            method, _, rest = head.decode("latin-1").partition(" ")
            port = self.find(rest.partition(" ")[0]) if method == "CONNECT" else None
            if port is None:
                client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", port), timeout=10) as there:
                there.settimeout(None)
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=_copy, args=(there, client), daemon=True)
                back.start()
                _copy(client, there)
                back.join(30)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    """Bytes of one direction to their end."""
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
