"""Pull secrets among the manifests: `kubernetes.io/dockerconfigjson` and the older `kubernetes.io/dockercfg`."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass

from kube.types import Object, part
from kuik.local.workloads import DEFAULT_NAMESPACE
from registry.credentials import CONFIG_KEYS, DockerConfig


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
        if manifest["kind"] != "Secret" or str(manifest.get("type")) not in CONFIG_KEYS:
            continue
        meta = manifest["metadata"]
        name = f"{meta.get('namespace') or DEFAULT_NAMESPACE}/{meta.get('name', '')}"
        try:
            configs[name] = _config(manifest)
        except ValueError as error:
            errors.append(f"Secret {name}: {error}")
    return PullSecrets(configs, tuple(errors))


def _config(secret: Object) -> str:
    """The config in one form, as it is told to the process that serves."""
    read = DockerConfig.of_secret(secret)
    key = CONFIG_KEYS[str(secret["type"])]
    text = part(secret, "stringData").get(key)
    if text is None:
        text = base64.b64decode(part(secret, "data")[key]).decode("utf-8", "replace")
    DockerConfig.parse(text)
    return str(text) if read.entries else "{}"
