"""The two names of an image: its own, and the one under which the node proxy serves it.

`reg:5000/a/b:1` is pulled from the proxy as `localhost:7439/reg__5000/a/b:1`. A path cannot hold a colon, and a host
name never holds an underscore, so the two names map to each other one to one.
"""

from dataclasses import replace

from registry.reference import InvalidReference, Reference, check_repository, is_host, names_a_host

DEFAULT_PROXY = "localhost:7439"
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


def proxied(reference: Reference, proxy: str = DEFAULT_PROXY) -> Reference:
    """The name of `reference` at the proxy (`host:port`); raises InvalidReference where there is none."""
    repository = f"{host_to_segment(reference.host)}/{reference.repository}"
    check_repository(repository)
    return replace(reference, host=proxy, repository=repository)


def original(reference: Reference) -> Reference:
    """The image behind a name at the proxy, in its canonical form; raises InvalidReference when there is none."""
    segment, _, repository = reference.repository.partition("/")
    if not repository:
        raise InvalidReference(f"{reference} names a registry host but no repository")
    return Reference.parse(str(replace(reference, host=segment_to_host(segment), repository=repository)))
