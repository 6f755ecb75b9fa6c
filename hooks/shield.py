"""The client of the origin shield's facts: short questions to which anything but a good answer is Unknown."""

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from hooks.facts import PRIVATE, PUBLIC, Access, ImageFacts, Known, Proof, Secret, Unknown
from hooks.savings import Count
from registry.digest import Digest, InvalidDigest
from registry.reference import InvalidReference, Reference
from registry.rendezvous import manifest_key, ordered

MAX_SECRETS = 1000
"""Proofs that are taken of one image: as many as a CachedImage's status holds."""

_MAX_ACCESS = 4096
_MAX_FACTS = 512 * 1024
_PIECE = 16 * 1024
_MAX_NAMESPACE = 63
_MAX_NAME = 253


@dataclass(frozen=True, slots=True)
class Shield:
    """Asks the shield for facts. `timeout` is in seconds for one question; raises ValueError for an unusable `url`.

    `url` may name several replicas, with spaces between. The one that fetches an image's manifests, as all callers
    have it, knows the image; where it does not answer in its share of the time the next one is asked.
    """

    url: str
    token: str = field(default="", repr=False)
    timeout: float = 0.3

    def __post_init__(self) -> None:
        for url in self.replicas or ("",):
            if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
                raise ValueError(f"{url!r}: write it as http://host:port")

    @property
    def replicas(self) -> tuple[str, ...]:
        """The URL of each."""
        return tuple(self.url.replace(",", " ").split())

    def access(self, reference: Reference) -> Access:
        """Whether anyone may pull the image."""
        said = self._ask("/facts/access", str(reference), _MAX_ACCESS)
        if isinstance(said, Unknown):
            return said
        access = said.get("access")
        return Known(access) if access in (PUBLIC, PRIVATE) else Unknown("the shield does not know")

    def facts(self, image: str) -> ImageFacts:
        """What the shield knows of an image (its canonical name): who may pull it, and upstream's digest for it."""
        said = self._ask("/facts/image", image, _MAX_FACTS)
        if isinstance(said, Unknown):
            return ImageFacts(said, said)
        if said.get("image") != image:
            doubt = Unknown("the shield spoke of another image")
            return ImageFacts(doubt, doubt)
        return ImageFacts(_proof(said.get("access")), _upstream(said.get("upstream")))

    def count(self, replica: str) -> Count | None:
        """What one of the replicas counted; None where it does not answer, or not well."""
        try:
            status, body = self._get("/facts/savings", _MAX_ACCESS, replica)
            said = json.loads(body) if status == 200 else None
            return Count.read(said) if isinstance(said, dict) else None
        except (OSError, http.client.HTTPException, ValueError, RecursionError):
            return None

    def _ask(self, path: str, image: str, most: int) -> Mapping[str, Any] | Unknown:
        silent = Unknown("there is no shield to ask")
        for replica in self._ordered(image):
            try:
                status, body = self._get(f"{path}?{urlencode({'image': image})}", most, replica)
                said = json.loads(body) if status == 200 else {}
            except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
                silent = Unknown(f"the shield did not answer: {type(error).__name__}")
            else:
                return said if isinstance(said, dict) else Unknown("the shield's answer is not an object")
        return silent

    def _ordered(self, image: str) -> tuple[str, ...]:
        """The replicas as everybody asks them: told apart by host and port, by the key of the image's manifests."""
        by_host = {urlsplit(url).netloc: url for url in self.replicas}
        try:
            key = manifest_key(Reference.parse(image))
        except InvalidReference:
            key = image
        return tuple(by_host[host] for host in ordered(by_host, key))

    def _get(self, path: str, most: int, replica: str = "") -> tuple[int, bytes]:
        parts, timeout = urlsplit(replica or self.replicas[0]), self.timeout / len(self.replicas)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(str(parts.hostname), parts.port, timeout=timeout)
        headers = {"Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        until = time.monotonic() + timeout
        try:
            connection.request("GET", parts.path.rstrip("/") + path, headers=headers)
            response = connection.getresponse()
            return response.status, _read(response, most, until)
        finally:
            connection.close()


def _read(response: http.client.HTTPResponse, most: int, until: float) -> bytes:
    """The body, in time: a server that sends byte after byte would outlast any timeout of the socket."""
    pieces: list[bytes] = []
    size = 0
    while piece := response.read1(_PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > most:
            raise ValueError("the answer is too long")
        if time.monotonic() > until:
            raise TimeoutError("the answer takes too long")
    return b"".join(pieces)


def _proof(said: Any) -> Known[Proof] | Unknown:
    visibility = said.get("visibility") if isinstance(said, dict) else None
    if visibility == PUBLIC:
        return Known(Proof(PUBLIC))
    secrets = said.get("secrets") if isinstance(said, dict) else None
    if visibility != PRIVATE or not isinstance(secrets, list):
        return Unknown("the shield does not know who may pull it")
    found = [_secret(entry) for entry in secrets]
    if len(found) > MAX_SECRETS:
        return Unknown(f"the shield names more than {MAX_SECRETS} secrets")
    if None in found:
        return Unknown("the shield names a secret in a way that is not understood")
    return Known(Proof(PRIVATE, frozenset(secret for secret in found if secret)))


def _secret(entry: Any) -> Secret | None:
    if not isinstance(entry, dict):
        return None
    namespace, name = entry.get("namespace"), entry.get("secret")
    if not isinstance(namespace, str) or not isinstance(name, str):
        return None
    fits = 0 < len(namespace) <= _MAX_NAMESPACE and 0 < len(name) <= _MAX_NAME
    return (namespace, name) if fits else None


def _upstream(said: Any) -> Known[str | None] | Unknown:
    if not isinstance(said, dict):
        return Unknown("the shield does not know")
    if said.get("gone") is True and "digest" not in said:
        return Known(None)
    try:
        return Known(str(Digest.parse(str(said.get("digest")))))
    except InvalidDigest:
        return Unknown("the shield names no digest that can be read")
