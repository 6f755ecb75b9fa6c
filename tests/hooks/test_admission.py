"""Admission's endpoints: what each mode does to a pod, and that nothing refuses one."""

import base64
import copy
import json
from dataclasses import dataclass, field
from typing import Any

import jsonpatch
import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from hooks import admission_app
from hooks.admission_app import Judge, create_app
from hooks.asking import Asking
from hooks.containers import ORIGINALS, Obstacle
from hooks.directory import proofs
from hooks.facts import PRIVATE, PUBLIC, Known, Proof, Settings
from hooks.policy import NamespacePolicies, Policies
from hooks.workloads import owner_kind
from kube.types import Object
from registry.capability import capability
from registry.reference import Reference
from tests.hooks.world import namespace

KEY = b"the key"
NGINX = "localhost:7439/docker.io/library/nginx:latest"
APP = Reference.parse("reg.example.com/team/app:1")


@dataclass
class World:
    """What admission knows of the cluster."""

    synced: bool = True
    unfit: Obstacle | None = None
    proven: dict[str, Proof] = field(default_factory=dict)

    def namespace(self, name: str) -> Object | None:
        return namespace(name) if name == "shop" else None

    def policies(self, namespace: Object) -> NamespacePolicies | None:
        return Policies().of(namespace)

    def proof(self, reference: Reference) -> Proof | None:
        return self.proven.get(reference.name)


def client(world: World) -> FlaskClient:
    asking = Asking(lambda reference: Known(PUBLIC if reference.host == "docker.io" else PRIVATE), patience=5)
    return create_app(Judge(Settings(), world, asking, lambda: KEY), lambda: world.synced).test_client()


def pod(*images: str, **meta: Any) -> dict[str, Any]:
    containers = [{"name": f"c{at}", "image": image} for at, image in enumerate(images or ("nginx",))]
    return {"metadata": meta, "spec": {"containers": containers}}


def review(obj: Any = None, **request: Any) -> dict[str, Any]:
    asked = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "operation": "CREATE",
        "namespace": "shop",
        "object": pod() if obj is None else obj,
        **request,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked}


def admit(body: Any, world: World | None = None, path: str = "/admit/on") -> dict[str, Any]:
    answered = client(world or World()).post(path, json=body)
    assert answered.status_code == 200, answered.get_data()
    response: dict[str, Any] = answered.get_json()["response"]
    assert (response["uid"], response["allowed"]) == (body["request"]["uid"], True)
    return response


