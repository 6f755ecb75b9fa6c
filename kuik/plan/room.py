"""Quotas and images ahead of need, as the stages make them of policies: told beside images and workloads."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from hooks.conditions import holds
from hooks.prefetch_nodes import is_meant
from hooks.prefetch_rules import rule
from hooks.quotas import Account, accounts, most_of, quotas_of
from kube.types import Object, metadata, part, texts
from registry.reference import InvalidReference, Reference


@dataclass(frozen=True, slots=True)
class Prefetch:
    """Images that are pulled onto nodes. `origin` is the rule, such as `ClusterCachePolicy/ahead-of-need/gpu`.

    `nodes` are those of now that it is about, None where nobody could see them; `bytes` what each gets, None where the
    size of an image is not known.
    """

    origin: str
    namespace: str
    images: tuple[str, ...]
    selector: Mapping[str, str]
    tolerations: tuple[Object, ...]
    every: str
    parallel: int
    nodes: int | None = None
    bytes: int | None = None

    def document(self) -> dict[str, Any]:
        return {
            "namespace": self.namespace,
            "images": list(self.images),
            "nodeSelector": dict(self.selector),
            "tolerations": [dict(one) for one in self.tolerations],
            "every": self.every,
            "parallel": self.parallel,
            "nodes": self.nodes,
            "bytesPerNode": self.bytes,
        }


def quotas(
    namespaces: Iterable[Object], policies: Iterable[Object], images: Iterable[Object], users: Mapping[str, Set[str]]
) -> dict[str, Account]:
    """What each namespace with a quota has; `users` are the namespaces that use each image. Raises Unreadable."""
    found = quotas_of(policies)
    held = accounts(((_shared(image, users), _size(image)) for image in images), found)
    names = (str(metadata(one)["name"]) for one in namespaces)
    limits = {name: most for name in names if (most := most_of(name, found)) is not None}
    return {name: held.get(name, Account(0, most)) for name, most in limits.items()}


def prefetch(made: Object, ours: str, nodes: Iterable[Object] | None, sizes: Mapping[str, int | None]) -> Prefetch:
    """An ImagePrefetch as people read it; `nodes` is None where nobody could see them. Raises Unreadable."""
    said, spec = rule(made, ours), part(made, "spec")
    images = tuple(_canonical(image) for image in said.images)
    known = [sizes.get(image) for image in images]
    return Prefetch(
        origin=str(spec.get("origin", said.name)),
        namespace=said.namespace,
        images=images,
        selector=said.selector,
        tolerations=said.tolerations,
        every=str(spec.get("every", "")),
        parallel=said.parallel,
        nodes=None if nodes is None else sum(1 for node in nodes if is_meant(node, said)),
        bytes=sum(one for one in known if one is not None) if None not in known else None,
    )


def _shared(image: Object, users: Mapping[str, Set[str]]) -> frozenset[str]:
    spec = part(image, "spec")
    return frozenset(users.get(str(spec["image"]), ())) or frozenset(texts(spec, "usedBefore"))


def _size(image: Object) -> int:
    size = part(image, "status").get("size")
    return size if holds(image, "Cached") and isinstance(size, int) else 0


def _canonical(image: str) -> str:
    try:
        return str(Reference.parse(image).identity)
    except InvalidReference:
        return image
