"""A small HTTP proxy on loopback, as companies have them at the border: CONNECT for TLS, whole URLs for plain HTTP."""

import contextlib
import http.client
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.rig.relay import pass_bytes


class EgressProxy:
    """Started on construction; `asked` holds `CONNECT host:port` and `GET http://...` of every request, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, proxy: EgressProxy) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy = proxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_CONNECT(self) -> None:
        self.server.proxy.asked.append(f"CONNECT {self.path}")
        name, _, port = self.path.rpartition(":")
        self.close_connection = True
        try:
            there = socket.create_connection((name, int(port)), timeout=10)
        except OSError:
            self.send_error(502)
            return
        self.send_response(200)
        self.end_headers()
        back = threading.Thread(target=pass_bytes, args=(there, self.connection), daemon=True)
        back.start()
        pass_bytes(self.connection, there)
        back.join(10)
        there.close()

    def do_GET(self) -> None:
        self.server.proxy.asked.append(f"{self.command} {self.path}")
        parts = urlsplit(self.path)
        connection = http.client.HTTPConnection(parts.netloc, timeout=10)
        headers = {name: value for name, value in self.headers.items() if not name.lower().startswith("proxy-")}
        connection.request(self.command, f"{parts.path}?{parts.query}" if parts.query else parts.path, None, headers)
        answer = connection.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)
        connection.close()

    do_HEAD = do_GET  # noqa: N815  http.server's name

    def log_message(self, *arguments: object) -> None:
        """Say nothing: `EgressProxy.asked` tells."""
