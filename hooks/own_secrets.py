"""The Secrets that kuik makes for itself, once, in its own namespace. What is there already is never overwritten,
except the certificate that kuik made itself, as hooks.certificate plans it."""

import base64
import binascii
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hooks.certificate import BUNDLE, Data, plan
from hooks.facts import Absent, Known, Unknown
from kube.client import Api, KubernetesError
from kube.paths import KINDS
from kube.types import GROUP, annotations, part

TOKEN = "kuik-token"  # noqa: S105 - the name of a Secret, not its content
CAPABILITY = "kuik-capability"
REGISTRY = "kuik-registry"
CERTIFICATE = "kuik-admission-tls"
MADE = f"{GROUP}/made-by"
"""The annotation on a certificate's Secret that kuik made and so renews: without it, the Secret is somebody else's."""

_US = "kube-image-keeper"
_TRIES = 5


def new_token() -> Data:
    """What Secret kuik-token holds."""
    return {"token": secrets.token_hex(32).encode()}


def new_capability() -> Data:
    """What Secret kuik-capability holds: to change the key, move `current` to `previous` and write a new one."""
    return {"current": secrets.token_hex(32).encode(), "previous": b""}


def new_registry_tokens() -> Data:
    """What Secret kuik-registry holds: node proxies show `reader`, copy Jobs `writer`, which no proxy ever learns."""
    return {"reader": secrets.token_hex(32).encode(), "writer": secrets.token_hex(32).encode()}


class OwnSecrets:
    """Secrets of one namespace; several replicas may use it at the same time."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    def ensure(self, name: str, make: Callable[[], Data]) -> Data:
        """The data of the Secret, which is made where there is none; raises KubernetesError."""
        for _ in range(_TRIES):
            found = self._get(name)
            if found is None:
                found = self._create(name, make())
            if found is not None:
                return _data(found)
        raise KubernetesError(f"Secret {name}: it comes and goes")

    def certificate(self, names: Sequence[str], now: datetime | None = None) -> Data:
        """The certificate to serve, made or renewed where it is ours to do so; raises KubernetesError."""
        moment = now or datetime.now(UTC)
        for _ in range(_TRIES):
            found = self._get(CERTIFICATE)
            if found is None:
                found = self._create(CERTIFICATE, plan({}, moment, names))
            elif MADE in annotations(found):
                found = self._renewed(found, moment, names)
            if found is not None:
                return _data(found)
        raise KubernetesError(f"Secret {CERTIFICATE}: somebody else writes it at the same time, again and again")

    def authority(self) -> Known[str] | Absent | Unknown:
        """The CA bundle (PEM) by which the API server knows the webhook; Absent while no certificate was made."""
        try:
            found = self._get(CERTIFICATE)
        except KubernetesError as error:
            return Unknown(str(error))
        if found is None:
            return Absent()
        bundle = _data(found).get(BUNDLE, b"").decode("ascii", "replace")
        return Known(bundle) if "-----BEGIN CERTIFICATE-----" in bundle else Unknown(f"{CERTIFICATE} has no {BUNDLE}")

    def key(self) -> bytes:
        """The key that makes capabilities; empty where it was not made yet or cannot be read."""
        try:
            found = self._get(CAPABILITY)
        except KubernetesError:
            return b""
        return _data(found or {}).get("current", b"").strip()

    def _renewed(self, found: Mapping[str, Any], now: datetime, names: Sequence[str]) -> Mapping[str, Any] | None:
        """The Secret as it should be; None where another replica was faster."""
        data = _data(found)
        wanted = plan(data, now, names)
        if wanted is data:
            return found
        return self._unless_raced("PUT", CERTIFICATE, {**found, "data": _encoded(wanted)})

    def _get(self, name: str) -> Mapping[str, Any] | None:
        return self._api.find(KINDS["Secret"].path(name, self._namespace))

    def _create(self, name: str, data: Data) -> Mapping[str, Any] | None:
        kind = "kubernetes.io/tls" if name == CERTIFICATE else "Opaque"
        labels = {"app.kubernetes.io/name": _US, "app.kubernetes.io/component": "hooks"}
        meta = {"name": name, "namespace": self._namespace, "labels": labels, "annotations": {MADE: _US}}
        secret = {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": meta, "data": _encoded(data)}
        return self._unless_raced("POST", "", secret)

    def _unless_raced(self, method: str, name: str, secret: Mapping[str, Any]) -> Mapping[str, Any] | None:
        kind = KINDS["Secret"]
        path = kind.path(name, self._namespace) if name else kind.collection(self._namespace)
        try:
            return self._api.request(method, path, secret)
        except KubernetesError as error:
            if error.status not in (404, 409):
                raise
            return None


def _encoded(data: Data) -> dict[str, str]:
    return {key: base64.b64encode(value).decode() for key, value in data.items()}


def _data(secret: Mapping[str, Any]) -> Data:
    found: dict[str, bytes] = {}
    for key, value in part(secret, "data").items():
        try:
            found[key] = base64.b64decode(value, validate=True)
        except (binascii.Error, TypeError, ValueError):
            continue
    return found
