"""A parent's children: which are its own, and how they become what a stage desires, as Metacontroller does both."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kube.types import Key, Object, owner
from kuik.driver.apply import applied, remembering
from kuik.driver.controllers import Controller
from kuik.driver.objects import Store
from kuik.driver.troubles import BadAnswer, ChildrenFailed, trouble_of


def claimed(objects: Store, controller: Controller, parent: Object) -> dict[Key, Object]:
    """The parent's children, after adopting orphans that its selector matches and letting go what it does not match."""
    selector = _selector(controller, parent)
    if selector:
        for resource in controller.children:
            for obj in list(objects.list(resource.api_version, resource.kind)):
                if owner(obj) is None and _matches(selector, obj):
                    objects.put(_owned(obj, parent))
    return {key: child for key, child in _own(objects, controller, parent) if _kept(objects, child, selector, parent)}


def _own(objects: Store, controller: Controller, parent: Object) -> Iterator[tuple[Key, Object]]:
    kinds = {(resource.api_version, resource.kind) for resource in controller.children}
    uid = parent["metadata"]["uid"]
    for key in objects.owned_by(uid):
        child = objects.get(key) if (key.api_version, key.kind) in kinds else None
        if child is not None and (owner(child) or {}).get("uid") == uid:
            yield key, child


def _kept(objects: Store, child: Object, selector: Mapping[str, str], parent: Object) -> bool:
    if _matches(selector, child):
        return True
    uid = parent["metadata"]["uid"]
    others = [one for one in child["metadata"]["ownerReferences"] if one.get("uid") != uid]
    objects.put({**child, "metadata": {**child["metadata"], "ownerReferences": others}})
    return False


def desired_children(controller: Controller, response: Mapping[str, Any]) -> dict[Key, Object]:
    """The children that a stage wants; raises BadAnswer, so that an answer that says nothing deletes nothing."""
    field = "attachments" if controller.decorator else "children"
    children = response.get(field) if isinstance(response, Mapping) else None
    if not isinstance(children, list):
        raise BadAnswer(f"{field}: the hook's answer has no such list")
    declared = {resource.group for resource in controller.children}
    wanted: dict[Key, Object] = {}
    for child in children:
        try:
            key = Key.of(child)
        except (KeyError, TypeError) as error:
            raise BadAnswer(f"{field}: one has no apiVersion, kind or metadata.name") from error
        if f"{key.kind}.{key.api_version}" not in declared:
            raise BadAnswer(f"{field}: controller {controller.name} does not declare {key.kind}")
        wanted[key] = child
    return wanted


def write_children(
    objects: Store,
    controller: Controller,
    parent: Object,
    observed: Mapping[Key, Object],
    wanted: Mapping[Key, Object],
) -> None:
    """Make the observed children what is wanted; raises ChildrenFailed when all that can be done is done."""
    labels = {"controller-uid": parent["metadata"]["uid"]} if controller.generate_selector else {}
    strategies = {resource.group: resource.strategy for resource in controller.children}

    def write(key: Key) -> None:
        if key not in wanted:
            _delete(objects, observed[key])
            return
        child = _labelled(wanted[key], labels)
        if key in observed:
            _update(objects, observed[key], child, strategies[f"{key.kind}.{key.api_version}"])
        elif objects.get(key) is None:  # else it is somebody else's, and stays that
            objects.put(_owned(remembering(child, child), parent))

    _each(write, [*(key for key in observed if key not in wanted), *wanted])


def _each(write: Any, keys: Iterable[Key]) -> None:
    failed = {key: error for key in keys if (error := trouble_of(lambda key=key: write(key)))}  # type: ignore[misc]
    if failed:
        said = "; ".join(f"{key.kind} {key.name}: {error}" for key, error in failed.items())
        raise ChildrenFailed(said) from next(iter(failed.values()))


def _update(objects: Store, observed: Object, child: Object, strategy: str) -> None:
    if observed["metadata"].get("deletionTimestamp"):
        return
    if strategy == "InPlace":
        objects.put(applied(observed, child))
    elif strategy == "Recreate" and applied(observed, child) != observed:
        objects.delete(Key.of(observed))


def _delete(objects: Store, observed: Object) -> None:
    if not observed["metadata"].get("deletionTimestamp"):
        objects.delete(Key.of(observed))


def _selector(controller: Controller, parent: Object) -> dict[str, str]:
    """What finds orphans to adopt; a generated selector holds the parent's uid, so there it is the owner alone."""
    if controller.decorator or controller.generate_selector:
        return {}
    selector: dict[str, str] = ((parent.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    return selector


def _matches(selector: Mapping[str, str], obj: Object) -> bool:
    return selector.items() <= (obj["metadata"].get("labels") or {}).items()


def _labelled(child: Object, labels: Mapping[str, str]) -> Object:
    metadata = child["metadata"]
    return {**child, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), **labels}}}


def _owned(child: Object, parent: Object) -> Object:
    reference = {
        "apiVersion": parent["apiVersion"],
        "kind": parent["kind"],
        "name": parent["metadata"]["name"],
        "uid": parent["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    others = child["metadata"].get("ownerReferences") or []
    return {**child, "metadata": {**child["metadata"], "ownerReferences": [*others, reference]}}
