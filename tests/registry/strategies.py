"""Hypothesis strategies for names of images, broad on purpose: whatever a registry may be called."""

from hypothesis import strategies as st

from registry.digest import HEX_LENGTH, Digest
from registry.reference import DOCKER_HUB, Reference

_ALPHANUMERIC = "abcdefghijklmnopqrstuvwxyz0123456789"


def labels() -> st.SearchStrategy[str]:
    """DNS labels, with runs of hyphens in them."""
    return st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)


def hosts() -> st.SearchStrategy[str]:
    """Registry hosts in canonical form: a domain, an address, or any name with a port."""
    names = st.lists(labels(), min_size=2, max_size=4).map(".".join)
    ports = st.integers(1, 65535)
    with_port = st.builds("{}:{}".format, names | labels(), ports)
    fixed = st.sampled_from([DOCKER_HUB, "localhost", "ghcr.io", "10.0.0.1", "localhost:5000"])
    return (names | with_port | fixed).filter(lambda host: host != "index.docker.io")


def components() -> st.SearchStrategy[str]:
    """Path components, with every separator that the grammar allows."""
    word = st.text(_ALPHANUMERIC, min_size=1, max_size=6)
    separator = st.sampled_from([".", "_", "__", "-", "--", "-----"])
    more = st.lists(st.tuples(separator, word).map("".join), max_size=3).map("".join)
    return st.builds("{}{}".format, word, more)


def digests() -> st.SearchStrategy[Digest]:
    """Digests of every algorithm."""
    return st.builds(Digest.of, st.binary(max_size=8), st.sampled_from(sorted(HEX_LENGTH)))


def tags() -> st.SearchStrategy[str]:
    """Tags, up to the longest."""
    return st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True) | st.just("x" * 128)


@st.composite
def references(draw: st.DrawFn) -> Reference:
    """Canonical references: with a tag, a digest, or both."""
    host = draw(hosts())
    parts = draw(st.lists(components(), min_size=2 if host == DOCKER_HUB else 1, max_size=5))
    digest = draw(st.none() | digests())
    tag = draw(tags() if digest is None else st.none() | tags())
    return Reference(host, "/".join(parts), tag, digest)
