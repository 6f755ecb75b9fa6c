"""A double of the shield's facts endpoint: tests say what it knows, and it answers as the real one does."""

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from registry.reference import InvalidReference, Reference

TOKEN = "a-token-for-tests"


@dataclass
class Facts:
    """A small HTTP server on a loopback port; what no test set is not known."""

    token: str = TOKEN
    asked: list[str] = field(default_factory=list)
    """The images that were asked for, oldest first."""
    _access: dict[str, Any] = field(default_factory=dict)
    _upstream: dict[str, Any] = field(default_factory=dict)
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        assert self._server
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> Self:
        facts = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, said = facts.answer(self.path, self.headers.get("Authorization", ""))
                body = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def stop(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()

    def public(self, image: str) -> None:
        """Anybody may pull the image's repository."""
        self._access[_repository(image)] = {"visibility": "public", "secrets": []}

    def private(self, image: str, secrets: Iterable[tuple[str, str]] = ()) -> None:
        """Only who has one of these secrets (namespace, name) may pull the image's repository."""
        named = [{"namespace": namespace, "secret": name} for namespace, name in sorted(secrets)]
        self._access[_repository(image)] = {"visibility": "private", "secrets": named}

    def points(self, image: str, digest: str) -> None:
        """Upstream has this digest for the tag."""
        self._upstream[image] = {"digest": digest}

    def gone(self, image: str) -> None:
        """Upstream has no such tag."""
        self._upstream[image] = {"gone": True}

    def forget(self, image: str) -> None:
        """Nothing is known of the image."""
        self._access.pop(_repository(image), None)
        self._upstream.pop(image, None)

    def answer(self, path: str, shown: str) -> tuple[int, Any]:
        """Status and document for a request."""
        parts = urlsplit(path)
        if shown != f"Bearer {self.token}":
            return 401, {"errors": [{"code": "DENIED", "message": "show the token"}]}
        try:
            reference = Reference.parse(parse_qs(parts.query).get("image", [""])[0])
        except InvalidReference as error:
            return 400, {"errors": [{"code": "NAME_INVALID", "message": str(error)}]}
        image = str(reference)
        access = self._access.get(_repository(image))
        if parts.path == "/facts/access":
            return 200, {"image": image, "access": access["visibility"] if access else "unknown"}
        if parts.path != "/facts/image":
            return 404, {"errors": [{"code": "UNSUPPORTED", "message": "no such fact"}]}
        self.asked.append(image)
        return 200, {"image": image, "access": access, "upstream": self._upstream.get(image)}


def _repository(image: str) -> str:
    return Reference.parse(image).name
