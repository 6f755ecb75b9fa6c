"""Stage 2 over generated inventories: order does not matter, it comes to rest, and doubt deletes nothing."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hooks.facts import Absent, Context, Known, Unknown
from hooks.messages import Unreadable, answer
from hooks.stages import STAGES
from hooks.summary import HELD
from hooks.wanted import name_of
from kuik.driver.apply import merge
from tests.hooks import golden
from tests.hooks.world import GARBLED, NOW, image_cache, inventories, namespace

STAGE = STAGES["imagecache"]
NAMES = ("a", "b", "c")
InUse = Known[frozenset[str]] | Absent | Unknown
NOBODY_LOOKED = Absent()
NONE_IN_USE = Known(frozenset[str]())


def related(found: list[Any]) -> list[Any]:
    return [namespace(name) for name in NAMES] + found


def sync(
    parent: Any, children: list[Any], found: list[Any], now: datetime, in_use: InUse = NONE_IN_USE
) -> dict[str, Any]:
    return answer(STAGE, golden.request(STAGE, parent, children, related(found)), Context(now, in_use=in_use))


def images(answered: dict[str, Any]) -> list[Any]:
    return [child for child in answered["children"] if child["kind"] == "CachedImage"]


def applied(observed: list[Any], desired: list[Any]) -> list[Any]:
    """What is there after an in-place update that leaves alone what people set."""
    before = {child["metadata"]["name"]: child for child in observed}
    kept = ("retain",)
    result = []
    for child in desired:
        old = before.get(child["metadata"]["name"], {"spec": {}})
        people = {field: old["spec"][field] for field in kept if field in old["spec"]}
        status = {"status": old["status"]} if "status" in old else {}
        result.append({**child, "spec": {**child["spec"], **people}, **status})
    return result


everything = st.tuples(*(inventories(name) for name in NAMES)).map(list)


@st.composite
def earlier(draw: st.DrawFn) -> list[Any]:
    """CachedImages that an earlier sync left, some unused for long, some kept by people."""
    made = images(sync(image_cache(), [], draw(everything), NOW - timedelta(days=90)))
    for child in made:
        if draw(st.booleans()):
            days = draw(st.integers(0, 80))
            child["spec"]["unusedSince"] = (NOW - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
            child["spec"] |= {"usedBy": [], "users": 0}
        if draw(st.integers(0, 4)) == 0:
            child["spec"]["retain"] = True
    return list(made)


@given(everything, earlier())
def test_every_child_is_one_that_the_selector_finds(found: list[Any], children: list[Any]) -> None:
    for child in sync(image_cache(), children, found, NOW)["children"]:
        assert child["metadata"]["labels"]["kuik.dev/image-cache"] == "default", child["kind"]


@given(everything, earlier(), st.randoms(use_true_random=False))
def test_order_does_not_matter(found: list[Any], children: list[Any], random: Any) -> None:
    mixed, shuffled = list(found), list(children)
    random.shuffle(mixed)
    random.shuffle(shuffled)
    for inventory in mixed:
        random.shuffle(inventory["spec"]["images"])
    assert sync(image_cache(), children, found, NOW) == sync(image_cache(), shuffled, mixed, NOW)


@given(everything, earlier(), st.sets(st.sampled_from(NAMES)), st.integers(1, 10**6))
def test_applied_once_it_stays(found: list[Any], children: list[Any], missing: set[str], seconds: int) -> None:
    found = [inventory for inventory in found if inventory["metadata"]["name"] not in missing]
    parent = image_cache()
    first = sync(parent, children, found, NOW)
    due = first["resyncAfterSeconds"]
    later = NOW + timedelta(seconds=min(seconds, max(0.0, due - 1)) if due else seconds)
    parent["status"] = first["status"]
    there = applied(children, images(first))
    second = sync(parent, there, found, later)
    assert applied(there, images(second)) == there
    third = sync({**parent, "status": second["status"]}, there, found, later)
    assert third["status"] == second["status"]


@given(everything, earlier(), st.sampled_from(NAMES), st.sampled_from([*GARBLED, None]))
def test_an_inventory_missing_or_garbled_deletes_nothing(
    found: list[Any], children: list[Any], name: str, spoilt: Any
) -> None:
    kept = [inventory for inventory in found if inventory["metadata"]["name"] != name]
    if spoilt is not None:
        kept.append({**found[0], "metadata": {"name": name}, "spec": spoilt})
    desired = images(sync(image_cache(), children, kept, NOW))
    before = {child["metadata"]["name"]: child["spec"] for child in children}
    after = {child["metadata"]["name"]: child["spec"] for child in desired}
    assert before.keys() <= after.keys()
    newly = [n for n in before if "unusedSince" in after[n] and "unusedSince" not in before[n]]
    assert not newly


@given(everything, earlier())
def test_pods_that_cannot_be_seen_delete_nothing(found: list[Any], children: list[Any]) -> None:
    desired = images(sync(image_cache(), children, found, NOW, Unknown("no answer")))
    assert {c["metadata"]["name"] for c in children} <= {c["metadata"]["name"] for c in desired}


def test_and_without_doubt_the_same_image_expires() -> None:
    child = {
        "apiVersion": "kuik.dev/v1alpha1",
        "kind": "CachedImage",
        "metadata": {"name": "old"},
        "spec": {"image": "docker.io/library/old:1", "unusedSince": "2026-01-01T00:00:00Z"},
    }
    whole = [
        {
            "apiVersion": "kuik.dev/v1alpha1",
            "kind": "ImageInventory",
            "metadata": {"name": name},
            "spec": {"namespace": name, "images": []},
        }
        for name in NAMES
    ]
    assert sync(image_cache(), [child], whole, NOW)["children"] == []
    assert sync(image_cache(), [child], whole, NOW, NOBODY_LOOKED)["children"] != []
    assert sync(image_cache(), [child], whole[1:], NOW)["children"] != []


@pytest.mark.parametrize(
    ("image", "slug"),
    [
        ("docker.io/library/nginx:1.27", "nginx-1-27-"),
        ("reg:5000/Team/app:V1".lower(), "reg-5000-team-app-v1-"),
        ("ghcr.io/" + "long/" * 40 + "app:1.0", "long-app-1-0-"),
    ],
)
def test_names_tell_the_image_and_fit_a_label(image: str, slug: str) -> None:
    name = name_of(image)
    assert slug in name
    assert len(name) <= 63
    assert name_of(image + "0") != name


@pytest.mark.parametrize(
    ("field", "value"), [("retention", "a month"), ("selector", {}), ("selector", {"matchLabels": {}})]
)
def test_a_spec_that_cannot_be_read_is_an_error_that_names_the_field(field: str, value: Any) -> None:
    parent = image_cache()
    parent["spec"][field] = value
    with pytest.raises(Unreadable, match=rf"spec\.{field}"):
        sync(parent, [], [], NOW)


def test_a_clock_that_was_ahead_for_a_while_holds_back_good_news_no_longer_than_usual() -> None:
    parent = image_cache()
    said = {"type": "Degraded", "status": "True", "reason": "CopiesFailed", "message": "", "lastTransitionTime": "x"}
    parent["status"] = {"recoveringSince": {"Degraded": "2027-03-01T12:00:00Z"}, "conditions": [said]}
    answered = sync(parent, [], [], NOW)
    assert answered["resyncAfterSeconds"] == HELD
    later = sync({**parent, "status": answered["status"]}, [], [], NOW + timedelta(seconds=HELD))
    (degraded,) = [one for one in later["status"]["conditions"] if one["type"] == "Degraded"]
    assert degraded["status"] == "False"


def test_images_that_are_kept_for_ever_ask_for_no_sync_at_once() -> None:
    """Metacontroller counts nanoseconds in 64 bits."""
    parent = image_cache()
    parent["spec"]["retention"] = "999999w"
    child = {"apiVersion": "kuik.dev/v1alpha1", "kind": "CachedImage", "metadata": {"name": "old"}}
    child = {**child, "spec": {"image": "docker.io/library/old:1", "unusedSince": "2026-01-01T00:00:00Z"}}
    found = [inventory(name, []) for name in NAMES]
    assert 0 < sync(parent, [child], found, NOW)["resyncAfterSeconds"] < 2**63 / 10**9


def inventory(name: str, entries: list[Any]) -> dict[str, Any]:
    meta, spec = {"name": name}, {"namespace": name, "images": entries}
    return {"apiVersion": "kuik.dev/v1alpha1", "kind": "ImageInventory", "metadata": meta, "spec": spec}


def used(image: str, **more: Any) -> dict[str, Any]:
    said = {"decision": "Cache", "rule": "Default", "pullSecrets": [], "usedBy": ["Pod/x"], "users": 1}
    return {"image": f"docker.io/library/{image}", **said, **more}


def test_images_that_somebody_suspended_take_nobody_elses_turn() -> None:
    """Metacontroller leaves fields alone that it never set: what a stage does not say of them, it does not rule."""
    names = [f"a{number}:1" for number in range(5)] + ["z:1"]
    found = [inventory("a", [used(name) for name in names]), inventory("b", []), inventory("c", [])]
    there = images(sync(image_cache(), [], found, NOW))
    for child in there:
        if not child["spec"]["image"].endswith("z:1"):
            child["spec"]["suspend"] = True
        child["status"] = {"copy": "Wanted", "phase": "Pending"}
    kept = [
        merge(child, {}, new) for child, new in zip(there, images(sync(image_cache(), there, found, NOW)), strict=True)
    ]
    assert [child["spec"]["image"] for child in kept if not child["spec"].get("suspend")], "somebody may copy"
    assert sum(not child["spec"].get("suspend") for child in kept) == 5


def waiting_at(names: list[str]) -> list[Any]:
    return [inventory(name, [used("nginx:1", waiting=["Proxied"])]) for name in names]


def rescued(answered: dict[str, Any]) -> dict[str, Any]:
    (job,) = [child for child in answered["children"] if child["kind"] == "Job"]
    return {**job, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}


def test_no_namespace_waits_for_its_rescue_behind_others_that_nothing_helps() -> None:
    names = [f"team-{number:03}" for number in range(170)]
    looked_at: set[str] = set()
    jobs: list[Any] = []
    for _ in range(4):
        jobs = [rescued(sync(image_cache(), jobs, waiting_at(names), NOW))]
        arguments = jobs[0]["spec"]["template"]["spec"]["containers"][0]["args"]
        found = [word for word in arguments if word.startswith("team-")]
        assert len(found) <= 50
        looked_at.update(found)
    assert looked_at == set(names)


def test_a_cluster_that_shows_no_namespace_is_one_that_nobody_can_see() -> None:
    child = {"apiVersion": "kuik.dev/v1alpha1", "kind": "CachedImage", "metadata": {"name": "old"}}
    for since in ({}, {"unusedSince": "2026-01-01T00:00:00Z"}):
        there = {**child, "spec": {"image": "docker.io/library/old:1", **since}}
        asked = golden.request(STAGE, image_cache(), [there], [])
        said = answer(STAGE, asked, Context(NOW, in_use=NONE_IN_USE))
        (kept,) = images(said)
        assert kept["spec"].get("unusedSince") == since.get("unusedSince")
        assert "nothing expires" in said["status"]["conditions"][0]["message"]


def test_pods_are_looked_at_only_where_the_look_can_end_in_something() -> None:
    """While a namespace's use is not known nothing expires, so nobody lists ten thousand pods at every sync."""
    old = {"apiVersion": "kuik.dev/v1alpha1", "kind": "CachedImage", "metadata": {"name": "old"}}
    old["spec"] = {"image": "docker.io/library/old:1", "unusedSince": "2026-01-01T00:00:00Z"}
    whole = [inventory(name, []) for name in NAMES]
    unread = {**whole[0], "spec": {**whole[0]["spec"], "unreadable": ["Pod/odd: spec is no object"]}}

    def looks(found: list[Any]) -> bool:
        asked = golden.request(STAGE, image_cache(), [old], related(found))
        return STAGE.asks(asked["parent"], {**asked["related"], **asked["children"]}, NOW).pods

    assert looks(whole)
    assert not looks(whole[1:])
    assert not looks([unread, *whole[1:]])


def test_a_namespace_that_is_stuck_in_its_end_freezes_nothing_and_its_pods_still_count() -> None:
    """Metacontroller makes nothing for an object that goes, so there it is no news that there is no inventory."""
    old = {"apiVersion": "kuik.dev/v1alpha1", "kind": "CachedImage", "metadata": {"name": "old"}}
    old["spec"] = {"image": "docker.io/library/old:1", "unusedSince": "2026-01-01T00:00:00Z"}
    stuck = namespace("stuck")
    stuck["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    found = [stuck, *(inventory(name, []) for name in NAMES)]
    assert images(sync(image_cache(), [old], found, NOW)) == []
    in_use = Known(frozenset({"docker.io/library/old:1"}))
    assert len(images(sync(image_cache(), [old], found, NOW, in_use))) == 1
