"""Pull secrets: the credentials in Docker's configuration files, matched to images as kubelet matches them."""

import base64
import binascii
import fnmatch
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from registry.reference import DOCKER_HUB, Reference

MAX_CONFIG = 1 << 20
_HUB_KEYS = ("index.docker.io", "registry-1.docker.io")


class InvalidDockerConfig(ValueError):
    """The pull secret cannot be read; the message names the entry and field, never the value."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one entry of a pull secret holds: a user and password, or tokens got by a login."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)


Keyring = Callable[[Reference], Sequence[Credentials]]
"""The credentials that may open an image, the most specific first."""


def no_credentials(reference: Reference) -> Sequence[Credentials]:  # noqa: ARG001  the form of a Keyring
    """The keyring of those who ask anonymously only."""
    return ()


@dataclass(frozen=True, slots=True)
class DockerConfig:
    """A parsed pull secret: (host and path pattern, credentials), the most specific pattern first."""

    entries: tuple[tuple[str, Credentials], ...] = ()

    @classmethod
    def parse(cls, data: bytes | str | Mapping[str, Any]) -> Self:
        """Read `.dockerconfigjson` (with `auths`) or the older `.dockercfg`; raises InvalidDockerConfig."""
        document = data if isinstance(data, Mapping) else _document(data)
        auths = document.get("auths", {} if _is_new_form(document) else document)
        if not isinstance(auths, Mapping):
            raise InvalidDockerConfig("auths is not an object that maps registries to credentials")
        found = [(_pattern(str(key)), _credentials(str(key), value)) for key, value in auths.items()]
        usable = [(pattern, credentials) for pattern, credentials in found if credentials]
        # kubelet's order: reverse lexicographic puts a longer path before a shorter one of the same host.
        return cls(tuple(sorted(usable, key=lambda entry: entry[0], reverse=True)))

    def match(self, host: str, repository: str) -> tuple[Credentials, ...]:
        """The credentials for an image, the most specific first, as kubelet chooses them.

        Host patterns may hold `*` within a part of the name, the port must be equal, and the path is a prefix. Docker
        Hub's other names are tried where docker.io itself is not there.
        """
        image = f"{host}/{repository}"
        found = [credentials for pattern, credentials in self.entries if _matches(pattern, image)]
        if not found and host == DOCKER_HUB:
            aliases = [f"{key}/{repository}" for key in _HUB_KEYS]
            found = [one for pattern, one in self.entries if any(_matches(pattern, alias) for alias in aliases)]
        return tuple(dict.fromkeys(found))


def _document(data: bytes | str) -> Mapping[str, Any]:
    if len(data) > MAX_CONFIG:
        raise InvalidDockerConfig(f"the pull secret is larger than {MAX_CONFIG} bytes")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidDockerConfig("the pull secret is not valid JSON") from None
    if not isinstance(document, dict):
        raise InvalidDockerConfig("the pull secret is not a JSON object")
    return document


def _is_new_form(document: Mapping[str, Any]) -> bool:
    return any(name in document for name in ("auths", "credsStore", "credHelpers", "HttpHeaders"))


def _pattern(key: str) -> str:
    """`https://index.docker.io/v1/` -> `index.docker.io`: schemes and API versions say nothing."""
    try:
        parts = urlsplit(key if "://" in key else f"https://{key}")
    except ValueError:
        raise InvalidDockerConfig(f"auths[{key!r}] does not name a registry") from None
    path = parts.path[3:] if parts.path.startswith(("/v1/", "/v2/")) else parts.path
    return parts.netloc.rpartition("@")[2].lower() + ("" if path == "/" else path)


def _credentials(key: str, value: Any) -> Credentials | None:
    if not isinstance(value, Mapping):
        raise InvalidDockerConfig(f"auths[{key!r}] is not an object")
    username, password = _text(key, value, "username"), _text(key, value, "password")
    if auth := _text(key, value, "auth"):
        username, password = _decode(key, auth)
    identity, registry = _text(key, value, "identitytoken"), _text(key, value, "registrytoken")
    if not (username or password or identity or registry):
        return None
    return Credentials(username, password, identity, registry)


def _text(key: str, value: Mapping[str, Any], name: str) -> str:
    text = value.get(name) or ""
    if not isinstance(text, str):
        raise InvalidDockerConfig(f"auths[{key!r}].{name} is not text")
    return text


def _decode(key: str, auth: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(auth.strip() + "=" * (-len(auth.strip()) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidDockerConfig(f"auths[{key!r}].auth is not base64 of user:password") from None
    username, colon, password = text.partition(":")
    if not colon:
        raise InvalidDockerConfig(f"auths[{key!r}].auth is not base64 of user:password")
    return username, password.rstrip("\0")


def _matches(pattern: str, image: str) -> bool:
    host, slash, path = pattern.partition("/")
    image_host, _, repository = image.partition("/")
    name, _, port = host.partition(":")
    image_name, _, image_port = image_host.partition(":")
    labels, image_labels = name.split("."), image_name.split(".")
    return (
        port == image_port
        and len(labels) == len(image_labels)
        and all(fnmatch.fnmatchcase(one, other) for one, other in zip(image_labels, labels, strict=True))
        and (not slash or repository.startswith(path))
    )
