"""The bucket behind a registry: how much is in it, and the way out for an object that no registry can replace.

Distribution takes no other bytes for a blob while an object is there, and removes one only when nothing names it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kuik.keeper.distribution import ObjectStorage, object_storage_of
from kuik.keeper.volume import BLOBS, file_of
from registry.errors import RegistryError, Unauthorized, Unreachable
from registry.transport import BROKEN, pool

if TYPE_CHECKING:
    from minio import Minio

    from registry.digest import Digest

USED_EVERY = 3600.0
"""Seconds for which it counts as known how much is in a bucket: to list it takes a request for a thousand objects."""
_CONNECT, _READ = 5.0, 60.0
_REFUSED = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"})


class Refused(RegistryError):
    """The object storage said no."""

    reason = "Failed"


@dataclass
class Bucket:
    """The place that a registry stores in. Keys are found as distribution finds them: in `keys` (user and password),
    else in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, else in the role of the pod's service account."""

    storage: ObjectStorage
    keys: tuple[str, str] | None = None
    clock: Callable[[], float] = time.monotonic
    _client: Minio | None = None
    _used: tuple[float, int] | None = None
    _tried: float | None = None

    def remove(self, digest: Digest) -> None:
        """Remove a blob's object, if it is there; raises Unreachable, Unauthorized and other RegistryErrors."""
        key = self.key(digest)
        with _speaking(f"object {key} of bucket {self.storage.bucket}"):
            self._storage().remove_object(self.storage.bucket, key)

    def used(self, step: Callable[[], object] = lambda: None, *, anew: bool = False) -> int | None:
        """Bytes of all blobs, as counted within USED_EVERY or `anew`; None where that cannot be told. `step` is called
        now and then, as it may take long."""
        if not anew and self._tried is not None and self.clock() - self._tried < USED_EVERY:
            return self._used[1] if self._used else None
        self._tried, self._used = self.clock(), None
        try:
            self._used = self._tried, self._count(step)
        except (Unreachable, Unauthorized, Refused):
            return None
        return self._used[1]

    def key(self, digest: Digest) -> str:
        """The name of a blob's object."""
        return self._below(file_of(Path(), digest))

    def _count(self, step: Callable[[], object]) -> int:
        total = 0
        with _speaking(f"bucket {self.storage.bucket}"):
            below = f"{self._below(BLOBS)}/"
            for number, one in enumerate(self._storage().list_objects(self.storage.bucket, below, recursive=True)):
                total += one.size or 0
                if number % 1000 == 0:
                    step()
        return total

    def _below(self, path: Path) -> str:
        return f"{self.storage.folder.rstrip('/')}/{path}".lstrip("/")

    def _storage(self) -> Minio:
        if self._client is None:
            self._client = _client(self.storage, self.keys)
        return self._client


def bucket_of(configuration: str) -> Bucket | None:
    """The bucket that a registry's configuration names; None where it stores elsewhere. Raises ValueError."""
    found = object_storage_of(configuration)
    return Bucket(*found) if found else None


def _client(storage: ObjectStorage, keys: tuple[str, str] | None) -> Minio:
    from minio import Minio  # late: only who stores in a bucket needs it
    from minio.credentials.providers import ChainedProvider, EnvAWSProvider, IamAwsProvider, StaticProvider

    connections = pool(_CONNECT, _READ)
    found = [EnvAWSProvider(), IamAwsProvider(http_client=connections, region=storage.region)]
    provider = StaticProvider(*keys) if keys else ChainedProvider(found)
    parts = urlsplit(storage.endpoint or f"https://s3.{storage.region}.amazonaws.com")
    return Minio(
        parts.netloc,
        region=storage.region,
        secure=parts.scheme == "https",
        credentials=provider,
        http_client=connections,
    )


@contextmanager
def _speaking(what: str) -> Iterator[None]:
    """Let what fails be an error of ours; no message of a library's is passed on, as it may hold a key."""
    from minio.error import MinioException, S3Error

    try:
        yield
    except S3Error as error:
        code = str(error.code)
        kind = Unauthorized if code in _REFUSED else Refused
        raise kind(f"{what}: the object storage answered {code[:100]}") from error
    except ValueError as error:
        raise Unauthorized(f"{what}: no keys for the object storage were found") from error
    except BROKEN as error:
        raise Unreachable(
            f"{what}: the object storage, or who gives its keys, does not answer: {type(error).__name__}"
        ) from error
    except MinioException as error:
        raise Refused(f"{what}: the object storage failed: {type(error).__name__}") from error
