"""What is said of each transition, once."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hooks.facts import Absent, ImageFacts, Known
from hooks.transitions import MAX_WORKLOADS, transitions
from kube.events import Said
from kube.types import format_time
from tests.hooks.copying import DIGEST, Image

OTHER = "sha256:" + "cd" * 32
THIRD = "sha256:" + "ef" * 32
WEB = "team/Deployment/web"


class Told(Image):
    """A CachedImage whose syncs say what they change."""

    def __init__(self, **spec: Any) -> None:
        super().__init__(**spec)
        self.parent["metadata"]["uid"] = "uid-1"
        self.names: list[str] = []

    def say(self) -> list[str]:
        """One sync: the reasons of its Events, those of workloads with their namespace."""
        before = dict(self.parent)
        said = transitions(before, self.sync())
        assert said == transitions(before, self.parent["status"]), "a replay says the same"
        assert transitions(self.parent, self.parent["status"]) == (), "what has not changed says nothing"
        self.names += [one.name for one in said]
        return [f"{one.about.namespace}/{one.reason}" if one.about.namespace else one.reason for one in said]

    def until_quiet(self) -> list[str]:
        found = self.say()
        while more := self.say():
            found += more
        return found

    def again(self) -> list[str]:
        """After the longest backoff."""
        self.wait(3600)
        return self.until_quiet()


def cached(**spec: Any) -> Told:
    image = Told(**spec)
    image.until_quiet()
    image.copied()
    image.until_quiet()
    return image


def test_a_copy_is_told_from_its_start_to_its_end() -> None:
    image = Told(usedBy=[WEB])
    assert image.until_quiet() == ["Copying"]
    image.copied()
    assert image.until_quiet() == ["Cached"], "workloads are told only of what they had to miss"


def test_failures_are_told_once_for_workloads_and_each_for_the_image() -> None:
    image = Told(usedBy=[WEB])
    image.until_quiet()
    image.fail("Unreachable")
    assert image.until_quiet() == ["CopyFailed", "team/ImageNotCached"]
    assert image.again() == ["Copying"]
    image.fail("Unreachable")
    assert image.until_quiet() == ["CopyFailed"], "a retry that fails alike is nothing new"
    assert image.again() == ["Copying"]
    image.fail("NotFound")
    assert image.until_quiet() == ["CopyFailed", "team/ImageNotCached"]
    assert image.again() == ["Copying"]
    image.copied()
    assert image.until_quiet() == ["Recovered", "team/ImageCached"]
    assert len(set(image.names)) == len(image.names)


def test_a_misnamed_image_is_told_once() -> None:
    image = Told(usedBy=[WEB])
    image.parent["spec"]["image"] = "Bad Name"
    assert image.until_quiet() == ["CopyFailed", "team/ImageNotCached"]
    assert image.again() == []


@pytest.mark.parametrize(("mode", "expected"), [("Warn", ["Moved"]), ("Sync", ["Copying"]), ("Ignore", [])])
def test_a_tag_that_moves(mode: str, expected: list[str]) -> None:
    image = cached(refresh={"mode": mode, "interval": "1h"})
    image.facts = ImageFacts(upstream=Known(DIGEST))
    assert image.until_quiet() == []
    image.facts = ImageFacts(upstream=Known(OTHER))
    assert image.again() == expected
    if mode == "Sync":
        image.copied(OTHER)
        assert image.until_quiet() == ["Refreshed"]


def test_each_move_of_a_tag_is_told() -> None:
    image = cached(refresh={"mode": "Warn", "interval": "1h"})
    for digest, expected in ((OTHER, ["Moved"]), (THIRD, ["Moved"]), (DIGEST, []), (OTHER, ["Moved"])):
        image.facts = ImageFacts(upstream=Known(digest))
        assert image.again() == expected
    assert len(set(image.names)) == len(image.names)


def test_a_tag_that_goes_and_comes_and_goes() -> None:
    image = cached()
    image.facts = ImageFacts(upstream=Known(None))
    assert image.again() == ["Gone"]
    image.facts = ImageFacts(upstream=Known(DIGEST))
    assert image.again() == []
    image.facts = ImageFacts(upstream=Known(None))
    assert image.again() == ["Gone"]
    assert len(set(image.names)) == len(image.names)


def verified(image: Told, ok: bool, message: str = "") -> list[str]:
    image.wait(60)
    report = {"at": format_time(image.now), "ok": ok, "digest": DIGEST, "message": message}
    image.parent["metadata"]["annotations"] = {"kuik.dev/verified": json.dumps(report)}
    return image.until_quiet()


def test_verification_is_told_where_it_changes_something() -> None:
    image = cached(usedBy=[WEB])
    image.facts = ImageFacts(upstream=Absent())
    assert verified(image, ok=True) == ["Verified"]
    assert verified(image, ok=True) == []
    assert verified(image, ok=False, message="blob sha256:12 is short") == ["Corrupt", "Copying"]
    image.copied()
    assert image.until_quiet() == ["Recovered"]
    assert verified(image, ok=True) == ["Verified"]
    assert len(set(image.names)) == len(image.names)


def failed(message: str, **spec: Any) -> tuple[Said, ...]:
    parent = {"metadata": {"name": "x" * 253, "uid": "u"}, "spec": {"image": "reg.example.com/app:1", **spec}}
    return transitions(parent, {"failures": 1, "attempts": 1, "reason": "Unauthorized", "message": message})


@pytest.mark.parametrize(
    "message",
    [
        "GET https://bob:hunter22@reg.example.com/v2/: 401",
        "sent Authorization: Bearer hunter22hunter22",
        "sent authorization: basic aHVudGVyMjI6aHVudGVyMjI=",
        "https://s3/x?X-Amz-Signature=hunter22&token=hunter22",
        "password: hunter22",
    ],
)
def test_no_credential_is_told(message: str) -> None:
    for said in failed(message, usedBy=[WEB]):
        assert "hunter" not in said.message
        assert "aHVud" not in said.message
        assert said.message.startswith(("reg.example.com/app:1", "image reg.example.com/app:1"))


def test_what_is_told_fits_the_api() -> None:
    many = [f"team/Deployment/{'w' * 250}{at}" for at in range(30)]
    said = failed("why " * 2000, usedBy=many)
    assert len(said) == 1 + MAX_WORKLOADS
    assert len({one.name for one in said}) == len(said)
    assert all(len(one.message) <= 1024 and len(one.name) <= 253 for one in said)


def test_only_workloads_are_told() -> None:
    users = [
        "ClusterCachePolicy/all",
        "a/b",
        "../Pod/x",
        "team/Pod/../x",
        "team/Unheard/x",
        "a/Namespace/x",
        "team/Pod/x",
    ]
    told = [one.about for one in failed("no", usedBy=users) if one.about.kind != "CachedImage"]
    assert [(about.namespace, about.kind, about.name) for about in told] == [("team", "Pod", "x")]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
conditions = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["Cached", "Verified", "UpToDate"]),
            "status": st.sampled_from(["True", "False", "Unknown"]),
            "reason": st.sampled_from(["Moved", "Gone", "Current", "Corrupt", "Copied"]),
        }
    ),
    max_size=3,
)
statuses = st.fixed_dictionaries(
    {},
    optional={
        "copy": st.sampled_from(["Running", "Stalled", "Waiting", "Wanted"]) | anything,
        "attempts": st.integers(0, 5) | anything,
        "failures": st.integers(0, 3) | anything,
        "reason": st.sampled_from(["NotFound", "Unreachable"]) | anything,
        "digest": st.sampled_from([DIGEST, OTHER]) | anything,
        "upstreamDigest": st.sampled_from([DIGEST, OTHER]) | anything,
        "verifiedAt": st.text(max_size=3),
        "conditions": conditions | anything,
    },
)


@given(before=statuses, after=statuses, meta=anything, users=st.lists(st.just(WEB) | st.text(max_size=9)) | anything)
def test_any_status_is_told_the_same_way_twice(before: Any, after: Any, meta: Any, users: Any) -> None:
    parent = {"metadata": meta, "spec": {"image": "x", "usedBy": users}, "status": before}
    said = transitions(parent, after)
    assert [one.name for one in said] == [one.name for one in transitions(json.loads(json.dumps(parent)), after)]
    assert transitions({**parent, "status": after}, after) == ()
    assert len({(one.namespace, one.name) for one in said}) == len({(one.about, one.reason) for one in said})


def test_a_copy_whose_pod_does_not_start_is_told_once() -> None:
    image = Told()
    image.until_quiet()
    (job,) = image.jobs.values()
    job["status"] = {"startTime": format_time(image.now), "active": 1, "ready": 0}
    assert image.until_quiet() == []
    image.wait(300)
    assert image.until_quiet() == ["CopyStalled"]
    job["status"]["ready"] = 1
    image.say()
    assert len(set(image.names)) == 2, "that it copies now has the name that it had at its beginning"
