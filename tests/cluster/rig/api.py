"""The API server by its own protocol: what tests read in a loop, and writes that no kubectl command makes."""

import http.client
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kube.paths import KINDS

Object = dict[str, Any]

RESOURCES = {kind.kind: kind.collection() for kind in KINDS.values()} | {
    "CompositeController": "apis/metacontroller.k8s.io/v1alpha1/compositecontrollers",
    "DecoratorController": "apis/metacontroller.k8s.io/v1alpha1/decoratorcontrollers",
}
MERGE = "application/merge-patch+json"
_WRITES = re.compile(r"^apiserver_request_total\{(.*)\} (\d+)", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class Refused(AssertionError):
    """The API server answered with an error; `status` is its Status object."""

    def __init__(self, code: int, status: Object) -> None:
        super().__init__(f"{code} {status.get('message', status)}")
        self.code = code
        self.status = status


@dataclass(frozen=True)
class Api:
    """An API server, on loopback unless another address is given, asked with a bearer token."""

    port: int
    authority: Path
    token: str
    address: str = "127.0.0.1"

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.port}"

    def request(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Object:
        """The answer to a request; raises Refused for an error and OSError where nobody listens."""
        code, text = self.raw(method, path, body, kind)
        document: Object = json.loads(text)
        if code >= 400:
            raise Refused(code, document)
        return document

    def raw(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> tuple[int, str]:
        """Status and text of an answer, whatever it is."""
        tls = ssl.create_default_context(cafile=str(self.authority))
        connection = http.client.HTTPSConnection(self.address, self.port, timeout=30, context=tls)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind, "Accept": "application/json, */*"}
        try:
            connection.request(method, f"/{path}", json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def list(self, kind: str, selector: str = "") -> list[Object]:
        """All objects of a kind, with their kind and version, which lists leave out."""
        path = RESOURCES[kind]
        found = self.request("GET", f"{path}?labelSelector={selector}" if selector else path)
        named = {"apiVersion": found["apiVersion"], "kind": kind}
        return [{**named, **item} for item in found["items"]]

    def patch(self, obj: Mapping[str, Any], change: Object, subresource: str = "") -> Object:
        """Merge a change into an object, or into a subresource such as `status`."""
        path = "/".join(filter(None, (self.path(obj), subresource)))
        return self.request("PATCH", path, change, MERGE)

    def path(self, obj: Mapping[str, Any]) -> str:
        """Where an object is."""
        prefix, _, resource = RESOURCES[obj["kind"]].rpartition("/")
        meta = obj["metadata"]
        inside = f"/namespaces/{meta['namespace']}" if meta.get("namespace") else ""
        return f"{prefix}{inside}/{resource}/{meta['name']}"

    def writes(self, *resources: str) -> int:
        """Write requests so far for these resources, also those that changed nothing and so left no trace."""
        _, text = self.raw("GET", "metrics")
        total = 0
        for labels, count in _WRITES.findall(text):
            found = dict(_LABEL.findall(labels))
            wanted = found.get("resource") in resources and found.get("dry_run", "") == ""
            if wanted and found.get("verb") in ("POST", "PUT", "PATCH", "APPLY", "DELETE"):
                total += int(count)
        return total
