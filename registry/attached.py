"""Tags that belong to an image though nobody names them: what was attached to a digest, by cosign or as a referrer.

`sha256-<hex>` is the referrers' index of a digest where the registry has none of its own (distribution-spec, "Referrers
Tag Schema"); with `.sig`, `.att` or `.sbom` behind, it is cosign's.
"""

import re

from registry.digest import Digest
from registry.manifest import Manifest

_ATTACHED = re.compile(r"(sha256|sha512)-([0-9a-f]{64,128})(\.[a-z0-9]{1,16})?")

COSIGN = ("sig", "att", "sbom")
"""The endings of cosign's tags."""


def fallback_tag(digest: Digest) -> str:
    """The tag of the index of what refers to this digest, where a registry does not answer the question itself."""
    return f"{digest.algorithm[:32]}-{digest.hex[:64]}"


def cosign_tags(digest: Digest) -> tuple[str, ...]:
    """The tags under which cosign keeps what belongs to this digest."""
    return tuple(f"{digest.algorithm}-{digest.hex}.{ending}" for ending in COSIGN)


def subject_of(tag: str) -> str | None:
    """The `fallback_tag` of the digest that a tag was attached to; None for any other tag."""
    found = _ATTACHED.fullmatch(tag)
    return f"{found[1]}-{found[2][:64]}" if found else None


def subjects(manifest: Manifest) -> frozenset[Digest]:
    """What something may be attached to of an image: itself, and for an index all that it names."""
    return frozenset({manifest.digest, *(child.digest for child in manifest.manifests)})
