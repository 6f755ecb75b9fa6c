"""Whether a registry is what kuik needs: found out by doing it, with a tiny image in repositories of their own."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from registry.client import Client
from registry.credentials import Credentials
from registry.digest import Digest
from registry.errors import NotFound, RegistryError, Unauthorized
from registry.manifest import Descriptor, Manifest, parse_manifest
from registry.reference import Reference
from registry.requirements import REQUIREMENTS, Need, Requirement
from registry.transport import Transport, raise_for

REPOSITORY = "kuik.invalid__5000/check/a/b/c/d/e/f/g"
PRIVATE = f"private/{REPOSITORY}"
_OCI = "application/vnd.oci.image"
_DOCKER = "application/vnd.docker.distribution.manifest"
_LAYER = hashlib.shake_256(b"a layer of kuik's check").digest(4096)
_CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
_ONE, _OTHER = "kuik-check-one", "kuik-check-other"
_SETTLED = {Need.ANSWERS, Need.BLOBS}
"""Without these there is no sense in trying what comes after them."""


@dataclass(frozen=True)
class Finding:
    """One requirement: met, or `problem` says what was seen instead."""

    need: Need
    problem: str = ""

    @property
    def requirement(self) -> Requirement:
        return REQUIREMENTS[self.need]

    @property
    def fails(self) -> bool:
        """Whether kuik cannot do with this registry because of it."""
        return bool(self.problem) and self.requirement.must

    def __str__(self) -> str:
        if not self.problem:
            return f"ok       {self.need}: {self.requirement.what}"
        word = "FAILS  " if self.fails else "missing"
        return (
            f"{word}  {self.need}: {self.requirement.what}\n         {self.problem}\n         {self.requirement.advice}"
        )


@dataclass(frozen=True)
class Place:
    """A registry as one of kuik's components reaches it: `host` is `name:port`."""

    host: str
    credentials: Credentials | None = field(default=None, repr=False)


def check(transport: Transport, writer: Place, readers: Sequence[Place] = ()) -> Iterator[Finding]:
    """Find out about each requirement in turn; `readers` are where node proxies read what the writer wrote.

    Twice the same check writes the same bytes; its tags are deleted where that can be done.
    """
    probe = _Probe(transport, writer, readers or (writer,))
    try:
        for need, attempt in probe.attempts():
            problem = _problem(attempt)
            yield Finding(need, problem)
            if problem and need in _SETTLED:
                return
    finally:
        probe.clean()


class _Unmet(Exception):
    """It did something else; the message says what."""


def _problem(attempt: Callable[[], None]) -> str:
    try:
        attempt()
    except (RegistryError, _Unmet) as error:
        return str(error)
    return ""


