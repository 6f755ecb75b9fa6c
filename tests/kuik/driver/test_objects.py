"""The API server's part in memory."""

from datetime import UTC, datetime
from typing import Any

from kube.types import Key
from kuik.driver.objects import Objects


def obj(name: str, spec: Any = None, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": name, **metadata}, "spec": spec}


def made() -> Objects:
    return Objects(lambda: datetime(2026, 1, 1, tzinfo=UTC))


def stored(objects: Objects, name: str) -> Any:
    found = objects.get(Key("v1", "Thing", "", name))
    assert found is not None
    return found


def test_generation_follows_the_spec_and_the_version_every_change() -> None:
    objects = made()
    assert objects.put(obj("a", 1))
    first = stored(objects, "a")
    assert (first["metadata"]["generation"], first["metadata"]["creationTimestamp"]) == (1, "2026-01-01T00:00:00Z")
    assert not objects.put(obj("a", 1)), "the same again is no change"
    assert objects.put(obj("a", 1, labels={"x": "y"}))
    assert stored(objects, "a")["metadata"]["generation"] == 1
    assert objects.put(obj("a", 2, labels={"x": "y"}))
    last = stored(objects, "a")
    assert last["metadata"]["generation"] == 2
    assert last["metadata"]["uid"] == first["metadata"]["uid"]
    assert last["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]


def test_status_is_a_subresource() -> None:
    objects = made()
    objects.put(obj("a", 1))
    key = Key("v1", "Thing", "", "a")
    assert objects.put_status(key, {"phase": "x"})
    assert not objects.put_status(key, {"phase": "x"})
    objects.put({**obj("a", 2), "status": {"phase": "ignored"}})
    assert stored(objects, "a")["status"] == {"phase": "x"}
    assert stored(objects, "a")["metadata"]["generation"] == 2
    assert not objects.put_status(Key("v1", "Thing", "", "gone"), {"phase": "x"})


def test_what_an_object_owns_goes_with_it() -> None:
    objects = made()
    objects.put(obj("parent"))
    uid = stored(objects, "parent")["metadata"]["uid"]
    objects.put(obj("child", ownerReferences=[{"uid": uid}]))
    child = stored(objects, "child")["metadata"]["uid"]
    objects.put(obj("grandchild", ownerReferences=[{"uid": child}]))
    objects.put(obj("other"))
    objects.delete(Key("v1", "Thing", "", "parent"))
    assert [found["metadata"]["name"] for found in objects.list("v1", "Thing")] == ["other"]


def test_lists_are_of_one_kind_and_namespace_in_order() -> None:
    objects = made()
    for name, namespace in (("b", "x"), ("a", "x"), ("c", "y")):
        objects.put(obj(name, namespace=namespace))
    objects.put({**obj("d"), "kind": "Other"})
    assert [found["metadata"]["name"] for found in objects.list("v1", "Thing", "x")] == ["a", "b"]
    assert [found["metadata"]["name"] for found in objects.list("v1", "Thing")] == ["a", "b", "c"]
