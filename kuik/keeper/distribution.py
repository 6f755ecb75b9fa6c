"""How CNCF distribution 3 is run for kuik: its configuration as a document, its variables, its password file.

The same storage is served by two processes or more: one writer, which takes copies and deletes tags, and readers, which
answer node proxies and cannot change anything. Each has a password file of its own, so what a reader's callers know
opens no writer. The source of every setting is distribution's configuration reference, and what it does was measured on
3.1.2. Plain data in, plain data out; whoever starts the process writes the files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bcrypt
import yaml

USER = "kuik"
"""The user that shows a token; distribution knows users and passwords, and the password is the token."""

REALM = "kuik registry"
_COST = 4  # The least there is: what is hashed is a random token, and each request costs one hash.
_LONGEST = 72
_SHORTEST = 32


@dataclass(frozen=True)
class Filesystem:
    """Storage in a folder: a volume, which readers elsewhere share only where it is ReadWriteMany."""

    folder: str

    def document(self) -> dict[str, Any]:
        return {"filesystem": {"rootdirectory": self.folder}}


@dataclass(frozen=True)
class ObjectStorage:
    """Storage in an S3 bucket, below `folder`. `endpoint` is a URL, for storage that is not Amazon's.

    Blobs are answered with a redirect to a presigned URL unless `redirect` is off: so the bytes come from the storage
    without passing by the registry, but whoever pulls must reach the endpoint. Keys are no part of the document:
    AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the role of the pod's service account, are found by themselves.
    """

    bucket: str
    region: str = "us-east-1"
    endpoint: str = ""
    folder: str = "/"
    redirect: bool = True

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = {"bucket": self.bucket, "region": self.region, "rootdirectory": self.folder}
        if self.endpoint:
            # Storage of one's own seldom has a DNS name for each bucket.
            own = {"regionendpoint": self.endpoint, "forcepathstyle": True}
            found |= {**own, "secure": self.endpoint.startswith("https://")}
        return {"s3": found, "redirect": {"disable": not self.redirect}}


@dataclass(frozen=True)
class Listener:
    """Where a process listens: `address` as `host:port` or `:port`; `metrics`, likewise, is open to who reaches it.

    `passwords` is the path of the password file. With `certificate` and `key` (paths) it speaks TLS.
    """

    address: str
    passwords: str
    metrics: str = ""
    certificate: str = ""
    key: str = ""


def writer(storage: Filesystem | ObjectStorage, listener: Listener) -> dict[str, Any]:
    """The configuration of the one process that takes copies and deletes.

    Indexes are taken though not all that they name is there: only wanted platforms are copied, and kuik checks by
    itself that those are whole. So are layers that say by `urls` where they are, which no registry keeps. What an
    interrupted upload left goes after a day.
    """
    purging = {"enabled": True, "age": "24h", "interval": "6h", "dryrun": False}
    kept = {"delete": {"enabled": True}, "maintenance": {"uploadpurging": purging}}
    checks = {"manifests": {"indexes": {"platforms": "none"}, "urls": {"allow": ["^https?://"]}}}
    return {**_base(listener), "storage": {**storage.document(), **kept}, "validation": checks}


def reader(storage: Filesystem | ObjectStorage, listener: Listener) -> dict[str, Any]:
    """The configuration of a process that only answers; it refuses all that writes with 405."""
    maintenance = {"readonly": {"enabled": True}, "uploadpurging": {"enabled": False}}
    return {**_base(listener), "storage": {**storage.document(), "maintenance": maintenance}}


def text(document: Mapping[str, Any]) -> str:
    """A configuration as the file that distribution reads."""
    return yaml.safe_dump(document, sort_keys=False)


def folder_of(text: str) -> str:
    """The folder that a configuration, as YAML, stores in; empty for any other storage. Raises ValueError."""
    found = _below(_loaded(text), "storage", "filesystem").get("rootdirectory")
    return found if isinstance(found, str) else ""


def object_storage_of(text: str) -> tuple[ObjectStorage, tuple[str, str] | None] | None:
    """The bucket that a configuration, as YAML, stores in, and the keys that stand there; None for any other storage.
    Raises ValueError."""
    said = _below(_loaded(text), "storage", "s3")
    bucket, region, endpoint, folder, user, password = (
        str(said.get(name) or "")
        for name in ("bucket", "region", "regionendpoint", "rootdirectory", "accesskey", "secretkey")
    )
    if not bucket:
        return None
    if endpoint and "://" not in endpoint:
        endpoint = f"{'http' if said.get('secure') is False else 'https'}://{endpoint}"
    return ObjectStorage(bucket, region, endpoint, folder), (user, password) if user and password else None


def _loaded(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"the writer's configuration is no YAML: {error}") from error


def _below(found: Any, *names: str) -> dict[str, Any]:
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def environment(secret: str = "") -> dict[str, str]:
    """Variables for its process. `secret` signs the state of uploads: any text, the same as long as one takes."""
    said = {"REGISTRY_HTTP_SECRET": secret} if secret else {}
    # Unless told so it looks for a collector of traces on its own host, and complains for ever.
    return {"OTEL_TRACES_EXPORTER": "none", **said}


def passwords(tokens: Mapping[str, str]) -> str:
    """The password file: who may ask, each user with a token. It is read anew when it changes. Raises ValueError."""
    return "".join(f"{user}:{_hashed(token)}\n" for user, token in tokens.items())


def _base(listener: Listener) -> dict[str, Any]:
    http: dict[str, Any] = {"addr": listener.address, "relativeurls": True, "draintimeout": "30s"}
    if listener.certificate:
        http["tls"] = {"certificate": listener.certificate, "key": listener.key}
    if listener.metrics:
        http["debug"] = {"addr": listener.metrics, "prometheus": {"enabled": True, "path": "/metrics"}}
    return {
        "version": 0.1,
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "http": http,
        "auth": {"htpasswd": {"realm": REALM, "path": listener.passwords}},
    }


def _hashed(token: str) -> str:
    if not _SHORTEST <= len(token.encode()) <= _LONGEST:
        raise ValueError(f"a token of {_SHORTEST} to {_LONGEST} bytes is needed, random, as its hash is a quick one")
    return bcrypt.hashpw(token.encode(), bcrypt.gensalt(_COST)).decode()
