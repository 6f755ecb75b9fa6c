"""Which certificate authorities are trusted where a host names none of its own."""

import atexit
import os
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""What names bundles (PEM) in the environment; where several are set, all of them count."""


def default_trust(environment: Mapping[str, str] = os.environ) -> str | bool:
    """The bundle to verify with, as `requests` takes it; True for the one that it brings along."""
    named = dict.fromkeys(environment[name] for name in VARIABLES if environment.get(name))
    if len(named) > 1:
        return _joined(tuple(named))
    return next(iter(named), True)


@lru_cache(maxsize=8)
def _joined(paths: tuple[str, ...]) -> str:
    """One file with what is in all of them that can be read; it lives as long as the process."""
    return _file(b"".join(Path(path).read_bytes().rstrip() + b"\n" for path in paths if Path(path).is_file()))


@lru_cache(maxsize=1024)
def file_of(pem: str) -> str:
    """A file with this bundle, as the HTTP library wants one; it lives as long as the process. Raises OSError."""
    return _file(pem.encode())


def _file(content: bytes) -> str:
    with tempfile.NamedTemporaryFile("wb", prefix="kuik-ca-", suffix=".pem", delete=False) as file:
        file.write(content)
    atexit.register(Path(file.name).unlink, missing_ok=True)
    return file.name
