"""The CRDs' schemas as the command line uses them: errors that name the field, and defaults."""

from typing import Any

import pytest

from kube.schema import defaulted, kinds, validate


def cached_image(**spec: Any) -> dict[str, Any]:
    meta = {"name": "x"}
    spec = {"image": "docker.io/library/nginx:1", **spec}
    return {"apiVersion": "kuik.dev/v1alpha1", "kind": "CachedImage", "metadata": meta, "spec": spec}


def image_cache(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "kuik.dev/v1alpha1", "kind": "ImageCache", "metadata": {"name": "default"}, "spec": spec}


def rule(**match: Any) -> dict[str, Any]:
    return {"name": "r", "action": "Cache", "match": match}


def policy(*rules: dict[str, Any]) -> dict[str, Any]:
    meta, spec = {"name": "p"}, {"rules": list(rules)}
    return {"apiVersion": "kuik.dev/v1alpha1", "kind": "ClusterCachePolicy", "metadata": meta, "spec": spec}


def test_all_kinds_have_a_schema() -> None:
    assert kinds() == (
        "CachePolicy",
        "CachedImage",
        "ClusterCachePolicy",
        "ImageCache",
        "ImageInventory",
        "ImagePrefetch",
    )


def test_defaults_are_filled_in_and_the_object_given_stays() -> None:
    given = image_cache(platforms=["linux/arm64"])
    filled = defaulted(given)
    assert filled["spec"] == {
        "mode": "On",
        "delivery": "Webhook",
        "keeper": {"grace": "7d", "sweepEvery": "1h", "verifyEvery": "7d"},
        "retention": "30d",
        "platforms": ["linux/arm64"],
        "copies": {"concurrency": 5, "referrers": False},
        "refresh": {"mode": "Sync", "interval": "1h"},
        "capacity": {"fullAt": 90, "whenFull": "Keep"},
        "freshness": "60s",
        "registries": [],
        "selector": {"matchLabels": {"kuik.dev/image-cache": "default"}},
    }
    assert given["spec"] == {"platforms": ["linux/arm64"]}
    assert validate(filled) == ()


def test_a_spec_that_is_left_out_is_the_default_one() -> None:
    bare = {"apiVersion": "kuik.dev/v1alpha1", "kind": "ImageCache", "metadata": {"name": "default"}}
    assert defaulted(bare)["spec"]["retention"] == "30d"
    assert validate(bare) == ()


@pytest.mark.parametrize(
    ("obj", "field", "word"),
    [
        (image_cache(retention="30 days"), "spec.retention", "30d"),
        (image_cache(retention=30), "spec.retention", "string"),
        (image_cache(retension="30d"), "spec", "retension"),
        (image_cache(capacity={"bytes": "500 GB"}), "spec.capacity.bytes", "500Gi"),
        (cached_image(remove="Now"), "spec.remove", "Evicted"),
        (image_cache(platforms=["linux"]), "spec.platforms.0", "linux"),
        (image_cache(selector={"matchLabels": {}}), "spec.selector.matchLabels", "Labels"),
        (cached_image(unusedSince="yesterday"), "spec.unusedSince", "yesterday"),
        (cached_image(pullSecrets=[{"namespace": "a", "name": "b"}]), "spec.pullSecrets.0", "secret"),
        ({**cached_image(), "spec": {}}, "spec", "image"),
        ({**cached_image(), "status": {"phase": "Lost"}}, "status.phase", "Pending"),
        ({**cached_image(), "kind": "Pod"}, "kind", "CachedImage"),
        ({**cached_image(), "apiVersion": "v1"}, "apiVersion", "kuik.dev/v1alpha1"),
        ({**cached_image(), "metadata": {"name": "A"}}, "metadata.name", "A"),
        ({**cached_image(), "metadata": {"name": "a..b"}}, "metadata.name", "a..b"),
        ({**image_cache(), "metadata": {"name": "other"}}, "metadata.name", "default"),
        (image_cache(retention="30d\n"), "spec.retention", "30d"),
        (image_cache(freshness="1 minute"), "spec.freshness", "number"),
        (image_cache(registries=[{}]), "spec.registries.0", "host"),
        (image_cache(registries=[{"host": "https://a.example"}]), "spec.registries.0.host", "docker.io"),
        (image_cache(registries=[{"host": "a.example", "ca": "x"}]), "spec.registries.0.ca", "PEM"),
        (image_cache(registries=[{"host": "a.example", "plainHttp": True}]), "spec.registries.0", "plainHTTP"),
        (image_cache(platforms=["linux/amd64", "linux/amd64"]), "spec.platforms", "unique"),
        (image_cache(registries=[{"host": "a.io"}, {"host": "a.io"}]), "spec.registries", "two entries have the host"),
        (policy({"name": "a", "action": "Cache"}, {"name": "a", "action": "Ignore"}), "spec.rules", "name 'a'"),
        (policy(rule(images=["^docker.io/(a|b)"])), "spec.rules.0.match.images.0", "* stands for any characters"),
        (policy(rule(namespaces=["Team A"])), "spec.rules.0.match.namespaces.0", "Namespaces by name"),
    ],
)
def test_what_is_wrong_is_named(obj: dict[str, Any], field: str, word: str) -> None:
    errors = validate(obj)
    assert [error.field for error in errors][:1] == [field]
    assert word in str(errors[0])
