"""A registry that misbehaves on cue: an HTTP relay in front of a real one, scripted by rules.

    with Relay(upstream.host) as relay:
        relay.rule(cut(1000), method="GET", path="/blobs/")     # once; times=None for ever
        ...                                                     # talk to relay.host instead of upstream.host
        assert relay.count("GET", "/blobs/") == 2

The first rule that matches a request and has times left acts on it; what no rule matches is relayed as it is (or
answered 404 where there is no upstream). A rule is matched by method (any when empty) and by a part of the path with
its query. `relay.requests` holds every request as `Seen`, with its headers and the status that was sent.

Faults, each a function to pass to `rule`: `answer(status, ...)`, `error(status, code)`, `redirect(url)`, `cut(after)`,
`corrupt(at)`, `truncate(to)`, `shorten()`, `extend(by)`, `hold(event, after)`, `black_hole(relay)`, `chunked()`,
`trickle(event, piece)`, `ignore_range()`, `shift_range(by)`, `change_headers(...)`. `TokenServer` is a relay that hands
out bearer tokens, and `guarded(tokens)` a fault that asks for them. `certificate(folder)` makes a self-signed one for
`Relay(tls=...)`.
"""

import base64
import contextlib
import http.client
import json
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

_HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive", "date", "server"}
_PIECE = 64 * 1024
_NO_BODY = (204, 304)


@dataclass
class Seen:
    """One request that reached the relay; `status` is 0 until an answer begins."""

    method: str
    path: str
    headers: Mapping[str, str]
    status: int = 0


