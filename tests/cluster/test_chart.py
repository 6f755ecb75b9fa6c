"""The Helm chart on a real API server: everything it renders is taken, and an upgrade keeps what is there."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hooks.containers import ORIGINALS
from hooks.facts import Settings
from hooks.webhook import ON, configuration
from tests.cluster.rig.api import Object
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.rig.helm import (
    CHART,
    NAMESPACE,
    JobRunner,
    helm,
    kinds_that_take_anything,
    metacontrollers_kinds,
    rendered,
    run,
)
from tests.cluster.rig.workloads import pod
from tests.rig.processes import wait_until

MANIFESTS = Path(__file__).parents[2] / "metacontroller"
EVERYTHING: dict[str, Any] = {
    "image": {"registry": "registry.example:5000/mirror", "repository": "team/kuik", "pullSecrets": ["pull"]},
    "labels": {"team": "platform"},
    "podAnnotations": {"note": "this"},
    "namespace": {"create": True},
    "networkPolicies": {"enabled": True, "nodes": ["10.0.0.0/16"], "metricsFrom": {"team": "watchers"}},
    "shield": {
        "replicas": 3,
        "spool": {"volume": True, "storageClassName": "fast"},
        "env": [{"name": "A", "value": "b"}],
    },
    "metrics": {
        "exposeProxies": True,
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True},
        "dashboard": {"enabled": True},
    },
}
SHAPES: dict[str, dict[str, Any]] = {
    "default": {},
    "everything": EVERYTHING,
    "mirror": {"imageCache": {"spec": {"delivery": "Mirror"}}},
    "mirror elsewhere": {
        "imageCache": {"spec": {"delivery": "Mirror"}},
        "mirror": {"containerdConfig": "/var/lib/rancher/k3s/config.toml", "configPath": "/etc/certs.d"},
    },
    "volumes": {"registry": {"replicas": 3}},
    "shared": {"registry": {"storage": "Shared", "replicas": 2, "volume": {"storageClassName": "nfs"}}},
    "claim": {"registry": {"storage": "Shared", "volume": {"existingClaim": "mine"}}},
    "s3": {"registry": {"storage": "S3", "replicas": 2, "s3": {"bucket": "images", "existingSecret": "keys"}}},
    "role": {
        "registry": {
            "storage": "S3",
            "s3": {"bucket": "images", "redirect": False, "endpoint": "https://minio.example"},
            "serviceAccountAnnotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/kuik"},
        }
    },
    "registries": {"imageCache": {"spec": {"registries": [{"host": "reg.example:5000", "plainHTTP": True}]}}},
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server that knows Metacontroller's kinds, and on which hooks of the chart are run."""
    plane = ControlPlane(tmp_path_factory.mktemp("chart")).start()
    yield plane
    plane.stop()


@pytest.fixture(scope="module")
def hooks(cluster: ControlPlane) -> Iterator[JobRunner]:
    runner = JobRunner(cluster)
    runner.start()
    yield runner
    runner.stop()


@pytest.fixture(scope="module")
def release(cluster: ControlPlane, hooks: JobRunner) -> ControlPlane:
    """The chart as `helm install` without a value leaves it."""
    without = run(cluster, "install", "kuik", str(CHART), "-n", NAMESPACE, "--create-namespace")
    assert "Metacontroller is not installed" in without.stderr
    assert "helm install metacontroller" in without.stderr
    assert "check=false" not in without.stderr, "nothing can be installed whose kinds are not there"
    metacontrollers_kinds(cluster)
    monitoring = ("ServiceMonitor", "PodMonitor", "PrometheusRule")
    kinds_that_take_anything(cluster, "monitoring.coreos.com/v1", *monitoring, scope="Namespaced")
    said = helm(cluster, "install", "kuik", str(CHART), "-n", NAMESPACE, "--create-namespace")
    assert "kubectl get imagecache" in said
    return cluster


def test_a_plain_installation_is_all_there(release: ControlPlane) -> None:
    for one in rendered():
        if "helm.sh/hook" not in one["metadata"].get("annotations", {}):
            release.kubectl("get", "-n", NAMESPACE, f"{one['kind']}/{one['metadata']['name']}")
    cache = json.loads(release.kubectl("get", "imagecache", "default", "-o", "json"))
    assert (cache["spec"]["mode"], cache["spec"]["delivery"]) == ("On", "Webhook")


