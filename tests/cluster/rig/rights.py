"""The rights of kuik's service accounts: what metacontroller/rbac.yaml gives, and what an audit log says was used."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

RBAC = Path(__file__).parents[3] / "metacontroller" / "rbac.yaml"
NAMESPACE = "kuik-system"
_PREFIX = f"system:serviceaccount:{NAMESPACE}:"


@dataclass(frozen=True, order=True)
class Right:
    """One verb on one resource; `namespace` is empty for the whole cluster, `name` for every object."""

    account: str
    verb: str
    resource: str
    """With its group, as `cachedimages.kuik.dev`."""
    namespace: str = ""
    name: str = ""


@dataclass(frozen=True, order=True)
class Request:
    """What an account asked for; `allowed` is what its rights say, whatever became of it then."""

    account: str
    verb: str
    resource: str
    namespace: str
    name: str
    allowed: bool

    def needs(self, right: Right) -> bool:
        """Whether the right is one that lets it through."""
        same = (self.account, self.verb, self.resource) == (right.account, right.verb, right.resource)
        return same and right.namespace in ("", self.namespace) and right.name in ("", self.name)


def given(file: Path = RBAC) -> Iterator[Right]:
    """Every right of every account."""
    documents = [one for one in yaml.safe_load_all(file.read_text()) if one]
    roles = {(one["kind"], one["metadata"]["name"]): one for one in documents if one["kind"].endswith("Role")}
    for binding in (one for one in documents if one["kind"].endswith("Binding")):
        role = roles[binding["roleRef"]["kind"], binding["roleRef"]["name"]]
        namespace = binding["metadata"].get("namespace", "")
        for rule in role["rules"]:
            for resource, verb, name, subject in _each(rule, binding["subjects"]):
                yield Right(subject, verb, resource, namespace, name)


def _each(rule: dict[str, Any], subjects: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    for group in rule["apiGroups"]:
        for resource in rule["resources"]:
            for verb in rule["verbs"]:
                for name in rule.get("resourceNames", [""]):
                    for subject in subjects:
                        yield f"{resource}.{group}" if group else resource, verb, name, subject["name"]


def asked(audit: Path) -> Iterator[Request]:
    """What kuik's accounts asked the API server for, as its audit log has it."""
    for line in audit.read_text().splitlines():
        event = json.loads(line)
        user, ref = event["user"]["username"], event.get("objectRef") or {}
        if not user.startswith(_PREFIX) or event["stage"] != "ResponseComplete" or not ref.get("resource"):
            continue
        resource = "/".join(filter(None, (ref["resource"], ref.get("subresource"))))
        group = ref.get("apiGroup", "")
        yield Request(
            user.removeprefix(_PREFIX),
            event["verb"],
            f"{resource}.{group}" if group else resource,
            ref.get("namespace", ""),
            ref.get("name", ""),
            event.get("annotations", {}).get("authorization.k8s.io/decision") == "allow",
        )


def unused(rights: Iterable[Right], requests: Iterable[Request]) -> list[Right]:
    """The rights that no request which was let through has needed."""
    through = [one for one in set(requests) if one.allowed]
    return sorted(right for right in set(rights) if not any(one.needs(right) for one in through))
