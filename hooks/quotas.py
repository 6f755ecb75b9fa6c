"""How much of the cache each namespace may have (`ClusterCachePolicy.spec.quotas`), and which have more.

A namespace has the images that it uses, and those that it used last while nobody does; what namespaces share counts for
each. The smallest quota that fits a namespace counts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hooks.glob import Glob, fits, glob
from hooks.messages import Unreadable
from kube.quantity import format_bytes, parse_quantity
from kube.types import CLUSTER_CACHE_POLICY, Object, metadata, part, texts

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Quota:
    """One entry of a policy."""

    namespaces: tuple[Glob, ...]
    most: int


@dataclass(frozen=True, slots=True)
class Account:
    """What a namespace with a quota has, in bytes."""

    used: int
    most: int


def quotas_of(policies: Iterable[Object]) -> tuple[Quota, ...]:
    """All quotas; raises Unreadable with the field."""
    return tuple(
        _quota(entry, f"{CLUSTER_CACHE_POLICY}/{metadata(policy)['name']}: spec.quotas[{at}]")
        for policy in policies
        for at, entry in enumerate(_listed(policy))
    )


def namespaces_of(users: Iterable[str]) -> frozenset[str]:
    """The namespaces of users such as `team-a/Deployment/web`; a policy of the whole cluster is in none."""
    return frozenset(words[0] for user in users if len(words := user.split("/")) > 2)


def most_of(namespace: str, quotas: Sequence[Quota]) -> int | None:
    """How many bytes a namespace may have; None where no quota fits it."""
    return min((one.most for one in quotas if fits(one.namespaces, namespace)), default=None)


def accounts(held: Iterable[tuple[frozenset[str], int]], quotas: Sequence[Quota]) -> Mapping[str, Account]:
    """What each namespace with a quota has; `held` are the images' namespaces and sizes."""
    if not quotas:
        return {}
    used: dict[str, int] = {}
    for namespaces, size in held:
        for name in namespaces:
            used[name] = used.get(name, 0) + size
    found = ((name, total, most_of(name, quotas)) for name, total in used.items())
    return {name: Account(total, most) for name, total, most in found if most is not None}


def hold(namespaces: frozenset[str], users: Iterable[str], kept: Mapping[str, Account]) -> Mapping[str, str] | None:
    """Why an image that only these namespaces use is not copied; None where one of its users may have more."""
    over = {name: account for name in namespaces if (account := kept.get(name)) and account.used >= account.most}
    elsewhere = any(user.count("/") < 2 for user in users)
    if not namespaces or elsewhere or over.keys() != namespaces:
        return None
    said = [
        f"{name} has {format_bytes(over[name].used)} of its {format_bytes(over[name].most)}"
        for name in sorted(over)[:_NAMED]
    ]
    return {"reason": "OverQuota", "message": f"not copied, as {', '.join(said)}"[:512]}


def _listed(policy: Object) -> Sequence[Any]:
    found = part(policy, "spec").get("quotas")
    if found is not None and not isinstance(found, list):
        raise Unreadable(f"{CLUSTER_CACHE_POLICY}/{metadata(policy)['name']}: spec.quotas is not a list")
    return found or ()


def _quota(entry: Any, where: str) -> Quota:
    if not isinstance(entry, Mapping):
        raise Unreadable(f"{where} is not an object")
    others = sorted(entry.keys() - {"namespaces", "bytes"})
    if others:  # what it says besides could mean that it is about less
        raise Unreadable(f"{where}: {', '.join(others)} is not known; known are bytes, namespaces")
    named = entry.get("namespaces")
    if named is not None and len(texts(entry, "namespaces")) != (len(named) if isinstance(named, list) else -1):
        raise Unreadable(f"{where}.namespaces is not a list of texts")
    try:
        return Quota(tuple(map(glob, texts(entry, "namespaces"))), parse_quantity(str(entry.get("bytes"))))
    except ValueError as error:
        raise Unreadable(f"{where}.bytes: {error}") from error
