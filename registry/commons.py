"""Layers that many images share: sent to a registry once, and mounted wherever else they are needed.

A registry cannot be asked which of its repositories has a blob, but it mounts one when told the repository
(distribution-spec, "Mounting a blob from another repository"). So every layer of a public image is linked in one
repository more, which is asked before anything is sent; where it has nothing, the session that the registry opens
instead carries the upload, so a question in vain costs nothing. A link is no copy, and keeps nothing alive: what no
manifest names is collected.

Private images take from there and never give: bytes of one could else be had by who knows their digest, by a manifest
that names it, without ever having been able to pull them.
"""

from contextlib import suppress
from dataclasses import replace

from registry.client import Client
from registry.errors import RegistryError, ServerFailure, Unreachable
from registry.manifest import Descriptor
from registry.push import Upload
from registry.reference import Reference

REPOSITORY = "zz-public-layers"
"""No image's: that has a host before its first slash. It is the last in a registry's order since distribution 3, when
it collects garbage, drops the links of a repository to all that no repository before it needs."""
WORTH = 32 * 1024
"""Bytes of a blob that is linked and looked for: configs and the like are an image's own."""


class Commons:
    """The shared layers of one registry; `gives` where the images that are copied there are public."""

    def __init__(self, client: Client, *, gives: bool) -> None:
        self._client = client
        self._takes = True
        self._gives = gives

    def begin(self, place: Reference, blob: Descriptor) -> Upload | None:
        """Mount the blob into the repository of `place`, or open an upload for it; None when it was mounted.

        Raises what opening an upload raises.
        """
        if self._takes and blob.size >= WORTH:
            try:
                return self._client.mount_or_begin(place, blob.digest, REPOSITORY)
            except RegistryError as error:
                if isinstance(error, Unreachable) and not isinstance(error, ServerFailure):
                    raise
                if not error.temporary:  # it does not know of mounts, or forbids them
                    self._takes = self._gives = False
        return self._client.begin_upload(place)

    def add(self, place: Reference, blob: Descriptor) -> None:
        """Link a blob that the repository of `place` has; where that fails, others send the layer once more."""
        if not self._gives or blob.size < WORTH:
            return
        linked = False
        with suppress(RegistryError):
            linked = self._client.mount_blob(
                replace(place, repository=REPOSITORY, tag=None, digest=None), blob.digest, place.repository
            )
        self._gives = linked
