"""A real registry (Debian's docker-registry) as the upstream that tests pull from, stop and start again."""

import base64
import http.client
import re
import ssl
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from tests.rig.images import BuiltImage
from tests.rig.processes import find, free_port, listening, stop, wait_until

_ACCESS = re.compile(r'"(?P<method>[A-Z]+) (?P<path>\S+) HTTP/[\d.]+" (?P<status>\d{3})')
_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: false}}}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "{address}:{port}"{tls}}}
"""
_TLS = ', tls: {{certificate: "{certificate}", key: "{key}"}}'
_AUTH = 'auth: {{htpasswd: {{realm: rig, path: "{path}"}}}}\n'


@dataclass(frozen=True)
class Known:
    """How others than this machine know a registry: by a name, at an address, and by TLS. All are PEM files."""

    name: str
    address: str
    authority: Path
    certificate: Path
    key: Path


@dataclass
class Upstream:
    """One docker-registry, on a loopback port unless it is `known`; its `host` stays over `stop()` and `start()`."""

    folder: Path
    user: str = ""
    password: str = ""
    port: int = field(default_factory=free_port)
    known: Known | None = None
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def host(self) -> str:
        return self.known.name if self.known else f"127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return self.known.address if self.known else "127.0.0.1"

    def start(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "config.yml"
        tls = _TLS.format(certificate=self.known.certificate, key=self.known.key) if self.known else ""
        text = _CONFIG.format(root=self.folder / "data", address=self.address, port=self.port, tls=tls)
        if self.user:
            passwords = self.folder / "htpasswd"
            command = ["htpasswd", "-Bbn", self.user, self.password]
            passwords.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
            text += _AUTH.format(path=passwords)
        config.write_text(text)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [find("docker-registry") or "docker-registry", "serve", str(config)], stdout=log, stderr=log
            )
        wait_until(lambda: listening(self.port, self.address), "docker-registry listens")
        return self

    def stop(self) -> None:
        if self._process:
            stop(self._process)
            self._process = None

    def kill(self) -> None:
        """SIGKILL."""
        if self._process:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def requests(self) -> list[tuple[str, str, int]]:
        """(method, path with query, status) of every request so far, oldest first."""
        lines = self._log.read_text(errors="replace").splitlines()
        found = (_ACCESS.search(line) for line in lines)
        return [(m["method"], m["path"], int(m["status"])) for m in found if m]

    def forget_requests(self) -> None:
        """Begin counting anew."""
        self._log.write_bytes(b"")

    def count(self, method: str, part: str) -> int:
        """How many answered requests had this method and `part` in their path."""
        return sum(1 for verb, path, status in self.requests() if verb == method and part in path and status < 400)

    def push(self, built: BuiltImage, repository: str, tag: str | None = None) -> str:
        """Put the image there; returns its reference (by digest when no tag is given)."""
        for digest, blob in built.blobs.items():
            location = self._call("POST", f"/v2/{repository}/blobs/uploads/", expect=202)
            joint = "&" if "?" in location else "?"
            self._call("PUT", f"{location}{joint}digest={digest}", body=blob, expect=201)
        for digest, (media_type, raw) in sorted(built.manifests.items(), key=lambda item: item[0] == built.digest):
            self._call("PUT", f"/v2/{repository}/manifests/{digest}", body=raw, kind=media_type, expect=201)
        if tag:
            self._call("PUT", f"/v2/{repository}/manifests/{tag}", body=built.raw, kind=built.media_type, expect=201)
        return f"{self.host}/{repository}:{tag}" if tag else f"{self.host}/{repository}@{built.digest}"

    def delete_manifest(self, repository: str, built: BuiltImage) -> None:
        """Delete an image upstream, with all its tags."""
        self._call("DELETE", f"/v2/{repository}/manifests/{built.digest}", expect=202)

    @property
    def _log(self) -> Path:
        return self.folder / "registry.log"

    def _connection(self) -> http.client.HTTPConnection:
        if not self.known:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        trust = ssl.create_default_context(cafile=str(self.known.authority))
        return http.client.HTTPSConnection(self.known.name, self.port, timeout=30, context=trust)

    def _call(self, method: str, path: str, *, body: bytes | None = None, kind: str = "", expect: int) -> str:
        parts = urlsplit(path)
        connection = self._connection()
        headers = {"Content-Type": kind or "application/octet-stream"}
        if self.user:
            headers["Authorization"] = "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body, headers)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        assert response.status == expect, f"{method} {path}: {response.status} {text[:300]!r}"
        return response.headers.get("Location", "")
