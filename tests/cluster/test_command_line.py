"""The command line on a real API server: what is listed, removed and reported of a cluster."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hooks.wanted import name_of
from kuik.__main__ import main
from tests.cluster.rig.api import Refused
from tests.cluster.rig.control_plane import ControlPlane

API = "kuik.dev/v1alpha1"
IMAGES = "apis/kuik.dev/v1alpha1/cachedimages"
DIGEST = "sha256:" + "1" * 64
USED, FREE, BAD = (f"docker.io/library/{name}:1" for name in ("used", "free", "bad"))


def kuik(plane: ControlPlane, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--kubeconfig", str(plane.kubeconfig())])


def add(plane: ControlPlane, image: str, *users: str, reason: str = "") -> None:
    spec = {"image": image, "usedBy": list(users), "users": len(users)}
    made = {"apiVersion": API, "kind": "CachedImage", "metadata": {"name": name_of(image)}, "spec": spec}
    plane.api.request("POST", IMAGES, made)
    condition = {
        "type": "Cached",
        "status": "False" if reason else "True",
        "reason": reason or "Copied",
        "message": "it is so",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    said: dict[str, Any] = (
        {"phase": "Failed", "reason": reason, "message": "it is so"} if reason else {"phase": "Cached"}
    )
    status = {**said, "digest": DIGEST, "size": 1000, "conditions": [condition]}
    plane.api.patch(made, {"status": status}, "status")


@pytest.fixture
def cluster(installed: ControlPlane) -> Iterator[ControlPlane]:
    add(installed, USED, "shop/Deployment/web")
    add(installed, FREE)
    add(installed, BAD, "shop/Deployment/web", "shop/Pod/x", reason="Unauthorized")
    entries = [
        {
            "image": image,
            "decision": "Cache",
            "rule": "Default",
            "usedBy": ["Deployment/web"],
            "users": 1,
            "pullSecrets": [],
        }
        for image in (BAD, USED)
    ]
    entries.append(
        {
            "image": "localhost:5000/own:1",
            "decision": "Ignore",
            "rule": "LoopbackRegistry",
            "usedBy": ["Pod/own"],
            "users": 1,
            "pullSecrets": [],
        }
    )
    inventory = {"namespace": "default", "images": entries}
    installed.api.request(
        "POST",
        "apis/kuik.dev/v1alpha1/imageinventories",
        {"apiVersion": API, "kind": "ImageInventory", "metadata": {"name": "default"}, "spec": inventory},
    )
    yield installed
    installed.api.request("DELETE", IMAGES)
    installed.api.request("DELETE", "apis/kuik.dev/v1alpha1/imageinventories")


def test_the_list_of_a_cluster(cluster: ControlPlane) -> None:
    rows = json.loads(kuik(cluster, "cache", "list", "-o", "json").stdout)
    assert [(row["image"], row["phase"], row["digest"], row["size"]) for row in rows] == [
        (BAD, "Failed", DIGEST, 1000),
        (FREE, "Cached", DIGEST, 1000),
        (USED, "Cached", DIGEST, 1000),
    ]
    table = kuik(cluster, "cache", "list").stdout.splitlines()
    assert table[1].split()[:2] == [BAD, "Failed"]
    assert "shop/Deployment/web +1" in table[1]


def test_removal_is_a_wish(cluster: ControlPlane) -> None:
    refused = kuik(cluster, "cache", "remove", "free:1", "used:1", "none:1")
    assert refused.exit_code == 1
    for words in ("used by shop/Deployment/web", "none:1 is not in the cluster's cache"):
        assert words in refused.output
    assert not wishes(cluster), "nothing goes when one of the images may not"
    asked = kuik(cluster, "cache", "remove", "--all")
    assert (asked.exit_code, "give --yes" in asked.output) == (2, True)
    done = kuik(cluster, "cache", "remove", "--all", "--yes", "--wait", "--timeout", "1")
    assert (done.exit_code, "is not gone after 1 s" in done.output) == (1, True)
    assert wishes(cluster) == {FREE: "true"}
    assert kuik(cluster, "cache", "remove", "used:1", "--force").exit_code == 0
    assert wishes(cluster) == {FREE: "true", USED: "force"}
    image = {"kind": "CachedImage", "metadata": {"name": name_of(FREE)}}
    said = json.dumps({"at": "2026-01-01T00:00:00Z", "digest": DIGEST, "state": "Removed"})
    cluster.api.patch(image, {"metadata": {"annotations": {"volume.kuik.dev/shared": said}}})
    done = kuik(cluster, "cache", "remove", "free:1", "--wait")
    assert (done.exit_code, f"removed {FREE}" in done.output) == (0, True)


def wishes(plane: ControlPlane) -> dict[str, str]:
    found = plane.api.list("CachedImage")
    said = {one["spec"]["image"]: one["metadata"].get("annotations", {}).get("kuik.dev/remove") for one in found}
    return {image: wish for image, wish in said.items() if wish}


def test_the_report_of_a_cluster(cluster: ControlPlane) -> None:
    done = kuik(cluster, "report", "-o", "json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert (found["images"], found["cached"], found["failed"], found["bytes"]) == (3, 2, 1, 2000)
    assert [(one["workload"], one["image"], one["message"]) for one in found["leftAlone"]] == [
        ("default/Pod/own", "localhost:5000/own:1", "LoopbackRegistry")
    ]
    assert [(one["workload"], one["image"], one["reason"], one["served"]) for one in found["risks"]] == [
        ("shop/Deployment/web", BAD, "Unauthorized", False),
        ("shop/Pod/x", BAD, "Unauthorized", False),
    ]
    assert "Unauthorized" in kuik(cluster, "report").stdout


def test_an_import_is_kept_by_what_it_prints(installed: ControlPlane) -> None:
    from kuik.archive.retained import retained
    from kuik.local.documents import written
    from registry.reference import Reference

    made = retained(Reference.parse("reg.example:5000/a:1"), ("linux/amd64",))
    installed.kubectl("apply", "-f", "-", stdin=written([made]))
    installed.api.request("DELETE", f"{IMAGES}/{made['metadata']['name']}")


def test_what_may_not_be_read_is_said(installed: ControlPlane) -> None:
    config = installed.kubeconfig("nobody", "no-such-token")
    done = CliRunner().invoke(main, ["report", "--kubeconfig", str(config)])
    assert done.exit_code == 1
    assert "401" in done.output
    with pytest.raises(Refused):
        installed.api.request("GET", f"{IMAGES}/none")
    done = CliRunner().invoke(main, ["cache", "list", "--kubeconfig", "/no/such/file"])
    assert (done.exit_code, "give --store DIR" in done.output) == (1, True)
    assert "(/no/such/file)" in done.output
    done = CliRunner().invoke(main, ["cache", "list", "--kubeconfig", str(installed.kubeconfig()), "--context", "x"])
    assert (done.exit_code, "no kubeconfig that can be used" in done.output) == (1, True)
