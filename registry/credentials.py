"""Pull secrets: the credentials in Docker's configuration files, matched to images as kubelet matches them.

Source of the rules: kubelet's keyring of credentials and the page "Interpretation of config.json" of its documentation.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self

from registry.reference import DOCKER_HUB, Reference

MAX_CONFIG = 1 << 20
CONFIG_KEYS = {"kubernetes.io/dockerconfigjson": ".dockerconfigjson", "kubernetes.io/dockercfg": ".dockercfg"}
"""Where a Secret holds its docker config, by the Secret's type; Secrets of other types hold none."""
_NEW_FORM = CONFIG_KEYS["kubernetes.io/dockerconfigjson"]
_HUB_KEY = "index.docker.io"
_SCHEMES = ("https://", "http://")
_PORT = re.compile(r"[0-9]*")
_LITERAL = re.compile(r"\[[0-9a-fA-F:.%]+\]")


class InvalidDockerConfig(ValueError):
    """The pull secret cannot be read; the message names the entry and field, never the value."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """One way to log in that an entry of a pull secret holds: a user and password, or a token got by a login."""

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
    """Parsed pull secrets: (host and path pattern, credentials), the most specific pattern first."""

    entries: tuple[tuple[str, Credentials], ...] = ()

    @classmethod
    def parse(cls, data: bytes | str | Mapping[str, Any]) -> Self:
        """Read `.dockerconfigjson` (with `auths`) or the older `.dockercfg`; raises InvalidDockerConfig."""
        document = data if isinstance(data, Mapping) else _document(data)
        is_new = any(
            _field(document, name) is not None for name in ("auths", "credsStore", "credHelpers", "HttpHeaders")
        )
        return cls._read(_field(document, "auths") if is_new else document)

    @classmethod
    def of_secret(cls, secret: Mapping[str, Any]) -> Self:
        """The docker config of a Kubernetes Secret, where it is of a type that has one; raises InvalidDockerConfig."""
        key = CONFIG_KEYS.get(str(secret.get("type")))
        if key is None:
            raise InvalidDockerConfig(f"it is of type {str(secret.get('type'))[:60]!r}, which is no pull secret")
        document = _document(_content(secret, key))
        return cls._read(_field(document, "auths") if key == _NEW_FORM else document)

    @classmethod
    def joined(cls, configs: Iterable["DockerConfig"]) -> Self:
        """Several pull secrets as kubelet takes them together: the more specific pattern first, whosever it is."""
        entries = (entry for config in configs for entry in config.entries)
        return cls(tuple(sorted(entries, key=lambda entry: entry[0], reverse=True)))

    @classmethod
    def _read(cls, auths: Any) -> Self:
        if not isinstance(auths, Mapping | None):
            raise InvalidDockerConfig("auths is not an object that maps registries to credentials")
        found = [(_pattern(str(key)), one) for key, value in (auths or {}).items() for one in _logins(str(key), value)]
        # kubelet's order: reverse lexicographic puts a longer path before a shorter one of the same host.
        return cls(tuple(sorted(((key, one) for key, one in found if key), key=lambda entry: entry[0], reverse=True)))

    def match(self, host: str, repository: str) -> tuple[Credentials, ...]:
        """The credentials for an image, the most specific first, as kubelet chooses them.

        Host patterns may hold `*` within a part of the name, the port must be equal, and the path is a prefix. An entry
        for Docker Hub's index counts where nothing else is there for docker.io.
        """
        image = f"{host}/{repository}"
        found = [credentials for pattern, credentials in self.entries if _matches(pattern, image)]
        if not found and host == DOCKER_HUB:
            found = [credentials for pattern, credentials in self.entries if pattern == _HUB_KEY]
        return tuple(dict.fromkeys(found))


def _content(secret: Mapping[str, Any], key: str) -> str | bytes:
    for name in ("stringData", "data"):
        fields = secret.get(name)
        text = fields.get(key) if isinstance(fields, Mapping) else None
        if text is None:
            continue
        if not isinstance(text, str):
            raise InvalidDockerConfig(f"{name}[{key!r}] is not text")
        if name == "stringData":
            return text
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidDockerConfig(f"data[{key!r}] is not base64") from None
    raise InvalidDockerConfig(f"it has no data[{key!r}]")


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


def _field(document: Mapping[str, Any], name: str) -> Any:
    """A field as Go's JSON reads it: by its own name, else by one that differs in its case alone."""
    if name in document:
        return document[name]
    return next((value for key, value in document.items() if str(key).lower() == name.lower()), None)


