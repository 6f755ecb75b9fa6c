"""Bytes proven while they pass: nobody gets the end of a blob before its size and digest are right."""

from collections.abc import Iterable, Iterator

from registry.digest import Digest
from registry.errors import Corrupt


def verified(pieces: Iterable[bytes], digest: Digest, size: int | None = None) -> Iterator[bytes]:
    """Pass `pieces` on, the last one only after all of them together are proven to be `digest`.

    `size` is in bytes, where it is known. Raises Corrupt for other content, and as soon as there are too many bytes.
    """
    hasher = digest.hasher()
    seen = 0
    held: bytes | None = None
    for piece in pieces:
        if not piece:
            continue
        hasher.update(piece)
        seen += len(piece)
        if size is not None and seen > size:
            raise Corrupt(f"blob {digest} has more than the {size} bytes that its descriptor says")
        if held is not None:
            yield held
        held = piece
    if size is not None and seen < size:
        raise Corrupt(f"blob {digest} ended after {seen} of {size} bytes")
    if not digest.matches(hasher):
        raise Corrupt(f"the {seen} bytes received are not blob {digest}")
    if held is not None:
        yield held
