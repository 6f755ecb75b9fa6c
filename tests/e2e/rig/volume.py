"""The registry's volumes, as the machine that holds them sees their files."""

import json
import shutil
from pathlib import Path

from registry.digest import Digest
from tests.e2e.rig.install import NAMESPACE, Installed


class Volume:
    """The volume of the registry's replica with that number."""

    def __init__(self, kuik: Installed, number: int) -> None:
        self._kuik = kuik
        self._replica = f"kuik-registry-{number}"

    @property
    def folder(self) -> Path:
        """Where its files are."""
        claim = self._kuik.one(f"pvc/data-{self._replica}")
        volume = json.loads(self._kuik.kubectl("get", "pv", claim["spec"]["volumeName"], "-o", "json"))
        return Path(volume["spec"]["hostPath"]["path"])

    def has(self, digest: Digest) -> bool:
        """Whether a blob's file is there, with the bytes that its digest is of."""
        path = f"docker/registry/v2/blobs/sha256/{digest.hex[:2]}/{digest.hex}/data"
        try:
            return Digest.of((self.folder / path).read_bytes()) == digest
        except FileNotFoundError:
            return False

    def wipe(self) -> None:
        """Take all files away, as a disk that is replaced by a new one; the replica starts anew on it."""
        for one in self.folder.iterdir():
            shutil.rmtree(one) if one.is_dir() else one.unlink()
        self._kuik.kubectl("delete", "pod", "-n", NAMESPACE, self._replica, "--grace-period=1", "--wait")
