"""From a URL path to what is asked for: the distribution API's paths in the two forms that kuik serves.

`/v2/<host>/<repository>/...` is how rewritten images are pulled (a registry's port is written `__5000`);
`/v2/<repository>/...?ns=<host>` is how containerd asks a mirror. Private repositories have the first form alone:
`/v2/private/<capability>/<host>/<repository>/...` at the node proxy, `/v2/private/<host>/<repository>/...` behind it.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from proxy.errors import DigestInvalid, MethodRefused, NameInvalid, NameUnknown
from registry.capability import is_capability
from registry.digest import Digest, InvalidDigest
from registry.errors import NotFound
from registry.proxied import PRIVATE_SEGMENT, host_to_segment, segment_to_host
from registry.reference import DOCKER_HUB, InvalidReference, Reference, check_repository, is_host, is_tag, names_a_host

MAX_PATH = 1024
_ADVICE = f"write the image's full name, such as {DOCKER_HUB}/library/nginx"
_AFTER_PRIVATE = re.compile(rf"(?<=/{PRIVATE_SEGMENT}/)[^/.]+(?=/|$)")


class Kind(StrEnum):
    """What of a repository is asked for; the value is the word in the path."""

    BASE = ""
    MANIFEST = "manifests"
    BLOB = "blobs"
    REFERRERS = "referrers"
    TAGS = "tags"


@dataclass(frozen=True)
class Route:
    """One thing of one repository. `target` is a tag or a digest, as text that was checked; empty for BASE and TAGS.

    A `private` one is answered only from what is private. `capability` is what the client showed for it, unchecked; it
    is no part of what the route names.
    """

    host: str
    repository: str
    kind: Kind
    target: str = ""
    private: bool = False
    capability: str = field(default="", compare=False, repr=False)

    @cached_property
    def digest(self) -> Digest | None:
        """The target as a digest; None when it is a tag or nothing."""
        return Digest.parse(self.target) if ":" in self.target else None

    @property
    def reference(self) -> Reference:
        """The image that a manifest's route names; the repository alone (with a digest or not) for other kinds."""
        if self.digest:
            return Reference(self.host, self.repository, digest=self.digest)
        return Reference(self.host, self.repository, tag=self.target or None)

    @property
    def path(self) -> str:
        """The path of the first form, which parses to this route again and which registry and shield serve."""
        last = "list" if self.kind is Kind.TAGS else self.target
        where = f"{PRIVATE_SEGMENT}/" if self.private else ""
        return f"/v2/{where}{host_to_segment(self.host)}/{self.repository}/{self.kind}/{last}"

    def __str__(self) -> str:
        if self.kind in (Kind.BASE, Kind.TAGS):
            return f"{self.host}/{self.repository} {self.kind}".strip(" /")
        return f"{self.host}/{self.repository}{'@' if self.digest else ':'}{self.target}"


BASE = Route("", "", Kind.BASE)
"""`/v2/` itself: the question whether this is a registry."""


def parse(path: str, ns: str | None = None) -> Route:
    """Read a decoded URL path, with the value of the query's `ns` where there is one.

    Raises NameUnknown for paths that are none of the API or that name no registry, NameInvalid, DigestInvalid,
    NotFound (a tag that cannot exist) and MethodRefused (uploads).
    """
    if path in ("/v2", "/v2/"):
        return BASE
    if not path.startswith("/v2/") or len(path) > MAX_PATH:
        raise NameUnknown("this is a registry of the distribution API: ask for /v2/<registry>/<repository>/...")
    name, kind, target = _split(path.removeprefix("/v2/"))
    private, capability = False, ""
    if not ns and name.startswith(f"{PRIVATE_SEGMENT}/"):
        private, (capability, name) = True, _private(name)
    host, repository = _mirrored(name, ns) if ns else _rewritten(name)
    return Route(host, repository, kind, _checked(kind, target), private, capability)


def shown(path: str) -> str:
    """A path fit for a log: short, and without the capability that may be in it."""
    return _AFTER_PRIVATE.sub("…", path)[:300]


def _split(rest: str) -> tuple[str, Kind, str]:
    """Name, kind and target, matched from the right as a repository may be called `manifests`."""
    parts = rest.split("/")
    if len(parts) > 2 and parts[-2:] == ["tags", "list"]:
        return "/".join(parts[:-2]), Kind.TAGS, ""
    if _is_upload(parts):
        raise MethodRefused("uploads are refused: kuik serves images and takes none; push to the registry itself")
    if len(parts) > 2 and parts[-2] in (Kind.MANIFEST, Kind.BLOB, Kind.REFERRERS):
        return "/".join(parts[:-2]), Kind(parts[-2]), parts[-1]
    raise NameUnknown(
        "the path is none of the distribution API: it ends in manifests/…, blobs/…, referrers/… or tags/list"
    )


def _is_upload(parts: list[str]) -> bool:
    return any(parts[at : at + 2] == ["blobs", "uploads"] for at in (len(parts) - 2, len(parts) - 3) if at > 0)


def _checked(kind: Kind, target: str) -> str:
    if kind is Kind.TAGS:
        return ""
    if kind is Kind.MANIFEST and ":" not in target:
        if not is_tag(target):
            raise NotFound(f"{target[:80]!r} is not a valid tag, so there is no such manifest")
        return target
    try:
        return str(Digest.parse(target[:160]))
    except InvalidDigest as error:
        raise DigestInvalid(str(error)) from error


def _private(name: str) -> tuple[str, str]:
    """The capability (empty where there is none) and the rest of the name; what is none is not repeated to anybody."""
    first, _, rest = name.removeprefix(f"{PRIVATE_SEGMENT}/").partition("/")
    if is_capability(first):
        return first, rest
    if not names_a_host(first.replace("__", ":")):
        raise NameUnknown(f"below {PRIVATE_SEGMENT}/ comes a capability, then a registry's host")
    return "", f"{first}/{rest}" if rest else first


def _rewritten(name: str) -> tuple[str, str]:
    segment, _, repository = name.partition("/")
    try:
        host = segment_to_host(segment)
    except InvalidReference as error:
        raise NameUnknown(f"{error}; {_ADVICE}") from error
    return _named(host, repository)


def _mirrored(name: str, ns: str) -> tuple[str, str]:
    host = ns.lower()
    if not is_host(host) or not names_a_host(host) or host.startswith("["):
        raise NameInvalid(f"ns={ns[:80]!r} is not a registry's host")
    return _named(host, name)


def _named(host: str, repository: str) -> tuple[str, str]:
    """The canonical name, as Reference has it."""
    if not repository:
        raise NameInvalid(f"{host!r} names a registry but no repository")
    try:
        check_repository(repository)
    except InvalidReference as error:
        raise NameInvalid(str(error)) from error
    if host in (DOCKER_HUB, "index.docker.io"):
        return DOCKER_HUB, repository if "/" in repository else f"library/{repository}"
    return host, repository
