"""Paths of objects, as `kubectl get --raw` takes them."""

import pytest

from kube.paths import KINDS, path_of
from kube.types import Key


@pytest.mark.parametrize(
    ("key", "path"),
    [
        (Key("v1", "Pod", "shop", "web"), "api/v1/namespaces/shop/pods/web"),
        (Key("v1", "Namespace", "", "shop"), "api/v1/namespaces/shop"),
        (Key("batch/v1", "Job", "kuik-system", "copy-1"), "apis/batch/v1/namespaces/kuik-system/jobs/copy-1"),
        (Key("kuik.dev/v1alpha1", "CachedImage", "", "x"), "apis/kuik.dev/v1alpha1/cachedimages/x"),
    ],
)
def test_the_path_of_an_object(key: Key, path: str) -> None:
    assert path_of(key) == path


def test_all_objects_of_a_kind() -> None:
    assert KINDS["Pod"].collection() == "api/v1/pods"
    assert KINDS["CachePolicy"].collection("shop") == "apis/kuik.dev/v1alpha1/namespaces/shop/cachepolicies"