class _Probe:
    """The attempts, each of which stands on those before it."""

    def __init__(self, transport: Transport, writer: Place, readers: Sequence[Place]) -> None:
        self._transport = transport
        self._writer = writer
        self._readers = readers
        known = {place.host: place.credentials for place in (*readers, writer)}
        self._client = Client(transport, lambda reference: [one] if (one := known.get(reference.host)) else [])
        self._image = _manifest(f"{_OCI}.manifest.v1+json", f"{_OCI}.config.v1+json")
        self._index = _index(f"{_OCI}.index.v1+json", self._image)

    def attempts(self) -> Iterator[tuple[Need, Callable[[], None]]]:
        yield Need.ANSWERS, self._answers
        yield Need.BLOBS, self._blobs
        yield Need.PATHS, lambda: self._push(PRIVATE)
        yield Need.RANGES, self._ranges
        yield Need.MANIFESTS, self._manifests
        yield Need.GUARDED, self._guarded
        yield Need.DOCKER, self._docker
        yield Need.SPARSE, lambda: self._comes_back(self._index, _ONE)
        yield Need.TAGS_MOVE, self._tags_move
        yield Need.LISTED, self._listed
        yield Need.FRESH, self._fresh
        yield Need.TAGS_GO, self._tags_go
        yield Need.CATALOG, self._catalog

    def clean(self) -> None:
        """Leave no tag behind where tags can be deleted."""
        for repository in (REPOSITORY, PRIVATE):
            for tag in (_ONE, _OTHER):
                with suppress(RegistryError):
                    self._client.delete(self._named(repository, tag))

    def _answers(self) -> None:
        for place in {self._writer, *self._readers}:
            with self._transport.send("GET", place.host, "/v2/", credentials=place.credentials) as response:
                raise_for(response, f"registry {place.host}")

    def _blobs(self) -> None:
        self._push(REPOSITORY)

    def _push(self, repository: str) -> None:
        place = self._named(repository, _ONE)
        for blob, content in zip(self._image.blobs, (_CONFIG, _LAYER), strict=True):
            self._client.push_blob(place, blob, [content])
            size = self._client.has_blob(place, blob.digest)
            if size != len(content):
                raise _Unmet(f"a HEAD of a blob of {len(content)} bytes told {size}")

    def _ranges(self) -> None:
        for place in self._readers:
            with self._transport.send(
                "GET",
                place.host,
                f"/v2/{REPOSITORY}/blobs/{self._image.layers[0].digest}",
                headers={"Range": "bytes=100-199"},
                credentials=place.credentials,
                scope=f"repository:{REPOSITORY}:pull",
            ) as response:
                raise_for(response, f"a blob of {place.host}")
                if response.status != 206 or response.read(len(_LAYER)) != _LAYER[100:200]:
                    raise _Unmet(f"{place.host} answered {response.status} with other bytes than were asked for")

    def _manifests(self) -> None:
        self._client.push_manifest(self._named(REPOSITORY).with_digest(self._image.digest), self._image)
        self._comes_back(self._image, _ONE)

    def _docker(self) -> None:
        image = _manifest(f"{_DOCKER}.v2+json", "application/vnd.docker.container.image.v1+json")
        self._client.push_manifest(self._named(REPOSITORY).with_digest(image.digest), image)
        self._comes_back(_index(f"{_DOCKER}.list.v2+json", image, absent=False), _OTHER)

    def _comes_back(self, manifest: Manifest, tag: str) -> None:
        self._client.push_manifest(self._named(REPOSITORY, tag), manifest)
        for place in self._readers:
            self._shows(place, tag, manifest)
            self._shows(place, "", manifest)

    def _shows(self, place: Place, tag: str, manifest: Manifest) -> None:
        name = self._named(REPOSITORY, tag, place)
        found = self._client.manifest(name if tag else name.with_digest(manifest.digest))
        if found.raw != manifest.raw or found.media_type != manifest.media_type:
            raise _Unmet(f"{name} came back with other bytes, or as {found.media_type}")

    def _tags_move(self) -> None:
        self._comes_back(self._image, _ONE)
        self._comes_back(self._image, _OTHER)

    def _listed(self) -> None:
        tags = self._client.tags(self._named(REPOSITORY))
        if not {_ONE, _OTHER} <= set(tags):
            raise _Unmet(f"the list of tags has {', '.join(tags[:10]) or 'nothing'}")

    def _fresh(self) -> None:
        for manifest in (_renamed(self._image), self._image):
            self._comes_back(manifest, _ONE)

    def _tags_go(self) -> None:
        self._client.delete(self._named(REPOSITORY, _ONE))
        for place in self._readers:
            try:
                self._client.head(self._named(REPOSITORY, _ONE, place))
            except NotFound:
                self._shows(place, _OTHER, self._image)
                self._shows(place, "", self._image)
            else:
                raise _Unmet(f"the tag is still there at {place.host} after it was deleted")

    def _guarded(self) -> None:
        anonymous = Client(self._transport)
        for place in {self._writer, *self._readers}:
            with suppress(Unauthorized, NotFound):
                anonymous.head(self._named(REPOSITORY, _ONE, place))
                raise _Unmet(f"{place.host} gave an image to somebody without credentials")

    def _catalog(self) -> None:
        with self._transport.send(
            "GET",
            self._writer.host,
            "/v2/_catalog?n=1",
            credentials=self._writer.credentials,
            scope="registry:catalog:*",
        ) as response:
            raise_for(response, f"the catalog of {self._writer.host}")

    def _named(self, repository: str, tag: str = "", place: Place | None = None) -> Reference:
        return Reference((place or self._writer).host, repository, tag=tag or None)


def _described(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}


def _manifest(media_type: str, config: str) -> Manifest:
    layer = (
        f"{_OCI}.layer.v1.tar" if media_type.startswith(_OCI) else "application/vnd.docker.image.rootfs.diff.tar.gzip"
    )
    parts = {"config": _described(config, _CONFIG), "layers": [_described(layer, _LAYER)]}
    return _parsed(media_type, parts)


def _renamed(manifest: Manifest) -> Manifest:
    """Another manifest of the same blobs."""
    document = json.loads(manifest.raw)
    return parse_manifest(
        json.dumps({**document, "annotations": {"dev.kuik.check": "1"}}).encode(), manifest.media_type
    )


def _index(media_type: str, child: Manifest, *, absent: bool = True) -> Manifest:
    """An index of the child, and of one that is nowhere."""
    here = {**_named_platform(child.descriptor, "amd64")}
    away = {**_named_platform(replace(child.descriptor, digest=Digest.of(b"nowhere")), "arm64")}
    return _parsed(media_type, {"manifests": [here, away] if absent else [here]})


def _named_platform(child: Descriptor, architecture: str) -> dict[str, Any]:
    platform = {"architecture": architecture, "os": "linux"}
    return {"mediaType": child.media_type, "digest": str(child.digest), "size": child.size, "platform": platform}


def _parsed(media_type: str, parts: dict[str, Any]) -> Manifest:
    # With spaces and its own order of keys, so that a registry which writes it anew is found out.
    raw = json.dumps({"schemaVersion": 2, "mediaType": media_type, **parts}, indent=1).encode()
    return parse_manifest(raw, media_type)
