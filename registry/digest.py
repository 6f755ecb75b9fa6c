"""Content digests (OCI image-spec, descriptor.md, "Digests")."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

HEX_LENGTH = {"sha256": 64, "sha384": 96, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+")


class Hasher(Protocol):
    """The part of hashlib's objects that streaming code uses."""

    def update(self, data: bytes | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


_HASHERS: dict[str, Callable[[], Hasher]] = {
    "sha256": hashlib.sha256,
    "sha384": hashlib.sha384,
    "sha512": hashlib.sha512,
}


class InvalidDigest(ValueError):
    """The text is not a digest that can be verified; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A digest such as `sha256:6c3c…`: `algorithm` and lower-case `hex`, always both."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `algorithm:hex`; raises InvalidDigest."""
        algorithm, colon, value = text.partition(":")
        if not colon:
            raise InvalidDigest(f"digest {text!r} has no algorithm: write it as sha256:<64 hex digits>")
        length = HEX_LENGTH.get(algorithm)
        if length is None:
            known = ", ".join(HEX_LENGTH)
            raise InvalidDigest(f"digest {text!r}: algorithm {algorithm!r} is not one of {known}")
        if len(value) != length or not _HEX.fullmatch(value):
            raise InvalidDigest(f"digest {text!r}: {algorithm} needs {length} lower-case hex digits")
        return cls(algorithm, value)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Self:
        """The digest of `data`."""
        hasher = _HASHERS[algorithm]()
        hasher.update(data)
        return cls(algorithm, hasher.hexdigest())

    def hasher(self) -> Hasher:
        """A new hasher of this digest's algorithm, to feed while bytes pass."""
        return _HASHERS[self.algorithm]()

    def matches(self, hasher: Hasher) -> bool:
        """Whether what `hasher` was fed is this content."""
        return hasher.hexdigest() == self.hex

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"