def test_it_has_all_that_the_manifests_have() -> None:
    found = {(one["kind"], one["metadata"]["name"]) for one in rendered("--include-crds")}
    for name in yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]:
        for one in yaml.safe_load_all((MANIFESTS / name).read_text()):
            who = (one["kind"], one["metadata"]["name"])
            assert who in found or one["kind"] == "Namespace", f"{name} has {who}"


def test_the_manifests_hooks_are_those_of_the_chart() -> None:
    """Arguments, environment, probes, security contexts, volumes, placement, Services, budget: all but who made it."""
    image = {"image": {"repository": "kube-image-keeper", "tag": "dev"}}
    written = list(yaml.safe_load_all((MANIFESTS / "hooks.yaml").read_text()))
    made = rendered("--show-only", "templates/hooks.yaml", values=image)
    assert {_who(one): one["spec"] for one in written} == {_who(one): one["spec"] for one in made}


def _who(obj: Object) -> tuple[str, str, str]:
    return obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"]


def test_all_containers_have_the_image_that_is_named() -> None:
    image = {"registry": "registry.example:5000/mirror", "repository": "team/kuik", "tag": "1"}
    text = yaml.safe_dump_all(rendered(values={"image": image, "imageCache": {"spec": {"delivery": "Mirror"}}}))
    named = set(re.findall(r"^ *(?:- )?image: (.*)$", text, re.MULTILINE))
    assert named == {"registry.example:5000/mirror/team/kuik:1"}
    digest = f"sha256:{'0' * 64}"
    text = yaml.safe_dump_all(rendered(values={"image": {"registry": "r.example", "digest": digest}}))
    assert set(re.findall(r"^ *(?:- )?image: (.*)$", text, re.MULTILINE)) == {f"r.example/kube-image-keeper@{digest}"}


def test_its_pods_are_made_where_namespaces_of_that_kind_are_privileged(release: ControlPlane) -> None:
    """Quota, service accounts and priority classes let them in. No DaemonSet controller is here to make its pods."""

    def components() -> set[str]:
        pods = release.api.list("Pod", "app.kubernetes.io/name=kube-image-keeper")
        return {one["metadata"]["labels"]["app.kubernetes.io/component"] for one in pods}

    wait_until(lambda: components() >= {"hooks", "shield", "registry"}, "pods are made", 20)
    template = json.loads(release.kubectl("get", "ds", "-n", NAMESPACE, "kuik-proxy", "-o", "json"))["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a-proxy"} | template["metadata"]}
    made = release.kubectl(
        "create", "-n", NAMESPACE, "-f", "-", "-o", "json", stdin=json.dumps(pod | {"spec": template["spec"]})
    )
    assert json.loads(made)["spec"]["priority"] == 2000001000
    release.kubectl("delete", "pod", "-n", NAMESPACE, "a-proxy")


def test_the_server_keeps_everything_as_it_is_written(release: ControlPlane) -> None:
    """So nobody who compares, as Argo CD does, has a difference to ignore."""
    drift = []
    for one in rendered():
        if "helm.sh/hook" not in one["metadata"].get("annotations", {}):
            name = f"{one['kind']}/{one['metadata']['name']}"
            live = json.loads(release.kubectl("get", "-n", NAMESPACE, name, "-o", "json"))
            drift += [f"{name}: {path}" for path in _differences(one, live)]
    assert drift == []


def _differences(written: Any, live: Any, path: str = "") -> Iterator[str]:
    """Where what the server has is not what is written; what it has besides is its own."""
    if isinstance(written, dict) and isinstance(live, dict):
        for name, value in written.items():
            yield from _differences(value, live.get(name), f"{path}.{name}")
    elif isinstance(written, list) and isinstance(live, list) and len(written) == len(live):
        for number, (one, other) in enumerate(zip(written, live, strict=True)):
            yield from _differences(one, other, f"{path}[{number}]")
    elif written != live and not (written in ({}, "") and live is None):
        yield f"{path}: {written!r} is {live!r}"


