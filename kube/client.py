"""The Kubernetes API by its paths. Nothing else imports `kubernetes`, which costs 44 MiB.

An object's path is `api/v1/...` or `apis/<group>/<version>/...`, as `kubectl get --raw` takes it; see kube.paths.
"""

import json
import os
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Self
from urllib.parse import urlencode

from kubernetes import client, config
from kubernetes.client import rest
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

from kube.types import Object

MERGE_PATCH = "application/merge-patch+json"  # RFC 7386
JSON_PATCH = "application/json-patch+json"  # RFC 6902
_TIMEOUT = 10.0
_MAX_PAGE = 500
_MAX_LINE = 8 << 20
"""Bytes: more than any object that etcd keeps."""
# The client lets its transport's errors through.
_NO_ANSWER: type[Exception] = rest.urllib3.exceptions.HTTPError  # type: ignore[attr-defined]


class KubernetesError(Exception):
    """The API server refused, or could not be asked. `status` is its HTTP status, 0 where there was no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """An API server and who we are to it; threads share it. Paths begin without a slash."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api

    @classmethod
    def in_cluster(cls) -> Self:
        """With the service account of the pod that this runs in; raises KubernetesError outside of one."""
        settings = _settings()
        try:
            config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
        except ConfigException as error:
            raise KubernetesError(f"this is no pod with a service account: {error}") from error
        return cls(client.ApiClient(settings))

    @classmethod
    def from_kubeconfig(cls, path: str | None = None, context: str | None = None) -> Self:
        """As kubectl would: from a kubeconfig, $KUBECONFIG or ~/.kube/config; raises KubernetesError."""
        settings = _settings()
        try:
            config.load_kube_config(path, context, client_configuration=settings)  # type: ignore[no-untyped-call]
        except ConfigException as error:
            named = path or os.environ.get("KUBECONFIG") or "~/.kube/config"
            said = f"no kubeconfig that can be used ({named}): {str(error).rstrip('.')}"
            raise KubernetesError(f"{said}; name one with --kubeconfig or KUBECONFIG") from error
        return cls(client.ApiClient(settings))

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The object or list at a path; raises KubernetesError (status 404 where there is none)."""
        return self.request("GET", f"{path}?{urlencode(query)}" if query else path)

    def find(self, path: str) -> dict[str, Any] | None:
        """The object or list at a path, None where there is none or its kind is not known; raises KubernetesError."""
        try:
            return self.get(path)
        except KubernetesError as error:
            if error.status == 404:
                return None
            raise

    def items(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[Object]:
        """Every object of a list, page by page, as the API server keeps them: without kind and apiVersion."""
        asked = {"limit": str(_MAX_PAGE), **(query or {})}
        while True:
            page = self.get(path, asked)
            yield from page.get("items") or ()
            more = (page.get("metadata") or {}).get("continue")
            if not more:
                return
            asked["continue"] = more

    def create(self, path: str, obj: Object) -> dict[str, Any]:
        """POST an object to its collection's path; raises KubernetesError (status 409 where it exists)."""
        return self.request("POST", path, obj)

    def patch(self, path: str, change: Any, kind: str = MERGE_PATCH) -> dict[str, Any]:
        """PATCH an object with a merge patch, or with the kind named; raises KubernetesError."""
        return self.request("PATCH", path, change, kind)

    def request(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> dict[str, Any]:
        """The JSON that a request is answered with; raises KubernetesError."""
        response = self._ask(method, path, body, kind, _TIMEOUT)
        try:
            document = json.loads(response.response.read())
        except (_NO_ANSWER, ValueError) as error:
            raise KubernetesError(f"{_what(method, path)}: the answer broke off or is not JSON") from error
        if not isinstance(document, dict):
            raise KubernetesError(f"{_what(method, path)}: the answer is no object")
        return document

    def text(self, path: str) -> str:
        """What a path is answered with that is no JSON, such as metrics: at most 8 MiB; raises KubernetesError."""
        response = self._ask("GET", path, None, "text/plain", _TIMEOUT)
        try:
            found: bytes = response.response.read(_MAX_LINE)
        except _NO_ANSWER as error:
            raise KubernetesError(f"{_what('GET', path)}: the answer broke off") from error
        finally:
            response.response.close()
        return found.decode(errors="replace")

    def lines(
        self,
        path: str,
        query: Mapping[str, str],
        idle: float,
        opened: Callable[[Callable[[], None]], None] | None = None,
    ) -> Generator[bytes, None, None]:
        """The lines of an answer that goes on, such as a watch; raises KubernetesError when it breaks off.

        `idle` is how many seconds may pass without a byte. `opened` gets what ends the answer from another thread.
        """
        response = self._ask("GET", f"{path}?{urlencode(query)}", None, "application/json", (_TIMEOUT, idle)).response
        rest_of_line = b""
        try:
            if opened:
                opened(response.shutdown)
            for chunk in response.stream(65536):
                *whole, rest_of_line = (rest_of_line + chunk).split(b"\n")
                yield from whole
                if len(rest_of_line) > _MAX_LINE:
                    raise KubernetesError(f"{_what('GET', path)}: a line is longer than {_MAX_LINE} bytes")
        except (_NO_ANSWER, OSError, ValueError) as error:
            raise KubernetesError(f"{_what('GET', path)}: the answer broke off: {type(error).__name__}") from error
        finally:
            response.close()  # not back to the pool: the answer may not be at its end

    def _ask(self, method: str, path: str, body: Any, kind: str, timeout: Any) -> Any:
        """The response to a request, its body not read yet; an error's body is."""
        signed = self._api.param_serialize(
            method, f"/{path}", header_params={"Accept": "application/json"}, auth_settings=["BearerToken"]
        )
        headers = {**signed[2], "Content-Type": kind}
        try:
            found: Any = self._api.call_api(method, signed[1], headers, body, _request_timeout=timeout)
            if found.status >= 400:
                raise _refused(_what(method, path), found.status, found.response.read())
        except ApiException as error:
            raise _refused(_what(method, path), int(error.status or 0), error.body or error.reason) from error
        except _NO_ANSWER as error:
            raise KubernetesError(f"{_what(method, path)}: the API server did not answer") from error
        return found


class Jobs:
    """The Jobs of a namespace, through the pod's own service account."""

    def __init__(self, api: Api) -> None:
        self._api = api

    @classmethod
    def in_cluster(cls) -> Self:
        """With the service account of the pod that this runs in; raises KubernetesError outside of one."""
        return cls(Api.in_cluster())

    def annotate(self, namespace: str, name: str, annotations: dict[str, str]) -> None:
        """Set annotations of one Job, leaving its others; raises KubernetesError."""
        path = f"apis/batch/v1/namespaces/{namespace}/jobs/{name}"
        try:
            self._api.patch(path, {"metadata": {"annotations": annotations}})
        except KubernetesError as error:
            raise KubernetesError(f"annotating Job {namespace}/{name}: {error}", error.status) from error


def _settings() -> client.Configuration:
    settings = client.Configuration()
    settings.retries = False  # whoever asks knows better when to ask again
    return settings


def _what(method: str, path: str) -> str:
    return f"{method} {path.partition('?')[0]}"


def _refused(what: str, status: int, body: Any) -> KubernetesError:
    """The error for an answer; of its Status object the message, cut short."""
    try:
        document = json.loads(body or "")
    except (ValueError, TypeError):
        document = None
    message = document.get("message") if isinstance(document, dict) else None
    return KubernetesError(f"{what}: {status}" + (f": {str(message)[:300]}" if message else ""), status)
