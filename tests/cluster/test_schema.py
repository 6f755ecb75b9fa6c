"""The command line's checks against the API server's: the same verdict on the same object, and the same defaults."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from kube.schema import defaulted, validate
from registry.settings import InvalidSettings, read_registries
from tests.cluster.rig.api import Object, Refused
from tests.cluster.rig.control_plane import ControlPlane

IMAGE = "docker.io/library/nginx:1"
CONDITION = {
    "type": "Cached",
    "status": "True",
    "reason": "Copied",
    "message": "",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
PATHS = {
    "CachedImage": "cachedimages",
    "ClusterCachePolicy": "clustercachepolicies",
    "ImageCache": "imagecaches",
    "ImageInventory": "imageinventories",
}


def made(kind: str, name: str, spec: Any) -> Object:
    return {"apiVersion": "kuik.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def image(**spec: Any) -> Object:
    return made("CachedImage", "x", {"image": IMAGE, **spec})


def cache(**spec: Any) -> Object:
    return made("ImageCache", "default", spec)


PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def registry(**changes: Any) -> Object:
    return {"host": "reg.example:5000", **changes}


def inventory(*images: Any, **spec: Any) -> Object:
    return made("ImageInventory", "team", {"namespace": "team", "images": list(images), **spec})


def entry(**changes: Any) -> Object:
    usual = {"image": IMAGE, "decision": "Cache", "rule": "Default", "pullSecrets": [], "usedBy": [], "users": 0}
    return {**usual, **changes}


def without(obj: Object, *path: str) -> Object:
    """A copy of the object without one field."""
    found = copy.deepcopy(obj)
    inner = found
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    return found


GOOD = [
    image(),
    image(platforms=["linux/amd64", "linux/arm/v7"], pullSecrets=[{"namespace": "a", "secret": "b"}]),
    image(pullSecrets=[{"namespace": n, "secret": "b"} for n in "ab"], usedBy=["a/Deployment/web"] * 2, users=2),
    image(unusedSince="2026-01-01T00:00:00Z", retain=True, suspend=False, users=0),
    image(unusedSince="2026-01-01T00:00:00.123456+02:00"),
    cache(),
    cache(retention="999999w", platforms=[], selector={"matchLabels": {"a": "b"}}),
    cache(freshness="5m", registries=[registry(), {"host": "*", "egressProxy": {"url": "http://p.example:3128"}}]),
    cache(registries=[registry(ca="# two\n" + PEM + PEM), {"host": "a.example", "plainHTTP": True}]),
    cache(registries=[registry(mirrors=[{"host": "m.example:8443", "prefix": "a/b-c", "timeoutSeconds": 30}])]),
    cache(registries=[registry(limits={"transfers": 1})]),
    cache(capacity={"bytes": "500Gi", "whenFull": "Evict", "fullAt": 100}),
    image(remove="Evicted", usedBefore=["a", "b"], hold={"reason": "OverQuota", "message": "a has more than 5Gi"}),
    made("ClusterCachePolicy", "quotas", {"quotas": [{"namespaces": ["team-*"], "bytes": "50Gi"}, {"bytes": "0"}]}),
    without(cache(), "spec"),
    inventory(),
    inventory(entry(), entry(decision="Ignore", message="why", usedBy=["Pod/x"] * 20)),
]

BAD = {
    "freshness": cache(freshness="1 minute"),
    "registry-host": cache(registries=[registry(host="https://reg.example")]),
    "registry-host-missing": cache(registries=[{"plainHTTP": True}]),
    "registry-field": cache(registries=[registry(plainHttp=True)]),
    "registry-ca": cache(registries=[registry(ca="/etc/ssl/ca.pem")]),
    "mirror-host": cache(registries=[registry(mirrors=[{"prefix": "a"}])]),
    "mirror-prefix": cache(registries=[registry(mirrors=[{"host": "m.example", "prefix": "A//b"}])]),
    "mirror-timeout": cache(registries=[registry(mirrors=[{"host": "m.example", "timeoutSeconds": 0}])]),
    "egress-password": cache(registries=[registry(egressProxy={"url": "http://user:word@p.example:3128"})]),
    "egress-scheme": cache(registries=[registry(egressProxy={"url": "socks5://p.example"})]),
    "limits": cache(registries=[registry(limits={"requests": 0})]),
    "capacity-bytes": cache(capacity={"bytes": "half"}),
    "capacity-full": cache(capacity={"fullAt": 101}),
    "capacity-when": cache(capacity={"whenFull": "Burn"}),
    "remove": image(remove="Now"),
    "hold": image(hold={"message": "why"}),
    "quota-bytes": made("ClusterCachePolicy", "quotas", {"quotas": [{"bytes": "50 GB"}]}),
    "quota-field": made("ClusterCachePolicy", "quotas", {"quotas": [{"bytes": "1", "namespace": "a"}]}),
    "retention-words": cache(retention="30 days"),
    "retention-number": cache(retention=30),
    "retention-newline": cache(retention="30d\n"),
    "unknown-field": cache(retension="30d"),
    "unknown-inner-field": cache(selector={"matchLabels": {"a": "b"}, "matchLabel": {}}),
    "platform": cache(platforms=["linux"]),
    "platform-newline": image(platforms=["linux/amd64\n"]),
    "platform-twice": cache(platforms=["linux/amd64", "linux/amd64"]),
    "platforms-many": cache(platforms=[f"linux/a{number}" for number in range(21)]),
    "no-labels": cache(selector={"matchLabels": {}}),
    "no-match-labels": cache(selector={}),
    "null-labels": cache(selector={"matchLabels": None}),
    "label-number": cache(selector={"matchLabels": {"a": 1}}),
    "second-cache": made("ImageCache", "other", {}),
    "no-spec": without(image(), "spec"),
    "no-image": made("CachedImage", "x", {}),
    "empty-image": image(image=""),
    "long-image": image(image="a" * 1025),
    "time": image(unusedSince="yesterday"),
    "date": image(unusedSince="2026-01-01"),
    "negative": image(users=-1),
    "fraction": image(users=1.5),
    "text-number": image(users="1"),
    "many-users": image(usedBy=["a/Pod/b"] * 21),
    "secret-name": image(pullSecrets=[{"namespace": "a", "name": "b"}]),
    "secret-empty": image(pullSecrets=[{"namespace": "", "secret": "b"}]),
    "name": made("CachedImage", "Upper", {"image": IMAGE}),
    "name-dots": made("CachedImage", "a..b", {"image": IMAGE}),
    "name-long": made("CachedImage", "a" * 254, {"image": IMAGE}),
    "decision": inventory(entry(decision="Maybe")),
    "entry-field": inventory(without(entry(), "rule")),
    "entry-null": inventory(None),
    "images-missing": made("ImageInventory", "team", {"namespace": "team"}),
}


MEANINGLESS = {
    r"registries\[0\].*leave out ca or plainHTTP": [registry(plainHTTP=True, ca=PEM)],
    r"registries\[0\].host.*write docker.io": [registry(host="index.docker.io")],
    r"registries\[0\].*the host \* has none": [registry(host="*", mirrors=[{"host": "m.example"}])],
    r"registries\[0\].*not every other": [registry(host="*", plainHTTP=True)],
    r"registries\[0\].*another host": [registry(mirrors=[{"host": "reg.example:5000"}])],
    r"registries\[0\].ca.*private key": [registry(ca=PEM + "-----BEGIN PRIVATE KEY-----")],
    r"registries\[1\].*Duplicate": [registry(), registry()],
}
"""What the form allows and the API server's rules (CEL) refuse; the shield's own reading does as well."""


@pytest.mark.parametrize("said", MEANINGLESS)
def test_registries_that_make_no_sense_are_refused_by_field(installed: ControlPlane, said: str) -> None:
    with pytest.raises(Refused, match=said):
        verdict(installed, cache(registries=MEANINGLESS[said]))
    with pytest.raises(InvalidSettings):
        read_registries(MEANINGLESS[said])


def verdict(plane: ControlPlane, obj: Object) -> Object:
    """The API server's own, without storing the object."""
    path = f"apis/kuik.dev/v1alpha1/{PATHS[obj['kind']]}?dryRun=All&fieldValidation=Strict"
    return plane.api.request("POST", path, obj)


