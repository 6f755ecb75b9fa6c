"""Which of several equal replicas to ask first: rendezvous hashing, so that all callers agree without talking.

Every caller must know the replicas under the same names (such as `10.0.3.7:7440`). When one goes, only the keys that
it was first for move; when one comes, it takes its share from all others alike.
"""

from collections.abc import Iterable
from hashlib import blake2b

from registry.digest import Digest
from registry.reference import Reference


def ordered(replicas: Iterable[str], key: str) -> tuple[str, ...]:
    """The replicas, each once, in the order to ask them for `key`: the first answers unless it cannot."""
    return tuple(sorted(set(replicas), key=lambda replica: (_weight(replica, key), replica)))


def manifest_key(reference: Reference) -> str:
    """The key of everything of a repository but its blobs.

    A tag's HEAD, its GET and the GET of the digest that it leads to meet at one replica, which so asks upstream once.
    """
    return reference.name


def blob_key(digest: Digest) -> str:
    """The key of a blob, whichever repository it is asked for in."""
    return str(digest)


def _weight(replica: str, key: str) -> bytes:
    # The length keeps `a` with `b/c` apart from `a/b` with `c`.
    return blake2b(f"{len(replica)} {replica} {key}".encode(), digest_size=8).digest()
