"""The kinds that the stages read and write."""

from hooks.messages import Resource
from kube.types import (
    API_VERSION,
    CACHE_POLICY,
    CACHED_IMAGE,
    CLUSTER_CACHE_POLICY,
    IMAGE_CACHE,
    IMAGE_INVENTORY,
    IMAGE_PREFETCH,
)

NAMESPACE = Resource("v1", "Namespace", "namespaces")
NODE = Resource("v1", "Node", "nodes")
POD = Resource("v1", "Pod", "pods")
SERVICE_ACCOUNT = Resource("v1", "ServiceAccount", "serviceaccounts")
DEPLOYMENT = Resource("apps/v1", "Deployment", "deployments")
STATEFUL_SET = Resource("apps/v1", "StatefulSet", "statefulsets")
DAEMON_SET = Resource("apps/v1", "DaemonSet", "daemonsets")
JOB = Resource("batch/v1", "Job", "jobs")
CRON_JOB = Resource("batch/v1", "CronJob", "cronjobs")
ROLE = Resource("rbac.authorization.k8s.io/v1", "Role", "roles")
ROLE_BINDING = Resource("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
WEBHOOK = Resource("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations")
CLUSTER_POLICY = Resource(API_VERSION, CLUSTER_CACHE_POLICY, "clustercachepolicies")
POLICY = Resource(API_VERSION, CACHE_POLICY, "cachepolicies")
CACHE = Resource(API_VERSION, IMAGE_CACHE, "imagecaches")
INVENTORY = Resource(API_VERSION, IMAGE_INVENTORY, "imageinventories")
CACHED = Resource(API_VERSION, CACHED_IMAGE, "cachedimages")
PREFETCH = Resource(API_VERSION, IMAGE_PREFETCH, "imageprefetches")