@pytest.mark.parametrize("shape", SHAPES)
def test_whatever_is_rendered_is_taken_strictly(release: ControlPlane, shape: str) -> None:
    release.try_kubectl("create", "namespace", "elsewhere")
    objects = rendered("--include-crds", "--namespace", "elsewhere", values=SHAPES[shape])
    words = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-")
    said = release.kubectl(*words, stdin=yaml.safe_dump_all(objects))
    assert len(said.splitlines()) == len(objects)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_replica_that_is_asked_has_an_address_that_lasts(shape: str) -> None:
    """A Service of its own, with the port, that leads to that pod of its StatefulSet alone, ready or not."""
    objects = rendered("--namespace", "elsewhere", values=SHAPES[shape])
    urls = set(re.findall(r"http://([a-z0-9-]+)\.elsewhere\.svc:(\d+)", yaml.safe_dump_all(objects)))
    asked = {name for name, _ in urls}
    assert len(asked) >= 3
    assert not re.findall(r"http://[^.\s]+\.[^.\s]+\.elsewhere\.svc", yaml.safe_dump_all(objects))
    services = {one["metadata"]["name"]: one["spec"] for one in objects if one["kind"] == "Service"}
    pods = {
        f"{one['metadata']['name']}-{number}": one["spec"]["template"]
        for one in objects
        if one["kind"] == "StatefulSet"
        for number in range(one["spec"]["replicas"])
    }
    for name, port in urls:
        (target,) = (one["targetPort"] for one in services[name]["ports"] if one["port"] == int(port))
        ports = [one for container in pods[name]["spec"]["containers"] for one in container.get("ports", ())]
        assert {"name": target, "containerPort": int(port)} in ports
        labels = pods[name]["metadata"]["labels"] | {"statefulset.kubernetes.io/pod-name": name}
        assert services[name]["selector"].items() <= labels.items()
        assert services[name]["selector"]["statefulset.kubernetes.io/pod-name"] == name
        assert services[name]["publishNotReadyAddresses"] is True
        assert "clusterIP" not in services[name]
    stale = {name for name in services if re.search(r"-\d+$", name)} - pods.keys()
    assert stale == set()


def test_who_asks_registries_finds_them_as_its_node_does() -> None:
    values = {"clusterDNS": {"domain": "k8s.example", "addresses": ["10.0.0.3", "fd00::a"]}}
    objects = {one["metadata"]["name"]: one for one in rendered(values=values) if "template" in one.get("spec", {})}
    for name in ("kuik-proxy", "kuik-shield"):
        pod = objects[name]["spec"]["template"]["spec"]
        assert pod["dnsPolicy"] == "Default"
        (container,) = pod["containers"]
        found = [one for one in container["args"] if one.startswith("--cluster-")]
        assert found == ["--cluster-domain=k8s.example", "--cluster-dns=10.0.0.3", "--cluster-dns=fd00::a"]
        assert "KUIK_NAMESPACE" in {one["name"] for one in container["env"]}
    assert objects["kuik-proxy"]["spec"]["template"]["spec"]["enableServiceLinks"] is True
    # Others ask the cluster alone.
    others = [one for name, one in objects.items() if name not in ("kuik-proxy", "kuik-shield")]
    assert len(others) >= 2
    assert {one["spec"]["template"]["spec"].get("dnsPolicy", "ClusterFirst") for one in others} == {"ClusterFirst"}


def test_an_upgrade_keeps_volumes_secrets_images_and_kinds(
    release: ControlPlane, hooks: JobRunner, tmp_path: Path
) -> None:
    image = {
        "apiVersion": "kuik.dev/v1alpha1",
        "kind": "CachedImage",
        "metadata": {"name": "kept", "labels": {"kuik.dev/image-cache": "default"}},
        "spec": {"image": "docker.io/library/nginx:1"},
    }
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kuik-token", "namespace": NAMESPACE}}
    for one in (image, {**secret, "stringData": {"token": "made once"}}):
        release.kubectl("apply", "-f", "-", stdin=json.dumps(one))
    wait_until(lambda: len(_claims(release)) == 1, "the registry's claim is made", 20)
    before = _kept(release)
    newer = _newer(tmp_path)
    said = len(hooks.outputs)
    values = {"hooks": {"replicas": 3}, "registry": {"replicas": 2}, "imageCache": {"spec": {"mode": "Audit"}}}
    helm(release, "upgrade", "kuik", str(newer), "-n", NAMESPACE, "-f", "-", stdin=json.dumps(values))
    wait_until(lambda: len(_claims(release)) == 2, "the second volume's claim is made", 20)
    after = _kept(release)
    assert {uid: after.get(uid) for uid in before} == before
    assert "cachedimages.kuik.dev: as this release has it" in "".join(hooks.outputs[said:])
    assert json.loads(release.kubectl("get", "imagecache", "default", "-o", "json"))["spec"]["mode"] == "Audit"
    helm(release, "rollback", "kuik", "1", "-n", NAMESPACE)
    assert {uid: _kept(release).get(uid) for uid in before} == before


