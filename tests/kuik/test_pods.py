"""`kuik pods rewrite`: manifests as admission would make them."""

import json
from typing import Any

import pytest
import yaml

from tests.rig.kuik import kuik
from tests.rig.manifests import deployment


def rewritten(text: str, *words: str) -> list[dict[str, Any]]:
    done = kuik("pods", "rewrite", "-", *words, stdin=text)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def images(pod: dict[str, Any]) -> list[str]:
    return [c["image"] for field in ("initContainers", "containers") for c in pod["spec"].get(field, [])]


def container(name: str, image: str) -> dict[str, str]:
    return {"name": name, "image": image}


def test_every_workload_kind_and_everything_else_as_it_was() -> None:
    spec = {"initContainers": [container("i", "busybox")], "containers": [container("c", "r:5/x")]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
    web = deployment("web", "ghcr.io/a/b@sha256:" + "0" * 64)
    job = {"spec": {"template": web["spec"]["template"]}}
    cron = {"kind": "CronJob", "metadata": {"name": "c"}, "spec": {"schedule": "@daily", "jobTemplate": job}}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    new_pod, new_web, new_cron, new_service = rewritten(yaml.safe_dump_all([pod, web, cron, service]))
    assert images(new_pod) == ["localhost:7439/docker.io/library/busybox:latest", "localhost:7439/r__5/x:latest"]
    expected = "localhost:7439/ghcr.io/a/b@sha256:" + "0" * 64
    assert images(new_web["spec"]["template"]) == [expected]
    assert images(new_cron["spec"]["jobTemplate"]["spec"]["template"]) == [expected]
    assert new_service == service
    annotations = new_pod["metadata"]["annotations"]
    assert json.loads(annotations["kuik.dev/original-images"]) == {"c": "r:5/x", "i": "busybox"}
    assert "annotations" not in new_web["metadata"], "a template's note is on the template"


def test_it_changes_nothing_twice() -> None:
    once = kuik("pods", "rewrite", "-", stdin=yaml.safe_dump(deployment("web", "nginx", "redis:7"))).stdout
    assert kuik("pods", "rewrite", "-", stdin=once).stdout == once


def test_what_is_left_alone_is_said() -> None:
    pod = deployment("web", "localhost:5000/own:1", "nginx")
    done = kuik("pods", "rewrite", "-", stdin=yaml.safe_dump(pod))
    assert "localhost:5000/own:1" in done.stderr
    found = images(yaml.safe_load(done.stdout)["spec"]["template"])
    assert found == ["localhost:5000/own:1", "localhost:7439/docker.io/library/nginx:latest"]
    out = deployment("web", "nginx", labels={"kuik.dev/cache": "false"})
    assert rewritten(yaml.safe_dump(out)) == [out]


def test_json_and_lists_stay_what_they_are() -> None:
    item = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}
    done = kuik("pods", "rewrite", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "PodList", "items": [item]}))
    found = json.loads(done.stdout)
    assert found["kind"] == "PodList"
    assert "kind" not in found["items"][0]
    assert images(found["items"][0]) == ["localhost:7439/docker.io/library/nginx:latest"]


@pytest.mark.parametrize("text", ["a: [", "{", "a: b: c"])
def test_broken_manifests_are_named(text: str) -> None:
    done = kuik("pods", "rewrite", "-", stdin=text)
    assert done.returncode == 2
    assert "standard input: line" in done.stderr
