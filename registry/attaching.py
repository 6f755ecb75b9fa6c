"""Copying what is attached to an image that is at the target already (`registry.referrers` finds it)."""

from functools import partial

from registry.copy import Source
from registry.digest import Digest
from registry.errors import RegistryError
from registry.manifest import Descriptor
from registry.reference import Reference
from registry.referrers import Attached, Refers, attached_to
from registry.targets import RegistryTarget


def copy_attached(reference: Reference, digest: Digest, source: Source, target: RegistryTarget) -> tuple[str, ...]:
    """Keep what refers to the image `digest`, and to the platforms of it that the target has; gives notes for people.

    What cannot be had for good is left out with a note, so that no image fails for a signature that is lost. Raises
    what is temporary.
    """
    if not isinstance(source, Refers):
        return (f"what is attached to {reference} was left out: its source cannot tell",)
    notes: list[str] = []
    root = target.manifest(reference, Descriptor("", digest, 0))
    children = root.manifests if root and root.is_index else ()
    there = (child.digest for child in children if target.manifest(reference, child))
    for subject in (digest, *there):
        try:
            for found in attached_to(reference, (subject,), source):
                _keep(reference, found, source, target)
        except RegistryError as error:
            if error.temporary:
                raise
            notes.append(f"something attached to {subject} was left out: {error}")
    return tuple(notes)


def _keep(reference: Reference, found: Attached, source: Source, target: RegistryTarget) -> None:
    for manifest in found.manifests:
        for blob in manifest.blobs:
            target.put_blob(reference, blob, partial(source.open_blob, reference, blob.digest))
        target.put_manifest(reference, manifest)
    target.attach(reference, found.tag, found.manifests[-1])
