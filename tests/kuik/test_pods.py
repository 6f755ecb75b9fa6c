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


def test_what_cannot_be_read_is_said_and_stays_as_it_is() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "odd"}, "spec": {"containers": 5}}
    done = kuik("pods", "rewrite", "-", stdin=yaml.safe_dump(pod))
    assert (done.returncode, yaml.safe_load(done.stdout)) == (0, pod)
    assert "left as it is: Pod odd: pod.spec.containers is no list" in done.stderr


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


def policy(kind: str, *rules: dict[str, Any], **meta: str) -> dict[str, Any]:
    metadata = {"name": "rules", **meta}
    return {"apiVersion": "kuik.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": {"rules": list(rules)}}


def placed(namespace: str, workload: dict[str, Any]) -> dict[str, Any]:
    return {**workload, "metadata": {**workload["metadata"], "namespace": namespace}}


def test_policies_and_namespaces_among_the_manifests_count() -> None:
    team = policy(
        "CachePolicy", {"name": "no-redis", "match": {"images": ["**/redis:*"]}, "action": "Ignore"}, namespace="team"
    )
    jobs = {"name": "no-jobs", "match": {"ownerKinds": ["CronJob"]}, "action": "Ignore"}
    everywhere = {"apiVersion": "v1", "kind": "List", "items": [policy("ClusterCachePolicy", jobs)]}
    out = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "out", "labels": {"kuik.dev/cache": "false"}}}
    web = deployment("web", "nginx:1", "redis:7")
    nightly = {"spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": web["spec"]["template"]}}}}
    cron = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"}, **nightly}
    given = [team, everywhere, out, placed("team", web), placed("else", web), placed("out", web), cron]
    done = kuik("pods", "rewrite", "-", stdin=yaml.safe_dump_all(given))
    assert done.returncode == 0, done.stderr
    *others, in_team, elsewhere, opted, job = yaml.safe_load_all(done.stdout)
    assert others == [team, everywhere, out]
    nginx, rewritten = (f"localhost:7439/docker.io/library/{name}" for name in ("nginx:1", "redis:7"))
    assert images(in_team["spec"]["template"]) == [nginx, "redis:7"]
    assert images(elsewhere["spec"]["template"]) == [nginx, rewritten]
    assert opted == placed("out", web)
    assert job == cron
    assert "redis:7: CachePolicy/rules/no-redis" in done.stderr
    assert "nginx:1: ClusterCachePolicy/rules/no-jobs" in done.stderr


def test_a_policy_that_no_api_server_would_take_is_named() -> None:
    bad = policy("CachePolicy", {"name": "x", "action": "Burn"})
    done = kuik("pods", "rewrite", "-", stdin=yaml.safe_dump(bad))
    assert done.returncode == 2
    assert "standard input: CachePolicy rules: spec.rules" in done.stderr
    assert not done.stdout
