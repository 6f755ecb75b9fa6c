"""A client that pulls images as containerd does, bounded in time, and tells how it ended and how long it took.

HEAD of the tag, GET of the manifest by its digest, then config and layers, three at a time, each checked by size and
digest and continued by Range where its connection broke. Statuses are not tried again; a whole pull is, by kubelet,
which is `attempts`.
"""

import hashlib
import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

ACCEPT = ", ".join(
    f"application/vnd.{kind}"
    for kind in (
        "oci.image.index.v1+json",
        "oci.image.manifest.v1+json",
        "docker.distribution.manifest.list.v2+json",
        "docker.distribution.manifest.v2+json",
    )
)
SERVED = "served"
UNAVAILABLE = "unavailable"
CORRUPT = "corrupt"
_BY_STATUS = {401: "unauthorized", 403: "unauthorized", 404: "not found", 429: "rate limited"}
_BY_REASON = {
    "Corrupt": CORRUPT,
    "TLS": "TLS",
    "Unauthorized": "unauthorized",
    "NotFound": "not found",
    "RateLimited": "rate limited",
}
_PARALLEL = 3
_BREAKS = 5
_PIECE = 64 * 1024
_LONGEST_ERROR = 64 * 1024


class Failed(Exception):
    """A pull ended; `kind` is its class of failure."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class _Broke(Exception):
    """A body ended too soon, after `got` bytes of it."""

    def __init__(self, got: int) -> None:
        super().__init__(f"broke off after {got} bytes")
        self.got = got


@dataclass(frozen=True)
class Image:
    """What to pull: `prefix` is what the path has before the repository, such as `127.0.0.1__5000/` at the proxy."""

    repository: str
    target: str
    prefix: str = ""
    user: str = ""

    @property
    def path(self) -> str:
        return f"/v2/{self.prefix}{self.repository}"


@dataclass(frozen=True)
class Pulled:
    """How a pull ended: `outcome` is SERVED or a class of failure; `content` maps each digest had to its size."""

    outcome: str
    seconds: float
    content: dict[str, int] = field(default_factory=dict)
    message: str = ""
    attempts: int = 1

    @property
    def served(self) -> bool:
        return self.outcome == SERVED


@dataclass(frozen=True)
class Puller:
    """Pulls from one server (`host:port`), each pull within `seconds`; threads share it."""

    host: str
    seconds: float = 10.0
    tls: ssl.SSLContext | None = None

    def pull(self, image: Image) -> Pulled:
        """Pull once."""
        begun = time.monotonic()
        content: dict[str, int] = {}
        try:
            _Pull(self, image, begun + self.seconds, content).all()
        except Failed as failed:
            return Pulled(failed.kind, time.monotonic() - begun, content, str(failed))
        return Pulled(SERVED, time.monotonic() - begun, content)

    def pull_again(self, image: Image, attempts: int, before_next: Callable[[], object]) -> Pulled:
        """Pull as kubelet does: `attempts` times at most, after `before_next()`, which may wait; seconds count all."""
        begun = time.monotonic()
        for attempt in range(1, attempts + 1):
            pulled = self.pull(image)
            if pulled.served or attempt == attempts:
                break
            before_next()
        return replace(pulled, seconds=time.monotonic() - begun, attempts=attempt)


class _Pull:
    """One pull under way."""

    def __init__(self, puller: Puller, image: Image, deadline: float, content: dict[str, int]) -> None:
        self._puller = puller
        self._image = image
        self._deadline = deadline
        self._content = content
        self._local = threading.local()
        self._connections: list[http.client.HTTPConnection] = []

    def all(self) -> None:
        try:
            manifest = self._manifest(self._digest())
            if "manifests" in manifest:
                manifest = self._manifest(_for_this_platform(manifest["manifests"])["digest"])
            blobs = {blob["digest"]: blob["size"] for blob in (manifest["config"], *manifest["layers"])}
            with ThreadPoolExecutor(_PARALLEL) as pool:
                for done in [pool.submit(self._blob, digest, size) for digest, size in blobs.items()]:
                    done.result()
        finally:
            for connection in self._connections:
                connection.close()

    def _digest(self) -> str:
        if ":" in self._image.target:
            return self._image.target
        with self._ask("HEAD", f"manifests/{self._image.target}") as response:
            response.read()
            if response.status < 300 and (digest := response.headers.get("Docker-Content-Digest")):
                return digest
        # A HEAD tells no reason; and some registries answer none.
        return "sha256:" + hashlib.sha256(self._small(f"manifests/{self._image.target}")).hexdigest()

    def _manifest(self, digest: str) -> dict[str, Any]:
        raw = self._small(f"manifests/{digest}")
        self._check(digest, hashlib.sha256(raw).hexdigest(), len(raw), len(raw))
        manifest: dict[str, Any] = json.loads(raw)
        return manifest

    def _small(self, what: str) -> bytes:
        raw = bytearray()
        with self._ask("GET", what) as response:
            _refused(response, self._left())
            try:
                self._read(response, raw.extend)
            except _Broke as broke:
                raise Failed(UNAVAILABLE, f"{what}: {broke}") from broke
        return bytes(raw)

    def _blob(self, digest: str, size: int) -> None:
        hasher, got, breaks = hashlib.sha256(), 0, 0
        while True:
            with self._ask("GET", f"blobs/{digest}", {"Range": f"bytes={got}-"} if got else {}) as response:
                _refused(response, self._left())
                if got and response.status != 206:
                    raise Failed(UNAVAILABLE, f"{digest} is not continued: {response.status}")
                try:
                    got += self._read(response, hasher.update)
                except _Broke as broke:
                    breaks = 1 if broke.got else breaks + 1
                    got += broke.got
                    if breaks > _BREAKS:
                        raise Failed(UNAVAILABLE, f"{digest}: {broke}") from broke
                    continue
            break
        self._check(digest, hasher.hexdigest(), got, size)

    def _check(self, digest: str, found: str, got: int, size: int) -> None:
        if got != size or digest != f"sha256:{found}":
            raise Failed(CORRUPT, f"{digest} came as sha256:{found}, {got} of {size} bytes")
        self._content[digest] = size

    def _read(self, response: http.client.HTTPResponse, take: Callable[[bytes], object]) -> int:
        got = 0
        while True:
            self._left()
            try:
                piece = response.read1(_PIECE)
            except TimeoutError as error:
                raise Failed(UNAVAILABLE, "timed out") from error
            except (OSError, http.client.HTTPException) as error:
                raise _Broke(got) from error
            if not piece:
                break
            take(piece)
            got += len(piece)
        if response.length:
            raise _Broke(got)
        return got

    def _ask(self, method: str, what: str, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
        wanted = {"Accept": ACCEPT} | (headers or {})
        path = f"{self._image.path}/{what}"
        response = self._once(method, path, wanted)
        challenge = response.headers.get("WWW-Authenticate", "")
        if response.status == 401 and challenge.startswith("Bearer "):
            response.read()
            response = self._once(method, path, wanted | {"Authorization": f"Bearer {self._token(challenge)}"})
        for _ in range(5):
            if response.status not in (301, 302, 307, 308):
                return response
            response.close()
            host, _, rest = response.headers.get("Location", "").removeprefix("http://").partition("/")
            response = self._once(method, f"/{rest}", wanted, host)
        raise Failed(UNAVAILABLE, f"{what}: too many redirects")

    def _token(self, challenge: str) -> str:
        fields = dict(part.split("=", 1) for part in challenge.removeprefix("Bearer ").split(","))
        host, _, rest = fields["realm"].strip('"').removeprefix("http://").partition("/")
        with self._once("GET", f"/{rest}", {}, host) as response:
            _refused(response, self._left())
            token: str = json.loads(response.read())["token"]
            return token

    def _once(self, method: str, path: str, headers: dict[str, str], host: str = "") -> http.client.HTTPResponse:
        try:
            if host or self._puller.tls is None:
                connection = http.client.HTTPConnection(host or self._puller.host, timeout=self._left())
            else:
                connection = http.client.HTTPSConnection(
                    self._puller.host, timeout=self._left(), context=self._puller.tls
                )
            self._connections.append(connection)
            connection.request(method, path, headers=headers | {"Connection": "close"})
            return connection.getresponse()
        except ssl.SSLError as error:
            raise Failed("TLS", f"{method} {path}: {error}") from error
        except (OSError, http.client.HTTPException) as error:
            raise Failed(UNAVAILABLE, f"{method} {path}: {error!r}") from error

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise Failed(UNAVAILABLE, f"not within {self._puller.seconds:.0f} s")
        return left


def _for_this_platform(manifests: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return next(one for one in manifests if one["platform"]["architecture"] == "amd64")


def _refused(response: http.client.HTTPResponse, _left: float) -> None:
    if response.status < 300:
        return
    try:
        body = response.read(_LONGEST_ERROR)
        reason = json.loads(body)["errors"][0]["detail"]["reason"]
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        reason = ""
    kind = _BY_REASON.get(reason) or _BY_STATUS.get(response.status, UNAVAILABLE)
    raise Failed(kind, f"{response.status} {reason}".strip())
