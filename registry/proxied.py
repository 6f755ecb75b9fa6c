"""The two names of an image: its own, and the one under which the node proxy serves it.

`reg:5000/a/b:1` is pulled from the proxy as `localhost:7439/reg__5000/a/b:1`. A path cannot hold a colon, and a host
name never holds an underscore, so the two names map to each other one to one. A private image is pulled as
`localhost:7439/private/<capability>/reg__5000/a/b:1`; `private` is no host, so that nothing else has such a name.
"""

from dataclasses import replace

from registry.capability import is_capability
from registry.reference import InvalidReference, Reference, check_repository, is_host, names_a_host

DEFAULT_PROXY = "localhost:7439"
PRIVATE_SEGMENT = "private"
_PORT_MARK = "__"


def host_to_segment(host: str) -> str:
    """A registry host as the first path segment; raises InvalidReference for hosts that a path cannot hold."""
    if host.startswith("["):
        raise InvalidReference(f"registry host {host!r}: an IPv6 literal cannot be part of an image path")
    return host.replace(":", _PORT_MARK)


def segment_to_host(segment: str) -> str:
    """The registry host that a first path segment stands for; raises InvalidReference when it is none."""
    host = segment.replace(_PORT_MARK, ":")
    if not is_host(host) or host != host.lower() or not names_a_host(host):
        raise InvalidReference(f"{segment!r} does not name a registry host")
    return host


def proxied(reference: Reference, proxy: str = DEFAULT_PROXY, capability: str = "") -> Reference:
    """The name of `reference` at the proxy (`host:port`), the private one where a capability is given.

    Raises InvalidReference where there is none.
    """
    if capability and not is_capability(capability):
        raise InvalidReference("the capability is not 32 hex digits")
    inside = f"{PRIVATE_SEGMENT}/{capability}/" if capability else ""
    repository = f"{inside}{host_to_segment(reference.host)}/{reference.repository}"
    check_repository(repository)
    return replace(reference, host=proxy, repository=repository)


def inside(reference: Reference, host: str, *, private: bool = False) -> Reference:
    """The place of `reference` at the shield and in the cluster's registry: a private one is below `private/`.

    Raises InvalidReference where there is none.
    """
    place = proxied(reference, host)
    if not private:
        return place
    repository = f"{PRIVATE_SEGMENT}/{place.repository}"
    check_repository(repository)
    return replace(place, repository=repository)


def split_private(path: str) -> tuple[str, str]:
    """The capability in a repository's path at the proxy, empty for a public one, and the path without it.

    Raises InvalidReference where a path begins as a private one and has no capability.
    """
    segment, slash, rest = path.partition("/")
    if not slash or segment != PRIVATE_SEGMENT:
        return "", path
    capability, _, inside = rest.partition("/")
    if not is_capability(capability):
        raise InvalidReference(f"a path below {PRIVATE_SEGMENT}/ needs a capability of 32 hex digits")
    return capability, inside


def original(reference: Reference) -> Reference:
    """The image behind a name at the proxy, public or private, in its canonical form.

    Raises InvalidReference when there is none.
    """
    _, path = split_private(reference.repository)
    segment, _, repository = path.partition("/")
    if not repository:
        raise InvalidReference(f"{reference} names a registry host but no repository")
    return Reference.parse(str(replace(reference, host=segment_to_host(segment), repository=repository)))
