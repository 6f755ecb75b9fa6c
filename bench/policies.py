"""Policies as a large cluster has them, of which none fits what the benchmarks send."""

from collections.abc import Iterator

from kube.types import API_VERSION, CLUSTER_CACHE_POLICY, Object

RULES = 200
_POLICIES = 2


def cluster_policies() -> Iterator[Object]:
    """Two ClusterCachePolicies with 200 rules between them; each rule fits the pods but not their images."""
    for number in range(_POLICIES):
        rules = [
            {
                "name": f"r{at}",
                "action": "Ignore",
                "match": {
                    "images": [f"*.example.org/team-{at}/*:*", f"quay.io/other-{at}/*"],
                    "podSelector": {"matchLabels": {"tier": "web"}},
                },
            }
            for at in range(RULES // _POLICIES)
        ]
        meta = {"name": f"p{number}"}
        yield {"apiVersion": API_VERSION, "kind": CLUSTER_CACHE_POLICY, "metadata": meta, "spec": {"rules": rules}}