@pytest.mark.parametrize("obj", GOOD, ids=range(len(GOOD)))
def test_what_is_good_here_is_good_there_with_the_same_defaults(installed: ControlPlane, obj: Object) -> None:
    assert validate(obj) == ()
    assert verdict(installed, obj)["spec"] == defaulted(obj)["spec"]


@pytest.mark.parametrize("name", BAD)
def test_what_is_bad_here_is_bad_there_and_the_field_is_named(installed: ControlPlane, name: str) -> None:
    errors = validate(BAD[name])
    assert errors, "only the API server refuses it"
    with pytest.raises(Refused) as refused:
        verdict(installed, BAD[name])
    said = str(refused.value)
    field = errors[0].field.removeprefix("the object").rpartition(".")[2]
    assert field.isdigit() or field in said, (str(errors[0]), said)


@pytest.mark.parametrize("path", ["/status/phase", "/status/conditions/0/status", "/status/size"])
def test_a_bad_status_is_refused_by_both(installed: ControlPlane, path: str) -> None:
    status: Any = {"phase": "Cached", "size": 1, "conditions": [dict(CONDITION)]}
    bad = copy.deepcopy(status)
    *inner, last = [int(step) if step.isdigit() else step for step in path.split("/")[2:]]
    where = bad
    for step in inner:
        where = where[step]
    where[last] = -1 if last == "size" else "Lost"
    stored = verdict_of_status(installed, status)
    assert stored["status"] == status
    assert validate({**image(), "status": status}) == ()
    with pytest.raises(Refused, match=str(last)):
        verdict_of_status(installed, bad)
    assert [error.field for error in validate({**image(), "status": bad})] == [path[1:].replace("/", ".")]


