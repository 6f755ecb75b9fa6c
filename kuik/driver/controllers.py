"""The controllers that Metacontroller would run, read from the same YAML that a cluster applies."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Self

import yaml

from kube.paths import KINDS

_KINDS = {kind.plural: kind for kind in KINDS.values()}
"""Kinds by the names that controllers have for them: what an API server's discovery would tell."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind that a controller reads or owns; `strategy` is how it updates children of that kind."""

    api_version: str
    kind: str
    strategy: str = "OnDelete"

    @classmethod
    def read(cls, spec: dict[str, Any]) -> Self:
        """From an entry such as `{apiVersion: batch/v1, resource: jobs, updateStrategy: {method: OnDelete}}`."""
        strategy = (spec.get("updateStrategy") or {}).get("method", "OnDelete")
        return cls(spec["apiVersion"], _KINDS[spec["resource"]].kind, strategy)

    @property
    def group(self) -> str:
        """How Metacontroller names the kind in requests, such as `Job.batch/v1`."""
        return f"{self.kind}.{self.api_version}"

    @property
    def namespaced(self) -> bool:
        return KINDS[self.kind].namespaced


@dataclass(frozen=True, slots=True)
class Controller:
    """One CompositeController or DecoratorController: which stage it calls for which parents.

    With `ignore_status`, a change of nothing but a parent's status is no reason to call.
    """

    name: str
    stage: str
    decorator: bool
    generate_selector: bool
    customize: bool
    parent: Resource
    children: tuple[Resource, ...]
    ignore_status: bool = False

    @classmethod
    def read(cls, document: dict[str, Any]) -> Self:
        """From a controller's manifest; the stage is the last part of its sync hook's path."""
        spec = document["spec"]
        decorator = document["kind"] == "DecoratorController"
        parent = spec["resources"][0] if decorator else spec["parentResource"]
        webhook = spec["hooks"]["sync"]["webhook"]
        path = webhook.get("path") or webhook["url"]
        return cls(
            name=document["metadata"]["name"],
            stage=path.rsplit("/", 1)[-1],
            decorator=decorator,
            generate_selector=bool(spec.get("generateSelector")),
            customize="customize" in spec["hooks"],
            parent=Resource.read(parent),
            children=tuple(Resource.read(c) for c in spec.get("attachments" if decorator else "childResources", ())),
            ignore_status=bool(parent.get("ignoreStatusChanges")),
        )


def load() -> tuple[Controller, ...]:
    """The controllers in `metacontroller/controllers/`, in the order of the chain: inventories come first."""
    folder = files("metacontroller") / "controllers"
    documents = [
        document
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".yaml")
        for document in yaml.safe_load_all(entry.read_text())
        if document
    ]
    found = [Controller.read(d) for d in documents if d["kind"] in ("CompositeController", "DecoratorController")]
    return tuple(
        sorted(found, key=lambda controller: (not controller.decorator, controller.parent.kind != "ImageCache"))
    )