def test_kinds_that_an_older_release_left_are_brought_up_to_date(release: ControlPlane) -> None:
    path = "apis/apiextensions.k8s.io/v1/customresourcedefinitions/cachedimages.kuik.dev"
    wanted = yaml.safe_load((CHART / "crds" / "cachedimages.yaml").read_text())["spec"]["versions"][0]["schema"]
    old = release.api.request("GET", path)
    fields = old["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    fields["obsolete"] = {"type": "string"}
    del fields["suspend"]
    release.api.request("PUT", path, old)
    helm(release, "upgrade", "kuik", str(CHART), "-n", NAMESPACE)
    assert release.api.request("GET", path)["spec"]["versions"][0]["schema"] == wanted


def test_bad_values_are_refused_in_words(release: ControlPlane) -> None:
    words = ("--set", "imageCache.spec.mode=Maybe", "--set", "hooks.replicas=0", "--set", "regstry.replicas=2")
    refused = run(release, "upgrade", "kuik", str(CHART), "-n", NAMESPACE, *words)
    assert refused.returncode != 0
    for said in ("/imageCache/spec/mode", "'Off', 'Audit', 'OptIn', 'On'", "/hooks/replicas", "'regstry' not allowed"):
        assert said in refused.stderr


@pytest.mark.parametrize(("version", "refused"), [("v4.17.1", True), ("v4.17.2", False), ("4.18.0", False)])
def test_an_old_metacontroller_is_refused_in_words(release: ControlPlane, version: str, refused: bool) -> None:
    containers = [{"name": "metacontroller", "image": f"ghcr.io/metacontroller/metacontroller:{version}"}]
    labels = {"app": "metacontroller"}
    spec = {
        "replicas": 0,
        "serviceName": "metacontroller",
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
    }
    running = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "mc", "namespace": "metacontroller"},
    }
    release.try_kubectl("create", "namespace", "metacontroller")
    release.kubectl("apply", "-f", "-", stdin=json.dumps({**running, "spec": spec}))
    words = ("upgrade", "kuik", str(CHART), "-n", NAMESPACE, "--dry-run=server")
    done = run(release, *words)
    assert (done.returncode != 0) is refused, done.stderr
    assert ("Metacontroller is 4.17.1 in StatefulSet metacontroller/mc" in done.stderr) is refused
    assert run(release, *words, "--set", "metacontroller.check=false").returncode == 0
    release.kubectl("delete", "statefulset", "-n", "metacontroller", "mc")


def test_a_namespace_that_would_refuse_the_proxies_is_told_of(release: ControlPlane) -> None:
    label = "pod-security.kubernetes.io/enforce"
    release.kubectl("label", "namespace", NAMESPACE, f"{label}=baseline")
    done = run(release, "upgrade", "kuik", str(CHART), "-n", NAMESPACE, "--dry-run=server")
    release.kubectl("label", "namespace", NAMESPACE, f"{label}-")
    assert "Pod Security level baseline" in done.stderr
    assert f"{label}=privileged" in done.stderr


def test_values_that_change_what_kind_of_thing_something_is_can_be_upgraded_to(release: ControlPlane) -> None:
    for shape in [*SHAPES, "default"]:
        words = ("upgrade", "kuik", str(CHART), "-n", NAMESPACE, "--no-hooks", "-f", "-")
        # A namespace that was there before is nobody's to take over.
        values = {name: value for name, value in SHAPES[shape].items() if name != "namespace"}
        helm(release, *words, stdin=json.dumps(values))


