"""The YAML that a cluster applies: it fits the hooks, the schemas and what Kubernetes asks of CRDs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hooks.messages import Style
from hooks.stages import STAGES
from kube.schema import validate

ROOT = Path(__file__).parents[2] / "metacontroller"
CONTROLLERS = sorted((ROOT / "controllers").glob("*.yaml"))
CRDS = sorted((ROOT / "crds").glob("*.yaml"))


def load(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


def applied() -> list[dict[str, Any]]:
    """Everything that the kustomization names."""
    (kustomization,) = load(ROOT / "kustomization.yaml")
    return [document for name in kustomization["resources"] for document in load(ROOT / name)]


@pytest.mark.parametrize("path", CONTROLLERS, ids=lambda path: path.stem)
def test_a_controller_is_what_its_stage_expects(path: Path) -> None:
    (controller,) = load(path)
    spec, stage = controller["spec"], STAGES[path.stem]
    decorator = stage.style is Style.DECORATOR
    assert controller["kind"] == ("DecoratorController" if decorator else "CompositeController")
    assert controller["metadata"]["name"] == f"kuik-{stage.name}"
    parent = spec["resources"][0] if decorator else spec["parentResource"]
    assert (parent["apiVersion"], parent["resource"]) == (stage.parent.api_version, stage.parent.resource)
    children = spec["attachments" if decorator else "childResources"]
    expected = [(child.api_version, child.resource) for child in stage.children]
    # All that a decorator reads is named too, so that Metacontroller has it before the first sync. Nothing of it is
    # ever adopted there, as a composite controller would.
    if decorator:
        parent_object = {"apiVersion": stage.parent.api_version, "kind": stage.parent.kind, "metadata": {"name": "x"}}
        related = {rule.resource for rule in stage.customize(parent_object)} - {stage.parent}
        expected += [(resource.api_version, resource.resource) for resource in related]
    assert sorted((child["apiVersion"], child["resource"]) for child in children) == sorted(expected)
    assert all("updateStrategy" not in child for child in children[len(stage.children) :])
    assert spec["resyncPeriodSeconds"] > 0
    assert "finalize" not in spec["hooks"]


@pytest.mark.parametrize("path", CONTROLLERS, ids=lambda path: path.stem)
def test_a_controller_calls_its_stage_and_asks_for_related_objects_where_it_has_some(path: Path) -> None:
    (controller,) = load(path)
    hooks, stage = controller["spec"]["hooks"], STAGES[path.stem]
    parent = {"apiVersion": stage.parent.api_version, "kind": stage.parent.kind, "metadata": {"name": "x"}}
    assert hooks["sync"]["webhook"]["path"] == f"/sync/{stage.name}"
    assert ("customize" in hooks) == bool(stage.customize(parent))
    if "customize" in hooks:
        assert hooks["customize"]["webhook"]["path"] == f"/customize/{stage.name}"


def test_every_stage_has_a_controller() -> None:
    assert {path.stem for path in CONTROLLERS} == set(STAGES)


def test_jobs_are_never_updated_and_children_of_ours_are_in_place() -> None:
    found = {path.stem: load(path)[0]["spec"] for path in CONTROLLERS}
    assert found["cachedimage"]["childResources"][0]["updateStrategy"]["method"] == "OnDelete"
    assert found["cachedimage"]["generateSelector"] is True
    assert found["imagecache"]["childResources"][0]["updateStrategy"]["method"] == "InPlace"


def schemas(schema: dict[str, Any], field: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield field, schema
    for name, child in (schema.get("properties") or {}).items():
        yield from schemas(child, f"{field}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from schemas(schema[key], f"{field}[]")


@pytest.mark.parametrize("path", CRDS, ids=lambda path: path.stem)
def test_a_crd_is_structural_and_explains_itself(path: Path) -> None:
    (crd,) = load(path)
    spec = crd["spec"]
    (version,) = spec["versions"]
    assert crd["metadata"]["name"] == f"{spec['names']['plural']}.{spec['group']}"
    assert spec["names"]["categories"] == ["kuik"]
    assert (version["served"], version["storage"]) == (True, True)
    for field, schema in schemas(version["schema"]["openAPIV3Schema"], "object"):
        assert "type" in schema, field
        named = not field.endswith("[]") and field.rpartition(".")[2] not in ("apiVersion", "kind", "metadata")
        assert "description" in schema or not named, f"{field}: kubectl explain has nothing to say"
        assert schema["type"] != "array" or "items" in schema, field


@pytest.mark.parametrize("path", CRDS, ids=lambda path: path.stem)
def test_columns_show_fields_that_exist(path: Path) -> None:
    (version,) = load(path)[0]["spec"]["versions"]
    known = {field for field, _ in schemas(version["schema"]["openAPIV3Schema"], "")}
    for column in version["additionalPrinterColumns"]:
        plain = column["jsonPath"].partition("[")[0]
        assert plain in known or plain == ".metadata.creationTimestamp", column["name"]


def test_cached_images_have_the_columns_that_people_read() -> None:
    (version,) = load(ROOT / "crds" / "cachedimages.yaml")[0]["spec"]["versions"]
    columns = [(column["name"], column.get("priority", 0)) for column in version["additionalPrinterColumns"]]
    narrow = [(name, 0) for name in ("IMAGE", "PHASE", "SIZE", "USED-BY", "AGE")]
    assert columns == [*narrow, ("DIGEST", 1), ("REASON", 1)]


def test_the_default_image_cache_is_valid() -> None:
    (cache,) = load(ROOT / "imagecache.yaml")
    assert validate(cache) == ()
    assert cache["metadata"]["name"] == "default"


def test_everything_has_its_namespace_and_its_account() -> None:
    objects = applied()
    namespaces = {obj["metadata"]["name"] for obj in objects if obj["kind"] == "Namespace"}
    accounts = {obj["metadata"]["name"] for obj in objects if obj["kind"] == "ServiceAccount"}
    assert {obj["metadata"].get("namespace") for obj in objects} <= namespaces | {None}
    (deployment,) = [obj for obj in objects if obj["kind"] == "Deployment"]
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] in accounts
    assert "kuik-copy" in accounts


def test_the_hooks_service_is_the_one_that_controllers_call() -> None:
    services = [obj for obj in applied() if obj["kind"] == "Service"]
    (service,) = [obj for obj in services if obj["metadata"]["name"] != "kuik-admission"]
    ports = [port["port"] for port in service["spec"]["ports"]]
    called = [hook["webhook"]["service"] for path in CONTROLLERS for hook in load(path)[0]["spec"]["hooks"].values()]
    meta = service["metadata"]
    assert called
    assert all(one == {"name": meta["name"], "namespace": meta["namespace"], "port": ports[0]} for one in called)


KNOWN = {
    "type", "format", "description", "properties", "items", "required", "default", "enum", "pattern", "nullable",
    "minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum", "minProperties", "maxProperties",
    "additionalProperties",
}  # fmt: skip


def unknown_fields(schema: dict[str, Any], where: str) -> Iterator[str]:
    """The fields of a schema that an API server refuses, such as the rest of a sentence after a comma in `{...}`."""
    yield from (f"{where}.{field}" for field in schema if field not in KNOWN and not field.startswith("x-kubernetes-"))
    for name, inner in schema.get("properties", {}).items():
        yield from unknown_fields(inner, f"{where}.{name}")
    for field in ("items", "additionalProperties"):
        if isinstance(schema.get(field), dict):
            yield from unknown_fields(schema[field], f"{where}.{field}")


@pytest.mark.parametrize("path", CRDS, ids=lambda path: path.stem)
def test_a_schema_has_no_field_that_an_api_server_refuses(path: Path) -> None:
    (crd,) = load(path)
    for version in crd["spec"]["versions"]:
        assert list(unknown_fields(version["schema"]["openAPIV3Schema"], path.stem)) == []