def patched(obj: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    operations = json.loads(base64.b64decode(response["patch"])) if "patch" in response else []
    changed: dict[str, Any] = jsonpatch.apply_patch(copy.deepcopy(obj), operations)
    return changed


@pytest.mark.parametrize("path", ["/admit", "/admit/on"])
def test_a_new_pod_is_patched(path: str) -> None:
    made = patched(pod(), admit(review(), path=path))
    assert made["spec"]["containers"][0]["image"] == NGINX
    assert json.loads(made["metadata"]["annotations"][ORIGINALS]) == {"c0": "nginx"}


def test_audit_only_notes() -> None:
    made = patched(
        pod("nginx", "localhost:5000/x"), admit(review(pod("nginx", "localhost:5000/x")), path="/admit/audit")
    )
    assert made["spec"] == pod("nginx", "localhost:5000/x")["spec"]
    assert made["metadata"]["annotations"] == {
        "kuik.dev/would-rewrite": f'{{"c0":"{NGINX}"}}',
        "kuik.dev/left-alone": '{"c1":"LoopbackRegistry"}',
    }


def test_opt_in_takes_who_asks() -> None:
    response = admit(review(), path="/admit/opt-in")
    assert response["auditAnnotations"] == {"left-alone": "c0: NotOptedIn"}
    assert "warnings" not in response
    asking = pod(labels={"kuik.dev/cache": "true"})
    assert patched(asking, admit(review(asking), path="/admit/opt-in"))["spec"]["containers"][0]["image"] == NGINX


@pytest.mark.parametrize(
    "body",
    [
        review(operation="UPDATE"),
        review(operation="DELETE", object=None),
        review(operation="CREATE", subResource="ephemeralcontainers"),
        review(resource={"group": "apps", "version": "v1", "resource": "deployments"}),
        review(operation="CONNECT", subResource="exec"),
    ],
    ids=["update", "delete", "subresource", "deployment", "exec"],
)
def test_everything_else_is_let_through_as_it_is(body: dict[str, Any]) -> None:
    assert admit(body) == {"uid": body["request"]["uid"], "allowed": True}


def test_only_ephemeral_containers_that_are_new() -> None:
    before = pod("nginx")
    before["spec"]["ephemeralContainers"] = [{"name": "old", "image": "busybox"}]
    after = copy.deepcopy(before)
    after["spec"]["ephemeralContainers"].insert(0, {"name": "new", "image": "nginx"})
    response = admit(review(after, operation="UPDATE", subResource="ephemeralcontainers", oldObject=before))
    changed = copy.deepcopy(after)
    changed["spec"]["ephemeralContainers"][0]["image"] = NGINX
    assert patched(after, response) == changed


def test_private_needs_a_proven_secret_of_this_namespace() -> None:
    world = World(proven={APP.name: Proof(PRIVATE, frozenset({("shop", "pull"), ("other", "theirs")}))})
    made = pod(str(APP))
    for secret, opened in (("pull", True), ("theirs", False), (["odd"], False)):
        made["spec"]["imagePullSecrets"] = [{"name": secret}]
        response = admit(review(made), world)
        image = patched(made, response)["spec"]["containers"][0]["image"]
        private = f"localhost:7439/private/{capability(KEY, APP)}/{APP}"
        assert image == (private if opened else str(APP))
        assert ("warnings" in response) is not opened


def test_what_a_user_is_warned_of() -> None:
    unfit = World(unfit=Obstacle("ProxiesUnfit", "0 of 3 node proxies are ready"))
    assert admit(review(), unfit)["warnings"] == ["kuik does not cache container c0: 0 of 3 node proxies are ready"]
    assert "warnings" not in admit(review(pod(labels={"kuik.dev/cache": "false"})), unfit)
    many = admit(review(pod(*["Ünglültig"] * 50)))
    assert len(many["warnings"]) == 1
    assert many["warnings"][0].isascii()
    assert len(many["warnings"][0]) <= 200


@pytest.mark.parametrize("world", [World(synced=False), World()], ids=["not synced", "another namespace"])
def test_a_namespace_that_is_not_known_is_left_alone(world: World) -> None:
    response = admit(review(namespace="shop" if not world.synced else "unknown"), world)
    assert "patch" not in response
    assert response["auditAnnotations"] == {"left-alone": "c0: NamespaceUnknown"}


def test_annotations_never_grow_beyond_what_the_api_server_takes() -> None:
    big = pod(annotations={"a": "x" * (256 * 1024 - 30)})
    assert "patch" not in admit(review(big))
    many = pod(*["nginx:" + "a" * 100] * 3000)
    assert "patch" not in admit(review(many), path="/admit/audit")


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from(
    ["containers", "initContainers", "volumes", "imagePullSecrets", "nodeSelector", "tolerations", "os", "affinity"]
)


@given(st.dictionaries(fields, anything, max_size=4), anything, st.sampled_from(["on", "opt-in", "audit"]))
def test_pods_of_any_shape_pass(spec: dict[str, Any], meta: Any, mode: str) -> None:
    made = {"metadata": meta, "spec": {"containers": [{"name": ["odd"], "image": "nginx"}, "odd"], **spec}}
    admit(review(made), path=f"/admit/{mode}")


@given(st.dictionaries(st.sampled_from(["labels", "annotations", "ownerReferences", "name"]), anything))
def test_metadata_of_any_shape_passes(meta: dict[str, Any]) -> None:
    admit(review({"metadata": meta, "spec": {"containers": [{"image": "nginx"}]}}))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b'{"a":' * 5000, 400),
        (b'{"request": "\\ud800"}', 400),
        (b'{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview"}', 500),
        (b" " * (admission_app.MAX_BODY + 1), 413),
        (json.dumps(review("no pod")).encode(), 500),
        (json.dumps(review(uid=7)).encode(), 500),
    ],
)
def test_what_is_no_review_gets_an_error_which_lets_the_pod_pass(body: bytes, status: int) -> None:
    answered = client(World()).post("/admit/on", data=body, content_type="application/json")
    assert answered.status_code == status
    assert answered.get_json()["error"]


def test_modes_and_health() -> None:
    assert client(World()).post("/admit/off", json=review()).status_code == 404
    assert client(World()).get("/readyz").status_code == client(World(synced=False)).get("/healthz").status_code == 200
    assert client(World(synced=False)).get("/readyz").status_code == 503


@pytest.mark.parametrize(
    ("kind", "name", "labels", "expected"),
    [
        ("ReplicaSet", "web-5d8f", {"pod-template-hash": "5d8f"}, "Deployment"),
        ("ReplicaSet", "web", {}, "ReplicaSet"),
        ("Job", "backup-29384756", {}, "CronJob"),
        ("Job", "once", {}, "Job"),
        ("StatefulSet", "db", {}, "StatefulSet"),
    ],
)
def test_the_kind_of_the_top_controller(kind: str, name: str, labels: dict[str, str], expected: str) -> None:
    reference = {"kind": kind, "name": name, "controller": True}
    assert owner_kind({"metadata": {"labels": labels, "ownerReferences": [reference]}}) == expected
    assert owner_kind({"metadata": {"generateName": "x-"}}) == "Pod"
    mirror = {"annotations": {"kubernetes.io/config.mirror": "x"}, "ownerReferences": [reference]}
    assert owner_kind({"metadata": {"generateName": "x-", **mirror}}) == "Pod", (
        "a template may wear a mirror's annotation"
    )


def test_a_repository_is_private_where_its_images_differ() -> None:
    one = {"repository": "r.io/a", "proof": Proof(PUBLIC)}
    other = {"repository": "r.io/a", "proof": Proof(PRIVATE, frozenset({("shop", "s")}))}
    expected = {"r.io/a": Proof(PRIVATE, frozenset({("shop", "s")}))}
    assert proofs([one, other]) == proofs([other, one]) == expected
    assert proofs([{}, {"repository": "r.io/b", "proof": None}]) == {}
