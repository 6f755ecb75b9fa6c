"""The proof, in a private image's own name, that its pod was given it: no more than a keyed hash of the repository.

Whoever knows the key can check it, so the node proxy asks nobody. It opens one repository, with all of its tags.
"""

import hmac
import re
from collections.abc import Iterable

from registry.reference import Reference

LENGTH = 32
"""Hex digits: 128 bits, which nobody guesses."""

_FORM = re.compile(rf"[0-9a-f]{{{LENGTH}}}")


def capability(key: bytes, reference: Reference) -> str:
    """What opens the repository of `reference`: the first 32 hex digits of HMAC-SHA256(key, `host/repository`)."""
    if not key:
        raise ValueError("the key of capabilities is empty")
    return hmac.digest(key, reference.name.encode(), "sha256").hex()[:LENGTH]


def is_capability(text: str) -> bool:
    """Whether `text` has the form of one."""
    return _FORM.fullmatch(text) is not None


def opens(given: str, reference: Reference, keys: Iterable[bytes]) -> bool:
    """Whether `given` opens the repository of `reference` by one of the keys: the current and the one before it."""
    if not is_capability(given):
        return False
    matches = [hmac.compare_digest(given, capability(key, reference)) for key in keys if key]
    return any(matches)
