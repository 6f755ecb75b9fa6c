"""The policies among manifests: refused by field, as an API server refuses them, and defaulted."""

from collections.abc import Iterator

from hooks.messages import Unreadable
from hooks.policy import Policies
from hooks.rules import IGNORE
from kube.schema import defaulted, validate
from kube.types import CACHE_POLICY, CLUSTER_CACHE_POLICY, Object, entries, part
from kuik.local.documents import ManifestError

KINDS = frozenset({CLUSTER_CACHE_POLICY, CACHE_POLICY})
_OF_CACHE = ("retention", "refresh", "platforms")


def checked(policy: Object, origin: str) -> Object:
    """The policy with its defaults; raises ManifestError, whose message begins with `origin`, for what is not valid."""
    for problem in _problems(policy):
        raise ManifestError(f"{origin}: {problem}")
    return defaulted(policy)


def _problems(policy: Object) -> Iterator[str]:
    yield from map(str, validate(policy))
    for at, rule in enumerate(entries(part(policy, "spec"), "rules")):
        if rule.get("action") == IGNORE and any(name in rule for name in _OF_CACHE):
            yield f"spec.rules.{at}: action {IGNORE} caches nothing: leave out {', '.join(_OF_CACHE)}"
    try:
        Policies.read([policy] if policy["kind"] == CLUSTER_CACHE_POLICY else [], [])
        Policies.read([], [policy] if policy["kind"] == CACHE_POLICY else [])
    except Unreadable as error:
        yield str(error)
