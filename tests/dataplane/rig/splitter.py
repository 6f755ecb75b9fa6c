"""A loopback server that sends pushes to one registry and pulls to another: so that who tests both finds what it wrote.

Of a push's path the prefix is cut off under which the other server has the repository; a pull's path has it.
"""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import quote

_HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive", "date", "server", "content-length"}


class Splitter:
    """Pulls go to `pulls`, all else to `pushes` (both `host:port`), there without `prefix` after `/v2/`."""

    def __init__(self, pulls: str, pushes: str, prefix: str) -> None:
        self.pulls, self.pushes, self.prefix = pulls, pushes, prefix
        owner = self

        class Handler(_Handler):
            splitter = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    splitter: Splitter
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        # The state of an upload is asked for where the upload is.
        pulls = self.command in ("GET", "HEAD") and "/blobs/uploads/" not in self.path
        host = self.splitter.pulls if pulls else self.splitter.pushes
        path = self.path.replace(f"/v2/{self.splitter.prefix}/", "/v2/", 1)  # what a push answers has no prefix
        if pulls and path != "/v2/":
            path = path.replace("/v2/", f"/v2/{self.splitter.prefix}/", 1)
        path = path.replace(f"from={quote(self.splitter.prefix + '/', safe='')}", "from=")
        headers = [(name, value) for name, value in self.headers.items() if name.lower() not in ("host", "connection")]
        connection = http.client.HTTPConnection(host, timeout=60)
        connection.putrequest(self.command, path, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders(self._body(), encode_chunked=self.headers.get("Transfer-Encoding") == "chunked")
        answer = connection.getresponse()
        body = answer.read()
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.headers.items():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        if answer.status not in (204, 304):
            length = answer.headers.get("Content-Length") if self.command == "HEAD" else str(len(body))
            self.send_header("Content-Length", length or "0")
        self.end_headers()
        self.wfile.write(body)
        connection.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815  the names that the server calls

    def _body(self) -> bytes | None:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def log_message(self, *arguments: object) -> None:
        """Nobody reads it."""
