"""A double of the API server for what the shield asks of it: CachedImages listed and watched, Secrets got by name.

What a real one does with the same questions is proven in tests/cluster.
"""

import contextlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

_IMAGES = "/apis/kuik.dev/v1alpha1/cachedimages"
_CACHES = "/apis/kuik.dev/v1alpha1/imagecaches"
_SECRET = re.compile(r"/api/v1/namespaces/([^/]+)/secrets/([^/]+)")
_KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{{name: double, cluster: {{server: "{url}"}}}}]
users: [{{name: shield, user: {{token: "{token}"}}}}]
contexts: [{{name: double, context: {{cluster: double, user: shield}}}}]
current-context: double
"""


@dataclass
class Kubernetes:
    """A small HTTP server on a loopback port. `reads` are the secrets that were asked for, oldest first."""

    reads: list[str] = field(default_factory=list)
    forbidden: set[str] = field(default_factory=set)
    away: bool = False
    """Answer nothing, as a server that cannot be reached."""
    _images: dict[str, dict[str, Any]] = field(default_factory=dict)
    _secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    _events: list[dict[str, Any]] = field(default_factory=list)
    _version: int = 1
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        assert self._server
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def stop(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()

    def kubeconfig(self, path: Path) -> Path:
        """A kubeconfig for it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_KUBECONFIG.format(url=self.url, token="the-shield-s-token"))
        return path

    def use(self, image: str, *secrets: str) -> None:
        """Have a CachedImage whose users pull it with these secrets (`namespace/name`)."""
        named = [dict(zip(("namespace", "secret"), one.split("/"), strict=True)) for one in secrets]
        name = re.sub(r"[^a-z0-9]+", "-", image)
        obj = {"metadata": {"name": name}, "spec": {"image": image, "pullSecrets": named}}
        self._write(self._images, name, "MODIFIED" if name in self._images else "ADDED", obj)

    def unuse(self, image: str) -> None:
        """Delete the CachedImage."""
        name = re.sub(r"[^a-z0-9]+", "-", image)
        self._write(self._images, name, "DELETED", self._images[name])

    def secret(self, made: dict[str, Any]) -> str:
        """Have this Secret, new or changed; returns `namespace/name`."""
        name = f"{made['metadata']['namespace']}/{made['metadata']['name']}"
        self._write(self._secrets, name, "", made)
        return name

    def delete_secret(self, name: str) -> None:
        del self._secrets[name]

    def _write(self, objects: dict[str, dict[str, Any]], name: str, event: str, obj: dict[str, Any]) -> None:
        with self._changed:
            self._version += 1
            obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self._version)}}
            objects[name] = obj
            if event == "DELETED":
                del objects[name]
            if event:
                self._events.append({"type": event, "object": obj})
            self._changed.notify_all()

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status and document for a GET that is no watch."""
        if path in (_IMAGES, _CACHES):
            items = list(self._images.values()) if path == _IMAGES else []
            return 200, {"items": items, "metadata": {"resourceVersion": str(self._version)}}
        found = _SECRET.fullmatch(path)
        name = f"{found[1]}/{found[2]}" if found else ""
        self.reads.append(name)
        if name in self.forbidden:
            return 403, {"kind": "Status", "message": f'secrets "{name}" is forbidden'}
        if name not in self._secrets:
            return 404, {"kind": "Status", "message": f'secrets "{name}" not found'}
        return 200, self._secrets[name]

    def follow(self, path: str, version: int, write: Callable[[bytes], None], seconds: float) -> None:
        """Say what happens after `version`, for so long; there are no ImageCaches."""
        with self._changed:
            told = [version]
            while self._changed.wait_for(lambda: self.away or self._after(path, told[-1]), seconds) and not self.away:
                for event in self._after(path, told[-1]):
                    told.append(int(event["object"]["metadata"]["resourceVersion"]))
                    write(json.dumps(event).encode() + b"\n")

    def _after(self, path: str, version: int) -> list[dict[str, Any]]:
        events = self._events if path == _IMAGES else []
        return [one for one in events if int(one["object"]["metadata"]["resourceVersion"]) > version]


def _handler(double: Kubernetes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            if double.away:
                self.close_connection = True
                return
            if "watch" in query:
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                with contextlib.suppress(OSError):
                    double.follow(
                        parts.path, int(query["resourceVersion"]), self._write, float(query["timeoutSeconds"])
                    )
                self.close_connection = True
                return
            status, document = double.answer(parts.path)
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _write(self, line: bytes) -> None:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.flush()

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    return Handler
