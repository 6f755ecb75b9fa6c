"""A small cluster in which pods wait for images, and what kubelet and the API server would make of a patch."""

import copy
from typing import Any

import jsonpatch
from hypothesis import strategies as st

from hooks.policy import Policies
from kuik.rescue.decision import Images, Rescue, World
from tests.hooks.world import pods

NGINX = "docker.io/library/nginx:1.27"
PROXIED = f"localhost:7439/{NGINX}"
REASONS = ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable")
KEY = b"0" * 64


def cached(image: str, *, secret: str = "", condition: str = "True") -> dict[str, Any]:
    """A CachedImage, public, or private with a proof for this secret of namespace shop."""
    access: dict[str, Any] = {"visibility": "Public"}
    if secret:
        access = {"visibility": "Private", "secrets": [{"namespace": "shop", "secret": secret}]}
    status = {"access": access, "conditions": [{"type": "Cached", "status": condition}]}
    return {"metadata": {"name": "x"}, "spec": {"image": image}, "status": status}


def world(*images: dict[str, Any], ready: bool = True, namespace: dict[str, str] | None = None, **fields: Any) -> World:
    shop = {"metadata": {"name": "shop", "labels": namespace or {}}}
    usual: dict[str, Any] = {"policies": Policies(), "mode": "On", "key": KEY}
    nodes = frozenset({"node"} if ready else ())
    found = Images.of(images or (cached(NGINX),))
    return World(namespaces={"shop": shop}, nodes=nodes, images=found, **{**usual, **fields})


def pod(*images: str, waits: tuple[int, ...] = (0,), reason: str = REASONS[0], **meta: Any) -> dict[str, Any]:
    """A pod on the node; the containers of these positions wait, the others run."""
    states: list[dict[str, Any]] = [
        {"waiting": {"reason": reason}} if at in waits else {"running": {}} for at in range(len(images))
    ]
    return {
        "metadata": {"name": "p", "namespace": "shop", "uid": "u", "resourceVersion": "1", **meta},
        "spec": {"nodeName": "node", "containers": [{"name": f"c{at}", "image": it} for at, it in enumerate(images)]},
        "status": {"containerStatuses": [{"name": f"c{at}", "state": state} for at, state in enumerate(states)]},
    }


def after(found: Rescue) -> dict[str, Any]:
    """The pod after the patch, its status as it was."""
    result: dict[str, Any] = jsonpatch.apply_patch(copy.deepcopy(dict(found.pod)), found.patch())
    return result


_STATES = st.sampled_from(
    [
        *({"waiting": {"reason": reason, "message": "no"}} for reason in REASONS),
        {"waiting": {"reason": "PodInitializing"}},
        {"waiting": {"reason": "CrashLoopBackOff"}},
        {"running": {}},
        {"terminated": {"exitCode": 1}},
        {},
    ]
)


@st.composite
def bound_pods(draw: st.DrawFn) -> dict[str, Any]:
    """Pods of every kind on a node, with containers in every state and perhaps an annotation of any kind."""
    found = draw(pods())
    found["spec"]["nodeName"] = "node"
    status = found.setdefault("status", {})
    for field, where in (
        ("containers", "containerStatuses"),
        ("initContainers", "initContainerStatuses"),
        ("ephemeralContainers", "ephemeralContainerStatuses"),
    ):
        status[where] = [{"name": one["name"], "state": draw(_STATES)} for one in found["spec"].get(field, ())]
    text = draw(st.sampled_from([None, "{}", "no JSON", '{"cont0":"nginx:1.27","init0":"other","x":"y"}']))
    if text is not None:
        found["metadata"].setdefault("annotations", {})["kuik.dev/original-images"] = text
    return found
