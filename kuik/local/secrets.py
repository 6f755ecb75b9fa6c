"""Pull secrets among the manifests: `kubernetes.io/dockerconfigjson` and the older `kubernetes.io/dockercfg`."""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass

from kube.types import Object, part
from kuik.local.workloads import DEFAULT_NAMESPACE
from registry.credentials import DockerConfig

_KEYS = {"kubernetes.io/dockerconfigjson": ".dockerconfigjson", "kubernetes.io/dockercfg": ".dockercfg"}


@dataclass(frozen=True)
class PullSecrets:
    """Docker configs by `namespace/name`, and a sentence for each secret that could not be understood."""

    configs: dict[str, str]
    errors: tuple[str, ...]


def pull_secrets(manifests: Iterable[Object]) -> PullSecrets:
    """The pull secrets among `manifests`. Errors name the secret and the field, never what is in it."""
    configs: dict[str, str] = {}
    errors: list[str] = []
    for manifest in manifests:
        field = _KEYS.get(str(manifest.get("type")))
        if manifest["kind"] != "Secret" or field is None:
            continue
        meta = manifest["metadata"]
        name = f"{meta.get('namespace') or DEFAULT_NAMESPACE}/{meta.get('name', '')}"
        try:
            configs[name] = _config(manifest, field)
        except ValueError as error:
            errors.append(f"Secret {name}: {error}")
    return PullSecrets(configs, tuple(errors))


def _config(secret: Object, field: str) -> str:
    text = part(secret, "stringData").get(field)
    if text is None:
        encoded = part(secret, "data").get(field)
        if not isinstance(encoded, str):
            raise ValueError(f"it has no data[{field!r}]")
        try:
            text = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise ValueError(f"data[{field!r}] is not base64 of text") from None
    if not isinstance(text, str):
        raise ValueError(f"stringData[{field!r}] is not text")  # noqa: TRY004 -- one kind of error for one kind of input  # noqa: TRY004 - the secret is wrong, not the call
    DockerConfig.parse(text)
    return text
