"""The kinds that the stages read and write."""

from hooks.messages import Resource
from kube.types import API_VERSION, CACHED_IMAGE, IMAGE_CACHE, IMAGE_INVENTORY

NAMESPACE = Resource("v1", "Namespace", "namespaces")
POD = Resource("v1", "Pod", "pods")
SERVICE_ACCOUNT = Resource("v1", "ServiceAccount", "serviceaccounts")
DEPLOYMENT = Resource("apps/v1", "Deployment", "deployments")
STATEFUL_SET = Resource("apps/v1", "StatefulSet", "statefulsets")
DAEMON_SET = Resource("apps/v1", "DaemonSet", "daemonsets")
JOB = Resource("batch/v1", "Job", "jobs")
CRON_JOB = Resource("batch/v1", "CronJob", "cronjobs")
CACHE = Resource(API_VERSION, IMAGE_CACHE, "imagecaches")
INVENTORY = Resource(API_VERSION, IMAGE_INVENTORY, "imageinventories")
CACHED = Resource(API_VERSION, CACHED_IMAGE, "cachedimages")
