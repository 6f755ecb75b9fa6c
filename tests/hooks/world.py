"""Generated clusters: pods with odd images, labels and owners; inventories whole, missing and garbled."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
IMAGES = (
    "nginx",
    "nginx:1.27",
    "reg:5000/team/app:1",
    "localhost:5000/own:1",
    "localhost:7439/docker.io/library/nginx:1.27",
    "Bad Name",
    "ghcr.io/org/tool@sha256:" + "1" * 64,
    "[::1]:5000/six:1",
    "127.0.0.1:5001/named:1",
)
LABELS: tuple[dict[str, str], ...] = (
    {},
    {"kuik.dev/cache": "true"},
    {"kuik.dev/cache": "false"},
    {"kube-image-keeper.enix.io/image-caching-policy": "ignore"},
)

images = st.sampled_from(IMAGES)


@st.composite
def pod_specs(draw: st.DrawFn) -> dict[str, Any]:
    """A pod's spec with containers and perhaps init and ephemeral ones."""
    spec: dict[str, Any] = {}
    for field, least in (("containers", 1), ("initContainers", 0), ("ephemeralContainers", 0)):
        found = draw(st.lists(images, min_size=least, max_size=3))
        entries = [{"name": f"{field[:4].lower()}{at}", "image": image} for at, image in enumerate(found)]
        for entry in entries:
            entry["imagePullPolicy"] = draw(st.sampled_from(["IfNotPresent", "Always", "Never"]))
        if entries:
            spec[field] = entries
    if draw(st.booleans()):
        spec["imagePullSecrets"] = [{"name": name} for name in draw(st.lists(st.sampled_from("xyz"), max_size=2))]
    if draw(st.integers(0, 9)) == 0:
        spec["os"] = {"name": "windows"}
    return spec


@st.composite
def pods(draw: st.DrawFn, namespace: str = "shop") -> dict[str, Any]:
    """A pod: bare, of a ReplicaSet, of a Job."""
    meta: dict[str, Any] = {
        "name": f"pod-{draw(st.integers(0, 10_000))}",
        "namespace": namespace,
        "labels": dict(draw(st.sampled_from(LABELS))),
    }
    owner = draw(st.sampled_from([None, ("ReplicaSet", "web-abc"), ("Job", "cron-29000000"), ("DaemonSet", "log")]))
    if owner:
        meta["ownerReferences"] = [{"kind": owner[0], "name": owner[1], "uid": "u", "controller": True}]
        meta["labels"]["pod-template-hash"] = "abc"
    if draw(st.booleans()):
        meta["annotations"] = {"team": "shop"}
    phase = draw(st.sampled_from(["Running", "Pending", "Succeeded", "Failed", None]))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": draw(pod_specs()),
        **({"status": {"phase": phase}} if phase else {}),
    }


@st.composite
def inventories(draw: st.DrawFn, namespace: str) -> dict[str, Any]:
    """An inventory as stage 1 writes it."""
    names = draw(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=5))
    found = [
        {
            "image": f"docker.io/library/{name}:1",
            "decision": draw(st.sampled_from(["Cache", "Cache", "Ignore"])),
            "rule": "Default",
            "pullSecrets": sorted(draw(st.sets(st.sampled_from(["one", "two"])))),
            "usedBy": [f"Deployment/{name}"],
            "users": draw(st.integers(1, 3)),
        }
        for name in names
    ]
    meta = {"name": namespace}
    spec = {"namespace": namespace, "images": found}
    return {"apiVersion": "kuik.dev/v1alpha1", "kind": "ImageInventory", "metadata": meta, "spec": spec}


GARBLED: tuple[Any, ...] = (
    {},
    {"namespace": "a"},
    {"namespace": "a", "images": None},
    {"namespace": "a", "images": {"docker.io/library/a:1": "Cache"}},
    {"namespace": "elsewhere", "images": []},
    {"namespace": "a", "images": [], "parts": 2},
    {"namespace": "a", "images": [], "parts": 0},
    {"namespace": "a", "images": [], "parts": "one"},
    {"namespace": "a", "images": ["docker.io/library/a:1"]},
    {"namespace": "a", "images": [{"image": "nginx", "decision": "Cache"}]},
    {"namespace": "a", "images": [{"image": "docker.io/library/a:1", "decision": "Later"}]},
    "nothing",
)


def namespace(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def image_cache(retention: str = "30d") -> dict[str, Any]:
    spec = {"retention": retention, "platforms": [], "selector": {"matchLabels": {"kuik.dev/image-cache": "default"}}}
    meta = {"name": "default", "generation": 1}
    return {"apiVersion": "kuik.dev/v1alpha1", "kind": "ImageCache", "metadata": meta, "spec": spec}
