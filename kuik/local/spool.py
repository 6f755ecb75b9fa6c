"""The shield's spool in a store's folder."""

from pathlib import Path

from proxy.shield.spool import Spool
from registry.blobs import BlobFolder


def open_spool(store: Path, size: int) -> Spool:
    """The spool of the store in this folder, of at most `size` bytes."""
    return Spool(BlobFolder(store / "spool"), size)
