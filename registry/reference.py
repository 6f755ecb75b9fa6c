"""Image references, as people write them and as kuik names them.

The grammar is the one of the distribution project's `reference` package, which containerd and
kubelet use: `[host[:port]/]path[:tag][@digest]`, with Docker Hub as the default host.
"""

import re
from dataclasses import dataclass, replace
from typing import Self

from registry.digest import Digest, InvalidDigest

DOCKER_HUB = "docker.io"
DEFAULT_TAG = "latest"
MAX_REPOSITORY = 255
MAX_TAG = 128

_HUB_ALIASES = {"docker.io", "index.docker.io"}
_HOST_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = re.compile(rf"(?:{_HOST_LABEL}(?:\.{_HOST_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]{{1,5}})?")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{MAX_TAG - 1}}}")
_IMAGE_ID = re.compile(r"(?:sha256:)?[a-f0-9]{64}")


class InvalidReference(ValueError):
    """The text is not an image reference; the message says which part is wrong."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One image: `host` (lower case, with a port where one is given), `repository`, and a `tag`, a `digest` or both.

    `str()` gives the canonical name, which `parse` reads back to an equal value. References sort by their parts.
    """

    host: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a reference as people write it; raises InvalidReference.

        `nginx` is `docker.io/library/nginx:latest`; a host is recognised, as containerd does, by a dot, a port,
        capital letters or the name `localhost`.
        """
        if not text:
            raise InvalidReference("the image reference is empty")
        if _IMAGE_ID.fullmatch(text):
            raise InvalidReference(f"image {text!r} looks like an image ID; name a repository and a tag or digest")
        name, digest = _split_digest(text)
        name, tag = _split_tag(name, text)
        host, repository = _split_host(name, text)
        if tag is None and digest is None:
            tag = DEFAULT_TAG
        return cls(host, repository, tag, digest)

    @property
    def name(self) -> str:
        """`host/repository`, without tag or digest."""
        return f"{self.host}/{self.repository}"

    @property
    def target(self) -> str:
        """What to ask a registry for: the digest where there is one, else the tag."""
        return str(self.digest) if self.digest else self.tag or DEFAULT_TAG

    @property
    def identity(self) -> Self:
        """The same image by what identifies it: with a tag and a digest given, the digest alone."""
        return replace(self, tag=None) if self.digest else self

    @property
    def anchor(self) -> str:
        """The tag that holds this image in a registry: its own, or `digest-<hex>` for an image named by digest."""
        return f"digest-{self.digest.hex}"[:MAX_TAG] if self.digest else self.tag or DEFAULT_TAG

    def with_digest(self, digest: Digest) -> Self:
        """The image of the same repository that has this digest."""
        return replace(self, tag=None, digest=digest)

    def __lt__(self, other: "Reference") -> bool:
        return self._order < other._order

    @property
    def _order(self) -> tuple[str, str, str, str]:
        return self.host, self.repository, self.tag or "", str(self.digest or "")

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def check_repository(repository: str) -> None:
    """Raise InvalidReference unless `repository` is a repository path (distribution-spec, "Pulling manifests")."""
    if len(repository) > MAX_REPOSITORY:
        raise InvalidReference(f"repository {repository[:40]!r}… is longer than {MAX_REPOSITORY} characters")
    for component in repository.split("/"):
        if not _COMPONENT.fullmatch(component):
            hint = " (repositories are lower case)" if component != component.lower() else ""
            raise InvalidReference(f"repository {repository!r}: {component!r} is not a valid path component{hint}")


def is_tag(text: str) -> bool:
    """Whether `text` has the form of a tag."""
    return _TAG.fullmatch(text) is not None


def is_host(text: str) -> bool:
    """Whether `text` has the form of a registry's host, with or without a port."""
    return _HOST.fullmatch(text) is not None


def names_a_host(segment: str) -> bool:
    """Whether the first segment of a lower-case name is a host, and not the beginning of a Docker Hub repository."""
    return "." in segment or ":" in segment or segment == "localhost"


def _split_digest(text: str) -> tuple[str, Digest | None]:
    name, at, digest = text.partition("@")
    if not at:
        return name, None
    try:
        return name, Digest.parse(digest)
    except InvalidDigest as error:
        raise InvalidReference(f"image {text!r}: {error}") from error


def _split_tag(name: str, text: str) -> tuple[str, str | None]:
    slash, colon = name.rfind("/"), name.rfind(":")
    if colon <= slash:
        return name, None
    tag = name[colon + 1 :]
    if not is_tag(tag):
        raise InvalidReference(f"image {text!r}: {tag!r} is not a valid tag")
    return name[:colon], tag


def _split_host(name: str, text: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if not slash or not (names_a_host(first) or first != first.lower()):
        host, repository = DOCKER_HUB, name
    else:
        host, repository = first.lower(), rest
    if not names_a_host(host):
        # containerd would ask a host of this name; written in lower case it would be a repository on Docker Hub.
        raise InvalidReference(f"image {text!r}: {first!r} has capital letters; write repositories in lower case")
    if not is_host(host):
        raise InvalidReference(f"image {text!r}: {host!r} is not a valid registry host")
    host = DOCKER_HUB if host in _HUB_ALIASES else host
    if not repository:
        raise InvalidReference(f"image {text!r} names no repository")
    if host == DOCKER_HUB and "/" not in repository:
        if _IMAGE_ID.fullmatch(repository):
            raise InvalidReference(f"image {text!r}: {repository!r} looks like an image ID, not a repository")
        repository = f"library/{repository}"
    try:
        check_repository(repository)
    except InvalidReference as error:
        raise InvalidReference(f"image {text!r}: {error}") from error
    return host, repository