def _claims(plane: ControlPlane) -> list[Object]:
    found = plane.api.request("GET", f"api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims")["items"]
    return [one for one in found if one["metadata"]["name"].startswith("data-kuik-registry-")]


def _kept(plane: ControlPlane) -> dict[str, str]:
    """What must outlive an upgrade: by its uid, kind and name."""
    kinds = (
        "persistentvolumeclaims",
        "secrets",
        "cachedimages",
        "imagecaches",
        "customresourcedefinitions",
        "services",
    )
    objects = json.loads(plane.kubectl("get", ",".join(kinds), "-n", NAMESPACE, "-o", "json"))["items"]
    ours = (one for one in objects if not one["metadata"]["name"].startswith("sh.helm.release"))
    return {one["metadata"]["uid"]: f"{one['kind']}/{one['metadata']['name']}" for one in ours}


def _newer(folder: Path) -> Path:
    """The chart as a release after this one."""
    said = folder / "said"
    said.mkdir()
    for file in CHART.rglob("*"):
        if file.is_file():
            copy = said / file.relative_to(CHART)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(file.read_text().replace("version: 0.1.0", "version: 0.2.0"))
    return said


def test_uninstalling_waits_for_the_last_pod_that_needs_the_proxies_and_leaves_nothing_in_the_way(
    release: ControlPlane, hooks: JobRunner
) -> None:
    helm(release, "upgrade", "kuik", str(CHART), "-n", NAMESPACE, "--set", "uninstall.timeoutSeconds=1")
    release.kubectl("apply", "-f", "-", stdin=json.dumps(configuration(ON, "", Settings())))
    needs = pod("default", "needs", "localhost:7439/docker.io/library/nginx:1.27", nodeName="no-node")
    needs["metadata"]["annotations"] = {ORIGINALS: json.dumps({"c0": "nginx:1.27"})}
    release.kubectl("create", "-f", "-", stdin=json.dumps(needs))
    state = {"name": "c0", "state": {"running": {}}, "ready": True, "restartCount": 0, "image": "x", "imageID": ""}
    release.api.patch(
        {**needs, "kind": "Pod"}, {"status": {"phase": "Running", "containerStatuses": [state]}}, "status"
    )
    refused = run(release, "uninstall", "kuik", "-n", NAMESPACE, "--timeout", "100s")
    assert refused.returncode != 0
    assert "default/needs" in hooks.outputs[-1]
    there = release.kubectl("get", "daemonset,statefulset,mutatingwebhookconfiguration", "-n", NAMESPACE, "-o", "name")
    assert "daemonset.apps/kuik-proxy" in there
    assert "statefulset.apps/kuik-registry" in there
    assert "mutatingwebhookconfiguration" not in there
    # As docs/install.md tells those who stay after all, or want it done in another way.
    assert run(release, "upgrade", "kuik", str(CHART), "-n", NAMESPACE).returncode != 0
    (leaving,) = json.loads(helm(release, "list", "-a", "-n", NAMESPACE, "-o", "json"))
    helm(release, "rollback", "kuik", leaving["revision"], "-n", NAMESPACE)
    assert json.loads(release.kubectl("get", "imagecache", "default", "-o", "json"))["spec"]["mode"] == "Off"
    helm(release, "upgrade", "kuik", str(CHART), "-n", NAMESPACE, "--set", "uninstall.timeoutSeconds=1")
    release.kubectl("delete", "pod", "needs", "--force", "--grace-period=0")
    helm(release, "uninstall", "kuik", "-n", NAMESPACE, "--timeout", "100s")
    assert "403" not in "".join(hooks.outputs)
    kinds = (
        "all,configmap,clusterrole,clusterrolebinding,role,rolebinding,priorityclass,pdb,mutatingwebhookconfiguration"
    )
    kinds += ",compositecontroller,decoratorcontroller,imagecache,imageinventory"

    def left() -> list[str]:
        named = release.kubectl("get", kinds, "-n", NAMESPACE, "-o", "name").split()
        return [one for one in named if "kuik" in one or "image" in one]

    wait_until(lambda: not left(), f"nothing is left: {left()}", 60)
    assert "imagecaches.kuik.dev" in release.kubectl("get", "crd", "-o", "name")
