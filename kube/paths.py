"""Where objects are in the Kubernetes API: the path of a kind, of its objects in a namespace, and of one object."""

from dataclasses import dataclass

from kube.types import API_VERSION, Key


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind as discovery tells it: `plural` is its name in paths."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    def collection(self, namespace: str = "") -> str:
        """The path of all its objects, or of those of one namespace."""
        prefix = "api" if "/" not in self.api_version else "apis"
        inside = f"/namespaces/{namespace}" if namespace else ""
        return f"{prefix}/{self.api_version}{inside}/{self.plural}"

    def path(self, name: str, namespace: str = "") -> str:
        """The path of one object."""
        return f"{self.collection(namespace)}/{name}"


KINDS = {
    kind.kind: kind
    for kind in (
        Kind("v1", "Namespace", "namespaces", namespaced=False),
        Kind("v1", "Node", "nodes", namespaced=False),
        Kind("v1", "Pod", "pods"),
        Kind("v1", "ServiceAccount", "serviceaccounts"),
        Kind("v1", "Secret", "secrets"),
        Kind("v1", "Event", "events"),
        Kind("apps/v1", "Deployment", "deployments"),
        Kind("apps/v1", "ReplicaSet", "replicasets"),
        Kind("apps/v1", "StatefulSet", "statefulsets"),
        Kind("apps/v1", "DaemonSet", "daemonsets"),
        Kind("batch/v1", "CronJob", "cronjobs"),
        Kind("batch/v1", "Job", "jobs"),
        Kind("rbac.authorization.k8s.io/v1", "Role", "roles"),
        Kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings"),
        Kind(
            "admissionregistration.k8s.io/v1",
            "MutatingWebhookConfiguration",
            "mutatingwebhookconfigurations",
            namespaced=False,
        ),
        Kind(API_VERSION, "ImageCache", "imagecaches", namespaced=False),
        Kind(API_VERSION, "ImageInventory", "imageinventories", namespaced=False),
        Kind(API_VERSION, "CachedImage", "cachedimages", namespaced=False),
        Kind(API_VERSION, "ClusterCachePolicy", "clustercachepolicies", namespaced=False),
        Kind(API_VERSION, "CachePolicy", "cachepolicies"),
        Kind(API_VERSION, "ImagePrefetch", "imageprefetches", namespaced=False),
    )
}
"""The kinds that kuik reads or writes, by name."""


def path_of(key: Key) -> str:
    """The path of the object that a key names; raises KeyError for kinds that kuik has nothing to do with."""
    return KINDS[key.kind].path(key.name, key.namespace)
