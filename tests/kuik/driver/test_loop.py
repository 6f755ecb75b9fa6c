"""The driver behaves as Metacontroller does for what the stages rely on."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kube.types import Key
from kuik.driver.controllers import Controller, Resource, load
from kuik.driver.loop import Driver, NotSettled
from kuik.driver.objects import Objects
from kuik.driver.troubles import HookFailed, SyncsFailed

Answer = Callable[[Mapping[str, Any]], Mapping[str, Any]]
PARENT = Resource("kuik.dev/v1alpha1", "ImageCache")
CHILD = Resource("kuik.dev/v1alpha1", "CachedImage", "InPlace")


class Script:
    """Hooks that answer as they are told, and remember what they were asked."""

    def __init__(self, answer: Answer, related: list[Any] | None = None) -> None:
        self.answer = answer
        self.related = related or []
        self.asked: list[Mapping[str, Any]] = []

    def sync(self, stage: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(request)
        return self.answer(request)

    def customize(self, stage: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"relatedResources": self.related}


class Refusing(Objects):
    """Objects of which one cannot be written."""

    refuse = ""

    def put(self, obj: Mapping[str, Any]) -> bool:
        if obj["metadata"]["name"] == self.refuse:
            raise OSError("full")
        return super().put(obj)


class World:
    """Objects, a clock and a driver with one controller."""

    def __init__(self, hooks: Script, **changes: Any) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.objects = Refusing(lambda: self.now)
        settings = {"decorator": False, "generate_selector": False, "customize": False, "children": (CHILD,), **changes}
        controller = Controller(name="test", stage="test", parent=PARENT, **settings)
        self.driver = Driver(self.objects, [controller], hooks, lambda: self.now)
        self.parent("p")

    def parent(self, name: str, **spec: Any) -> None:
        spec = {"selector": {"matchLabels": {"cache": "default"}}, **spec}
        parent = {"apiVersion": PARENT.api_version, "kind": PARENT.kind, "metadata": {"name": name}}
        self.objects.put({**parent, "spec": spec})

    def touch(self) -> None:
        """Give the stage a reason to be called."""
        self.parent("p", touched=self.objects.revision)

    def child(self, name: str) -> Any:
        return self.objects.get(Key(CHILD.api_version, CHILD.kind, "", name))


def child(name: str, spec: Any = None) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"cache": "default"}}
    return {"apiVersion": CHILD.api_version, "kind": CHILD.kind, "metadata": metadata, "spec": spec or {}}


def test_children_come_change_and_go() -> None:
    wanted = [child("a", {"x": 1}), child("b")]
    script = Script(lambda _request: {"status": {"seen": True}, "children": wanted})
    world = World(script)
    world.driver.settle()
    assert world.child("a")["spec"] == {"x": 1}
    parent = world.objects.get(Key(PARENT.api_version, PARENT.kind, "", "p"))
    assert parent is not None
    assert parent["status"] == {"seen": True, "observedGeneration": 1}
    assert world.driver.settle() == 0, "nothing changed, so nobody is asked"
    wanted[:] = [child("a", {"x": 2})]
    world.objects.put({**parent, "spec": {**parent["spec"], "touched": True}})
    world.driver.settle()
    assert world.child("a")["spec"] == {"x": 2}
    assert world.child("b") is None


def test_a_new_parent_adopts_the_orphans_its_selector_matches() -> None:
    def same(request: Mapping[str, Any]) -> Mapping[str, Any]:
        seen = request["children"]["CachedImage.kuik.dev/v1alpha1"].values()
        return {"children": [child(one["metadata"]["name"], one["spec"]) for one in seen]}

    script = Script(same)
    world = World(script)
    world.objects.put(child("kept", {"x": 1}))
    stranger = {**child("stranger"), "metadata": {"name": "stranger"}}
    world.objects.put(stranger)
    world.driver.settle()
    owner = world.objects.get(Key(PARENT.api_version, PARENT.kind, "", "p"))
    assert owner is not None
    assert world.child("kept")["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]
    assert "ownerReferences" not in world.child("stranger")["metadata"]


def test_a_parent_is_asked_again_when_it_wished_so() -> None:
    script = Script(lambda _request: {"children": [], "resyncAfterSeconds": 30.0})
    world = World(script)
    world.driver.settle()
    assert world.driver.next_resync() == world.now + timedelta(seconds=30)
    world.now += timedelta(seconds=29)
    assert world.driver.settle() == 0
    world.now += timedelta(seconds=1)
    assert world.driver.settle() == 1


@pytest.mark.parametrize(("ignored", "syncs"), [(False, 2), (True, 1)])
def test_a_parents_own_status_calls_again_unless_it_is_ignored(ignored: bool, syncs: int) -> None:
    script = Script(lambda _request: {"status": {"seen": True}, "children": []})
    world = World(script, ignore_status=ignored)
    assert world.driver.settle() == syncs
    parent = world.objects.get(Key(PARENT.api_version, PARENT.kind, "", "p"))
    assert parent is not None
    world.objects.put({**parent, "metadata": {**parent["metadata"], "annotations": {"touched": "by hand"}}})
    assert world.driver.settle() == 1


def test_a_hook_that_fails_changes_nothing() -> None:
    script = Script(lambda _request: {"children": [child("a")]})
    world = World(script)
    world.driver.settle()

    def fail(_request: Mapping[str, Any]) -> Mapping[str, Any]:
        raise HookFailed("unreadable")

    script.answer = fail
    parent = world.objects.get(Key(PARENT.api_version, PARENT.kind, "", "p"))
    assert parent is not None
    world.objects.put({**parent, "spec": {**parent["spec"], "touched": True}})
    with pytest.raises(SyncsFailed, match="unreadable"):
        world.driver.settle()
    assert world.child("a") is not None
    script.answer = lambda _request: {"children": [child("a"), child("b")]}
    world.driver.settle()
    assert world.child("b") is not None, "it is tried again"


@pytest.mark.parametrize(
    "answer", [{}, {"children": None}, {"children": "x"}, {"children": [{"kind": "Pod"}]}, None, []]
)
def test_an_answer_that_says_nothing_deletes_nothing(answer: Any) -> None:
    script = Script(lambda _request: {"children": [child("a")]})
    world = World(script)
    world.driver.settle()
    script.answer = lambda _request: answer
    world.touch()
    with pytest.raises(SyncsFailed, match="children"):
        world.driver.settle()
    assert world.child("a") is not None


@pytest.mark.parametrize("owner", [None, {"uid": "other", "controller": True}])
def test_what_others_made_under_a_childs_name_is_left_alone(owner: Any) -> None:
    world = World(Script(lambda _request: {"children": [child("taken", {"x": 1}), child("free")]}))
    meta = {"name": "taken", **({"ownerReferences": [owner], "labels": {"cache": "default"}} if owner else {})}
    world.objects.put({**child("taken", {"x": "theirs"}), "metadata": meta})
    before = world.child("taken")
    world.driver.settle()
    assert world.child("taken") == before
    assert world.child("free") is not None
    world.touch()
    world.driver.settle()
    assert world.child("taken") == before, "the next time too"


def test_a_child_that_loses_its_label_is_let_go() -> None:
    world = World(Script(lambda _request: {"children": [child("a")]}))
    world.driver.settle()
    found = world.child("a")
    world.objects.put({**found, "metadata": {**found["metadata"], "labels": {}}})
    world.driver.settle()
    assert not world.child("a")["metadata"]["ownerReferences"]


def test_one_parent_that_fails_does_not_keep_the_others_from_their_sync() -> None:
    def answer(request: Mapping[str, Any]) -> Mapping[str, Any]:
        name = request["parent"]["metadata"]["name"]
        if name == "bad":
            raise HookFailed("unreadable")
        return {"children": [child(f"of-{name}")]}

    script = Script(answer)
    world = World(script)
    for name in ("bad", "z"):
        world.parent(name)
    with pytest.raises(SyncsFailed, match="test/bad: unreadable"):
        world.driver.settle()
    assert world.child("of-p") is not None
    assert world.child("of-z") is not None
    asked = len(script.asked)
    with pytest.raises(SyncsFailed):
        world.driver.settle()
    assert len(script.asked) == asked + 1, "what failed is asked again, and nothing else"


def test_one_child_that_cannot_be_written_does_not_keep_back_the_others() -> None:
    world = World(Script(lambda _request: {"status": {"seen": True}, "children": [child("a"), child("b")]}))
    world.objects.refuse = "a"
    with pytest.raises(SyncsFailed, match="CachedImage a: full"):
        world.driver.settle()
    assert world.child("b") is not None
    world.objects.refuse = ""
    world.driver.settle()
    assert world.child("a") is not None, "it is tried again"


def test_on_delete_children_are_not_changed_and_strangers_are_refused() -> None:
    wanted = [child("a", {"x": 1})]
    script = Script(lambda _request: {"children": wanted})
    world = World(script, children=(Resource(CHILD.api_version, CHILD.kind, "OnDelete"),))
    world.driver.settle()
    parent = world.objects.get(Key(PARENT.api_version, PARENT.kind, "", "p"))
    assert parent is not None
    wanted[:] = [child("a", {"x": 2})]
    world.objects.put({**parent, "spec": {**parent["spec"], "touched": True}})
    world.driver.settle()
    assert world.child("a")["spec"] == {"x": 1}
    wanted.append({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}})
    world.objects.put({**parent, "spec": {**parent["spec"], "touched": False}})
    with pytest.raises(SyncsFailed, match="Pod"):
        world.driver.settle()


def test_an_output_that_never_rests_is_noticed() -> None:
    count = iter(range(10_000))
    script = Script(lambda _request: {"children": [child("a", {"n": next(count)})]})
    with pytest.raises(NotSettled):
        World(script).driver.settle()


def test_related_objects_are_those_the_rules_name() -> None:
    rules = [
        {"apiVersion": "v1", "resource": "pods", "namespace": "shop"},
        {"apiVersion": "v1", "resource": "namespaces"},
    ]
    script = Script(lambda _request: {"children": []}, rules)
    world = World(script, customize=True)
    for name, namespace in (("a", "shop"), ("b", "other")):
        world.objects.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}})
    world.driver.settle()
    related = script.asked[-1]["related"]
    assert related["Pod.v1"].keys() == {"shop/a"}
    assert related["Namespace.v1"] == {}


def test_the_controllers_are_those_that_a_cluster_applies() -> None:
    found = {controller.stage: controller for controller in load()}
    assert found.keys() == {"inventory", "imagecache", "cachedimage", "prefetch"}
    assert next(iter(load())).stage == "inventory"
    assert found["cachedimage"].generate_selector
    assert [(c.kind, c.strategy) for c in found["imagecache"].children] == [
        ("CachedImage", "InPlace"),
        ("MutatingWebhookConfiguration", "InPlace"),
        ("Role", "InPlace"),
        ("RoleBinding", "InPlace"),
        ("Job", "OnDelete"),
    ]
    assert [(c.kind, c.strategy) for c in found["cachedimage"].children] == [("Job", "OnDelete")]


@pytest.mark.parametrize("answer", [{"children": [], "resyncAfterSeconds": "soon"}, {"children": [child("a")]}])
def test_an_answer_that_cannot_be_followed_is_this_parents_trouble(answer: Any) -> None:
    rules = [] if "resyncAfterSeconds" in answer else [{"resource": "pods"}]
    world = World(Script(lambda _request: answer, related=rules), customize=True)
    with pytest.raises(SyncsFailed, match=r"resyncAfterSeconds|relatedResources"):
        world.driver.settle()
    assert world.child("a") is None


def test_a_mistake_of_ours_is_not_taken_for_trouble_of_a_parent() -> None:
    def mistaken(_request: Mapping[str, Any]) -> Mapping[str, Any]:
        raise KeyError("a field that is misspelled")

    with pytest.raises(KeyError):
        World(Script(mistaken)).driver.settle()