@dataclass
class Answer:
    """A whole answer in memory, to be changed before it is sent."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Exchange:
    """One request being handled: `headers` may be changed before `fetch()`."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    handler: BaseHTTPRequestHandler
    upstream: str | None
    seen: Seen
    closing: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def relayed(self) -> Iterator[http.client.HTTPResponse]:
        """Upstream's answer, its body not yet read."""
        assert self.upstream, f"no rule for {self.method} {self.path}"
        connection = http.client.HTTPConnection(self.upstream, timeout=60)
        try:
            connection.request(self.method, self.path, self.body or None, self.headers)
            yield connection.getresponse()
        finally:
            connection.close()

    def fetch(self) -> Answer:
        """Upstream's whole answer."""
        with self.relayed() as response:
            headers = {name: value for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP}
            return Answer(response.status, headers, response.read())

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Send status and headers."""
        self.seen.status = status
        self.handler.send_response(status)
        for name, value in headers.items():
            self.handler.send_header(name, value)
        self.handler.end_headers()

    def send(self, reply: Answer) -> None:
        """Send an answer, with a Content-Length unless it says otherwise."""
        headers = dict(reply.headers)
        if not {"content-length", "transfer-encoding"} & {name.lower() for name in headers}:
            headers["Content-Length"] = str(len(reply.body))
        self.begin(reply.status, headers)
        if self.method != "HEAD":
            self.write(reply.body)

    def write(self, data: bytes) -> None:
        self.handler.wfile.write(data)
        self.handler.wfile.flush()

    def pause(self, seconds: float) -> None:
        """Wait; when the relay closes meanwhile, the connection ends here."""
        if self.closing.wait(seconds):
            raise ConnectionAbortedError("the relay closes")

    def hang_up(self, *, reset: bool = False) -> None:
        """Close the connection after this, in the middle of whatever is being sent."""
        if reset:
            linger = struct.pack("ii", 1, 0)
            self.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.handler.close_connection = True


Fault = Callable[[Exchange], None]


@dataclass
class Rule:
    """What to do with requests of `method` (any when empty) that have `path` in theirs, `times` times."""

    fault: Fault
    method: str = ""
    path: str = ""
    times: int | None = 1

    def matches(self, exchange: Exchange) -> bool:
        return self.times != 0 and self.method in ("", exchange.method) and self.path in exchange.path


class Relay:
    """An HTTP (or, with `tls`, HTTPS) server in front of `upstream`, on loopback, started on construction.

    It takes a free port unless one is given.
    """

    def __init__(
        self,
        upstream: str | None = None,
        *,
        tls: tuple[Path, Path] | None = None,
        port: int = 0,
        address: str = "127.0.0.1",
    ) -> None:
        self.upstream = upstream
        self.rules: list[Rule] = []
        self.requests: list[Seen] = []
        self.closing = threading.Event()
        self._guard = threading.Lock()
        self._silent = threading.Event()
        self._server = _Server(self, address, port)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.scheme = "https" if tls else "http"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def host(self) -> str:
        address, port = self._server.server_address[:2]
        return f"{address!s}:{port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}"

    def rule(self, fault: Fault, *, method: str = "", path: str = "", times: int | None = 1) -> Self:
        """Add a rule after the others."""
        self.rules.append(Rule(fault, method, path, times))
        return self

    def count(self, method: str = "", part: str = "") -> int:
        """How many requests of this method had `part` in their path."""
        return sum(1 for seen in self.requests if method in ("", seen.method) and part in seen.path)

    def handle(self, exchange: Exchange) -> None:
        """Remember one request, and act on it."""
        if self._silent.is_set():
            self.wait_for_close()
            return
        fault = self._fault(exchange)
        self.requests.append(exchange.seen)
        fault(exchange)

    def wait_for_close(self) -> None:
        """Return, with an error that ends the connection, when the relay closes."""
        self.closing.wait(60)
        raise ConnectionAbortedError("the relay closes")

    def fall_silent(self) -> None:
        """Take no more connections, and answer nothing on those that are there, until it is closed."""
        self._silent.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def close(self) -> None:
        """End, and break the connections that are there."""
        self.closing.set()
        if not self._silent.is_set():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(10)
        self._server.break_connections()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fault(self, exchange: Exchange) -> Fault:
        with self._guard:
            for rule in self.rules:
                if rule.matches(exchange):
                    rule.times = None if rule.times is None else rule.times - 1
                    return rule.fault
        return pass_on if self.upstream else answer(404)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, relay: Relay, address: str, port: int) -> None:
        super().__init__((address, port), _Handler)
        self.relay = relay
        self._open: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def break_connections(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away, or a TLS handshake that fails, is part of many tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self._chunks() if self.headers.get("Transfer-Encoding") == "chunked" else self.rfile.read(length)
        relay = self.server.relay
        headers = dict(self.headers.items())
        seen = Seen(self.command, self.path, dict(headers))
        relay.handle(Exchange(self.command, self.path, headers, body, self, relay.upstream, seen, relay.closing))

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815  http.server's names

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *arguments: object) -> None:
        """Say nothing: `Relay.requests` tells."""


def pass_on(exchange: Exchange) -> None:
    """Relay as it is, piece by piece."""
    with exchange.relayed() as response:
        headers = {name: value for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP}
        if response.headers.get("Content-Length") is None and response.status not in _NO_BODY:
            exchange.send(Answer(response.status, headers, response.read()))
            return
        exchange.begin(response.status, headers)
        missing = 0 if exchange.method == "HEAD" else response.length or 0
        while piece := response.read(_PIECE):
            exchange.write(piece)
            missing -= len(piece)
        if missing:
            exchange.hang_up()


def answer(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Fault:
    """Answer by itself, without upstream."""
    return lambda exchange: exchange.send(Answer(status, dict(headers or {}), body))


def error(
    status: int, code: str, message: str = "told so by a rule", headers: Mapping[str, str] | None = None
) -> Fault:
    """Answer an error as the distribution-spec has it."""
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return answer(status, body, {"Content-Type": "application/json", **(headers or {})})


def redirect(url: str, status: int = 307) -> Fault:
    """Redirect to `url`; `{path}` in it is the path asked for."""
    return lambda exchange: exchange.send(Answer(status, {"Location": url.replace("{path}", exchange.path)}))


def cut(after: int, *, reset: bool = False) -> Fault:
    """Promise the whole body and close the connection after `after` bytes of it."""

    def fault(exchange: Exchange) -> None:
        reply = exchange.fetch()
        exchange.begin(reply.status, {**reply.headers, "Content-Length": str(len(reply.body))})
        exchange.write(reply.body[:after])
        if reset:
            exchange.pause(0.05)  # a reset also takes what the client has not read yet
        exchange.hang_up(reset=reset)

    return fault


def corrupt(at: int | None = None) -> Fault:
    """Change one byte of the body, by default in its middle."""

    def change(body: bytes, at: int | None = at) -> bytes:
        at = len(body) // 2 if at is None else at
        if at >= len(body):
            return body
        return body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :]

    return _changed(change)


def truncate(to: int) -> Fault:
    """Send only the first `to` bytes as if they were all."""
    return _changed(lambda body: body[:to])


def shorten() -> Fault:
    """Serve every body, and ranges of it, as if its first half were all there is, as a damaged store does."""

    def fault(exchange: Exchange) -> None:
        wanted = exchange.headers.pop("Range", "")
        reply = exchange.fetch()
        body = reply.body[: len(reply.body) // 2]
        headers = {name: value for name, value in reply.headers.items() if name.lower() != "content-length"}
        if not wanted:
            exchange.send(Answer(reply.status, headers, body))
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, stop = int(first), min(int(last or len(body)) + 1, len(body))
        if start >= len(body):
            exchange.send(Answer(416, {"Content-Range": f"bytes */{len(body)}"}))
            return
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
        exchange.send(Answer(206, headers, body[start:stop]))

    return fault


def extend(by: bytes, *, honest: bool = True) -> Fault:
    """Send more bytes than there are; when not `honest`, with the Content-Length of the true body."""

    def fault(exchange: Exchange) -> None:
        reply = exchange.fetch()
        length = len(reply.body) + (len(by) if honest else 0)
        exchange.begin(reply.status, {**reply.headers, "Content-Length": str(length)})
        exchange.write(reply.body + by)
        exchange.hang_up()

    return fault


def hold(until: threading.Event, after: int = 0) -> Fault:
    """Send headers and the first `after` bytes, and the rest once `until` is set."""

    def fault(exchange: Exchange) -> None:
        reply = exchange.fetch()
        exchange.begin(reply.status, {**reply.headers, "Content-Length": str(len(reply.body))})
        exchange.write(reply.body[:after])
        until.wait(60)
        exchange.write(reply.body[after:])

    return fault


def trickle(until: threading.Event, piece: int, pause: float = 0.5) -> Fault:
    """Send `piece` bytes, and further ones after each `pause`, and what is left at once when `until` is set."""

    def fault(exchange: Exchange) -> None:
        with exchange.relayed() as response:
            headers = {name: value for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP}
            exchange.begin(response.status, headers)
            while data := response.read(piece):
                exchange.write(data)
                until.wait(pause)

    return fault


def black_hole(relay: Relay) -> Fault:
    """Accept the request and never answer, until the relay closes."""

    def fault(exchange: Exchange) -> None:
        relay.closing.wait(60)
        exchange.hang_up()

    return fault


def chunked(*, cut_after: int | None = None, hold: threading.Event | None = None, spoil: int | None = None) -> Fault:
    """Send the body in chunks, without a length.

    Where given: break off after `cut_after` bytes; wait for `hold` after the first chunk; change byte `spoil`.
    """

    def fault(exchange: Exchange) -> None:
        reply = exchange.fetch()
        headers = {name: value for name, value in reply.headers.items() if name.lower() != "content-length"}
        exchange.begin(reply.status, {**headers, "Transfer-Encoding": "chunked"})
        body = reply.body if cut_after is None else reply.body[:cut_after]
        if spoil is not None:
            body = body[:spoil] + bytes([body[spoil] ^ 0xFF]) + body[spoil + 1 :]
        for start in range(0, len(body), _PIECE):
            piece = body[start : start + _PIECE]
            exchange.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if hold and not start:
                hold.wait(60)
        if cut_after is None:
            exchange.write(b"0\r\n\r\n")
        else:
            exchange.hang_up()

    return fault


def ignore_range() -> Fault:
    """Answer as if no range had been asked for."""

    def fault(exchange: Exchange) -> None:
        del exchange.headers["Range"]
        pass_on(exchange)

    return fault


def shift_range(by: int) -> Fault:
    """Answer a range that begins `by` bytes away from the one asked for, and say so."""

    def fault(exchange: Exchange) -> None:
        start = int(exchange.headers["Range"].removeprefix("bytes=").rstrip("-")) + by
        exchange.headers["Range"] = f"bytes={start}-"
        pass_on(exchange)

    return fault


def change_headers(**changes: str | None) -> Fault:
    """Relay with other headers: `change_headers(docker_content_digest=None)` leaves one out."""
    wanted = {name.replace("_", "-").lower(): value for name, value in changes.items()}

    def fault(exchange: Exchange) -> None:
        reply = exchange.fetch()
        length = str(len(reply.body)) if exchange.method != "HEAD" else reply.headers.get("Content-Length", "0")
        headers = {name: value for name, value in reply.headers.items() if name.lower() not in wanted}
        headers |= {name: value for name, value in wanted.items() if value is not None}
        exchange.begin(reply.status, {**headers, **({} if "content-length" in wanted else {"Content-Length": length})})
        exchange.write(reply.body)
        if "content-length" in wanted:
            exchange.hang_up()

    return fault


def _changed(change: Callable[[bytes], bytes]) -> Fault:
    def fault(exchange: Exchange) -> None:
        reply = exchange.fetch()
        reply.body = change(reply.body)
        reply.headers.pop("Content-Length", None)
        exchange.send(reply)

    return fault


class TokenServer(Relay):
    """Hands out tokens `token-1`, `token-2`, ... at `/token`; `valid` are those that `guarded` accepts.

    `users` (name to password) makes it ask for a password. `questions` holds the parameters of every request.
    """

    def __init__(self, users: Mapping[str, str] | None = None, *, expires_in: int | None = 300) -> None:
        super().__init__()
        self.users = dict(users or {})
        self.expires_in = expires_in
        self.valid: set[str] = set()
        self.questions: list[dict[str, list[str]]] = []
        self.key = "token"
        self.rule(self._grant, path="/token", times=None)

    @property
    def realm(self) -> str:
        return f"{self.url}/token"

    def _grant(self, exchange: Exchange) -> None:
        self.questions.append(parse_qs(urlsplit(exchange.path).query or exchange.body.decode()))
        if self.users and not self._knows(exchange.headers.get("Authorization", "")):
            error(401, "UNAUTHORIZED")(exchange)
            return
        token = f"token-{len(self.questions)}"
        self.valid.add(token)
        lifetime = {} if self.expires_in is None else {"expires_in": self.expires_in}
        exchange.send(Answer(200, {}, json.dumps({self.key: token, **lifetime}).encode()))

    def _knows(self, header: str) -> bool:
        pairs = {f"{user}:{password}".encode() for user, password in self.users.items()}
        return any(header == f"Basic {base64.b64encode(pair).decode()}" for pair in pairs)


def guarded(tokens: TokenServer, *, service: str = "registry.test", scope: str | None = None) -> Fault:
    """Relay what carries a valid token, and challenge the rest as registries do."""

    def fault(exchange: Exchange) -> None:
        if exchange.headers.get("Authorization", "").removeprefix("Bearer ") in tokens.valid:
            pass_on(exchange)
            return
        wanted = scope if scope is not None else f"repository:{_repository(exchange.path)}:pull"
        challenge = f'Bearer realm="{tokens.realm}",service="{service}"' + (f',scope="{wanted}"' if wanted else "")
        error(401, "UNAUTHORIZED", headers={"WWW-Authenticate": challenge})(exchange)

    return fault


def _repository(path: str) -> str:
    parts = urlsplit(path).path.removeprefix("/v2/").split("/")
    ends = [parts.index(kind) for kind in ("manifests", "blobs", "tags") if kind in parts]
    return "/".join(parts[: min(ends, default=len(parts))])


def certificate(folder: Path, name: str = "127.0.0.1") -> tuple[Path, Path]:
    """A self-signed certificate for `name` (an IP address or a DNS name) and its key, as PEM files."""
    folder.mkdir(parents=True, exist_ok=True)
    pem, key = folder / "certificate.pem", folder / "key.pem"
    kind = "IP" if name[0].isdigit() else "DNS"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName={kind}:{name}"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(pem)], check=True, capture_output=True)
    return pem, key
