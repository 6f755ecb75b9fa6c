"""Rules that pull images onto nodes: as policies write them, and as ImagePrefetches say them to the stage that acts."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hooks.messages import Unreadable
from hooks.rules import prefetch_of
from kube.duration import parse_duration
from kube.types import (
    API_VERSION,
    CACHE_POLICY,
    CLUSTER_CACHE_POLICY,
    IMAGE_PREFETCH,
    Object,
    entries,
    metadata,
    part,
    texts,
)

EVERY = "24h"
PARALLEL = 10
_MAX_NAME = 253
_MAX_SECRETS = 20


@dataclass(frozen=True, slots=True)
class Rule:
    """One ImagePrefetch: its pods run in `namespace`, on the nodes with all labels of `selector`.

    `every` is after how long images are pulled anew, `parallel` on how many nodes at once.
    """

    name: str
    namespace: str
    images: tuple[str, ...]
    selector: Mapping[str, str]
    tolerations: tuple[Object, ...]
    every: timedelta
    parallel: int
    secrets: tuple[str, ...]


def rule(parent: Object, ours: str) -> Rule:
    """Read an ImagePrefetch; `ours` is the namespace where none is named. Raises Unreadable with the field."""
    spec = part(parent, "spec")
    selector, parallel = part(spec, "nodeSelector"), spec.get("parallel", PARALLEL)
    if not all(isinstance(value, str) for value in selector.values()):
        raise Unreadable("parent.spec.nodeSelector holds a value that is not text")
    if not isinstance(parallel, int) or isinstance(parallel, bool) or parallel < 1:
        raise Unreadable("parent.spec.parallel: write a number of nodes, at least 1")
    try:
        every = parse_duration(str(spec.get("every", EVERY)))
    except ValueError as error:
        raise Unreadable(f"parent.spec.every: {error}") from error
    return Rule(
        name=metadata(parent)["name"],
        namespace=str(spec.get("namespace") or ours),
        images=tuple(dict.fromkeys(texts(spec, "images"))),
        selector=selector,
        tolerations=tuple(entries(spec, "tolerations")),
        every=every,
        parallel=parallel,
        secrets=tuple(texts(spec, "pullSecrets")),
    )


def prefetches(
    namespace: str, ours: str, cluster_policies: Iterable[Object], own: Iterable[Object], secrets: Iterable[str]
) -> Iterator[Object]:
    """The ImagePrefetches of a namespace's policies; those of the cluster's have their pods in kuik's own namespace.

    `secrets` are the pull secrets of the namespace. Raises Unreadable for a policy that no API server would have taken.
    """
    if namespace == ours:
        for policy in cluster_policies:
            yield from _of(policy, CLUSTER_CACHE_POLICY, "all", ours, ())
    listed = sorted(set(secrets))[:_MAX_SECRETS]
    for policy in own:
        yield from _of(policy, CACHE_POLICY, f"in-{namespace}", namespace, listed)


def _of(policy: Object, kind: str, prefix: str, namespace: str, secrets: Iterable[str]) -> Iterator[Object]:
    called = metadata(policy)["name"]
    for entry in prefetch_of(policy, kind):
        meta = {
            "name": _name(f"{prefix}.{called}.{entry['name']}"),
            "labels": {"app.kubernetes.io/managed-by": "kube-image-keeper"},
        }
        spec: dict[str, Any] = {
            "namespace": namespace,
            "origin": f"{kind}/{called}/{entry['name']}",
            "images": texts(entry, "images"),
            "nodeSelector": dict(part(entry, "nodeSelector")),
            "tolerations": entries(entry, "tolerations"),
            "every": entry.get("every") or EVERY,
            "parallel": entry.get("parallel") or PARALLEL,
            "pullSecrets": list(secrets),
        }
        yield {"apiVersion": API_VERSION, "kind": IMAGE_PREFETCH, "metadata": meta, "spec": spec}


def _name(text: str) -> str:
    if len(text) <= _MAX_NAME:
        return text
    return f"{text[: _MAX_NAME - 11].rstrip('.-')}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
