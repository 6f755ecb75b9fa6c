"""The Kubernetes API, as far as kuik's Jobs need it. Nothing else imports `kubernetes`, which costs 44 MiB."""

import json
from typing import Any

from kubernetes import client, config
from kubernetes.client import rest
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

_TIMEOUT = 10.0
# The client lets its transport's errors through.
_NO_ANSWER: type[Exception] = rest.urllib3.exceptions.HTTPError  # type: ignore[attr-defined]


class KubernetesError(Exception):
    """The API server refused, or could not be asked. `status` is its HTTP status, 0 where there was no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Jobs:
    """The Jobs of a namespace, through the pod's own service account."""

    def __init__(self, api: client.BatchV1Api) -> None:
        self._api = api

    @classmethod
    def in_cluster(cls) -> "Jobs":
        """With the service account of the pod that this runs in; raises KubernetesError outside of one."""
        settings = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
        except ConfigException as error:
            raise KubernetesError(f"this is no pod with a service account: {error}") from error
        return cls(client.BatchV1Api(client.ApiClient(settings)))

    def annotate(self, namespace: str, name: str, annotations: dict[str, str]) -> None:
        """Set annotations of one Job, leaving its others; raises KubernetesError."""
        body: dict[str, Any] = {"metadata": {"annotations": annotations}}
        try:
            self._api.patch_namespaced_job(name, namespace, body, _request_timeout=_TIMEOUT)
        except ApiException as error:
            said = f"annotating Job {namespace}/{name}: {error.status} {error.reason}{_message(error)}"
            raise KubernetesError(said, int(error.status or 0)) from error
        except _NO_ANSWER as error:
            raise KubernetesError(f"annotating Job {namespace}/{name}: the API server did not answer") from error


def _message(error: ApiException) -> str:
    """What the API server's Status object says, cut short."""
    try:
        document = json.loads(error.body or "")
    except ValueError:
        return ""
    message = document.get("message") if isinstance(document, dict) else None
    return f": {str(message)[:300]}" if message else ""
