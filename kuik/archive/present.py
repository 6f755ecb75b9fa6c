"""Which platforms of an image are there, where only some of those that its index names were kept."""

from registry.contents import Load, contents
from registry.digest import Digest
from registry.manifest import Manifest, Platform


def platforms_there(root: Manifest, load: Load) -> tuple[frozenset[Platform], tuple[Digest, ...]]:
    """The platforms to copy, empty for all, and the manifests that are missing for good.

    `load` gives None for a manifest that is not there. Where an index lacks some and has others, those of the others
    are the image as it was kept, and nothing is missing; where it has none at all, everything is.
    """
    found = contents(root, frozenset(), load)
    if not found.absent:
        return frozenset(), ()
    absent = frozenset(found.absent)
    here = frozenset(
        child.platform
        for manifest in found.manifests
        for child in manifest.manifests
        if child.digest not in absent and child.platform and child.platform.os not in ("", "unknown")
    )
    return here, () if here else found.absent