def _pattern(key: str) -> str:
    """`https://index.docker.io/v1/` -> `index.docker.io`: schemes and API versions say nothing.

    Empty for what names no host, which kubelet ignores.
    """
    scheme = next((scheme for scheme in _SCHEMES if key.startswith(scheme)), "")
    authority, slash, path = re.split(r"[?#]", key.removeprefix(scheme), maxsplit=1)[0].partition("/")
    host, path = authority.rpartition("@")[2].lower(), f"{slash}{path}"
    if path.startswith(("/v1/", "/v2/")):
        path = path[3:]
    if _split(host) is None:
        return ""
    return host + ("" if path == "/" else path)


def _logins(key: str, value: Any) -> list[Credentials]:
    """The ways to log in of one entry: kubelet's user and password, then the tokens that it knows nothing of."""
    if value is None:
        return []
    if not isinstance(value, Mapping):
        raise InvalidDockerConfig(f"auths[{key!r}] is not an object")
    username, password = _text(key, value, "username"), _text(key, value, "password")
    if auth := _text(key, value, "auth"):
        username, password = _decode(key, auth)
    identity, registry = _text(key, value, "identitytoken"), _text(key, value, "registrytoken")
    found = []
    if username and (password or not (identity or registry)):
        found.append(Credentials(username, password))
    if identity:
        found.append(Credentials(identity_token=identity))
    if registry:
        found.append(Credentials(registry_token=registry))
    return found


def _text(key: str, value: Mapping[str, Any], name: str) -> str:
    text = _field(value, name) or ""
    if not isinstance(text, str):
        raise InvalidDockerConfig(f"auths[{key!r}].{name} is not text")
    return text


def _decode(key: str, auth: str) -> tuple[str, str]:
    try:
        # Line breaks are no part of base64 to whom kubelet leaves it.
        packed = auth.replace("\r", "").replace("\n", "").strip()
        text = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidDockerConfig(f"auths[{key!r}].auth is not base64 of user:password") from None
    username, colon, password = text.partition(":")
    if not colon:
        raise InvalidDockerConfig(f"auths[{key!r}].auth is not base64 of user:password")
    return username, password.rstrip("\0")


def _split(host: str) -> tuple[tuple[str, ...], str] | None:
    """The parts of a host's name and its port; None where it is no host."""
    name, colon, port = host.rpartition(":")
    if host.endswith("]") or not colon:
        name, port = host, ""
    if not name or not _PORT.fullmatch(port):
        return None
    if "[" in name or "]" in name or ":" in name:
        return ((name,), port) if _LITERAL.fullmatch(name) else None
    return tuple(name.split(".")), port


def _matches(pattern: str, image: str) -> bool:
    host, _, path = pattern.partition("/")
    image_host, _, repository = image.partition("/")
    ours, theirs = _split(host), _split(image_host)
    if ours is None or theirs is None:
        return False
    (parts, port), (image_parts, image_port) = ours, theirs
    return (
        port == image_port
        and len(parts) == len(image_parts)
        and repository.startswith(path)
        and all(_glob(one).fullmatch(other) for one, other in zip(parts, image_parts, strict=True))
    )


@lru_cache(maxsize=4096)
def _glob(part: str) -> re.Pattern[str]:
    return re.compile("[^/]*".join(re.escape(piece) for piece in part.split("*")))