def verdict_of_status(plane: ControlPlane, status: Object) -> Object:
    existing = [one for one in plane.api.list("CachedImage") if one["metadata"]["name"] == "x"]
    obj = existing[0] if existing else plane.api.request("POST", "apis/kuik.dev/v1alpha1/cachedimages", image())
    path = "apis/kuik.dev/v1alpha1/cachedimages/x/status?dryRun=All&fieldValidation=Strict"
    return plane.api.request("PUT", path, {**obj, "kind": "CachedImage", "status": status})


@pytest.fixture(scope="module", autouse=True)
def _tidy(installed: ControlPlane) -> Iterator[None]:
    yield
    installed.kubectl("delete", "ci", "--all")


def test_the_image_of_a_cached_image_cannot_be_changed(installed: ControlPlane) -> None:
    obj = made("CachedImage", "fixed", {"image": IMAGE})
    installed.kubectl("create", "-f", "-", stdin=json.dumps(obj))
    with pytest.raises(Refused, match=r"spec\.image.*make another"):
        installed.api.patch(obj, {"spec": {"image": "docker.io/library/nginx:2"}})
    installed.kubectl("delete", "ci", "fixed")


def test_the_selector_of_a_cache_cannot_be_changed(installed: ControlPlane) -> None:
    """The images that exist would be nobody's: they would neither be copied nor expire any more."""
    installed.kubectl("create", "-f", "-", stdin=json.dumps(cache()))
    try:
        with pytest.raises(Refused, match=r"spec\.selector.*cannot change"):
            installed.api.patch(cache(), {"spec": {"selector": {"matchLabels": {"another": "one"}}}})
        installed.api.patch(cache(), {"spec": {"retention": "7d"}})
    finally:
        installed.kubectl("delete", "ic", "default")
