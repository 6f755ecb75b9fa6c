"""Removal on demand: once, never of what is in use unless forced."""

from datetime import UTC, datetime
from typing import Any

import pytest

from kuik.keeper.report import image_report
from kuik.keeper.wishes import asked, wishes
from registry.digest import Digest

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
ONE = str(Digest.of(b"one"))
NGINX = "docker.io/library/nginx:1"
REMOVED = image_report(ONE, "Removed", NOW)


def image(spec: dict[str, Any] | None = None, **annotations: str) -> dict[str, Any]:
    named = {name.replace("__", "/").replace("_", "."): text for name, text in annotations.items()}
    meta = {"name": "nginx", "annotations": named}
    return {"metadata": meta, "spec": {"image": NGINX, **(spec or {})}, "status": {"digest": ONE, "copiedAs": "Public"}}


def test_a_wish_removes_the_images_tags() -> None:
    (found,) = wishes([image(kuik_dev__remove="true")], "a", (), NOW)
    assert {str(place) for place in found.places} == {
        "docker.io/library/nginx:1",
        f"docker.io/library/nginx:digest-{Digest.of(b'one').hex}",
    }
    assert (found.refused, found.settled) == ("", False)


def test_what_stage_two_evicts_goes_too() -> None:
    assert wishes([image({"remove": "Evicted"})], "a", (), NOW)[0].places


@pytest.mark.parametrize(
    ("spec", "in_use", "why"),
    [
        ({"usedBy": ["shop/Deployment/web"]}, (), "it is used by shop/Deployment/web"),
        ({"users": 2}, (), "workloads use it"),
        ({}, (NGINX,), "a pod uses it"),
    ],
)
def test_what_is_in_use_stays_unless_it_is_forced(spec: dict[str, Any], in_use: tuple[str, ...], why: str) -> None:
    (refused,) = wishes([image(spec, kuik_dev__remove="true")], "a", in_use, NOW)
    assert (refused.refused, refused.places) == (why, frozenset())
    (evicted,) = wishes([image({**spec, "remove": "Evicted"})], "a", in_use, NOW)
    assert evicted.refused == why
    (forced,) = wishes([image(spec, kuik_dev__remove="force")], "a", in_use, NOW)
    assert (bool(forced.places), forced.settled) == (True, True)


def test_what_people_retain_stays_and_what_was_removed_is_not_removed_again() -> None:
    assert wishes([image({"retain": True, "remove": "Evicted"}, kuik_dev__remove="force")], "a", (), NOW) == []
    done = image(kuik_dev__remove="true", volume_kuik_dev__a=REMOVED)
    assert wishes([done], "a", (), NOW) == []
    assert not asked([done], "a")
    assert asked([done], "b")


def test_a_forced_wish_is_settled_by_the_last_volume_alone() -> None:
    used = {"users": 1}
    other_has_it = image_report(ONE, "Whole", NOW)
    (first,) = wishes([image(used, kuik_dev__remove="force", volume_kuik_dev__b=other_has_it)], "a", (), NOW)
    (last,) = wishes([image(used, kuik_dev__remove="force", volume_kuik_dev__b=REMOVED)], "a", (), NOW)
    assert (first.settled, last.settled) == (False, True)


def named(name: str, image_name: str, **annotations: str) -> dict[str, Any]:
    found = image(None, **annotations)
    return {**found, "metadata": {**found["metadata"], "name": name}, "spec": {"image": image_name}}


def anchor(name: str) -> str:
    return f"{name}:digest-{Digest.of(b'one').hex}"


def test_a_tag_that_stands_for_another_image_too_stays_with_that_one() -> None:
    other = named("other", f"{NGINX}@{ONE}")
    (found,) = wishes([image(kuik_dev__remove="true"), other], "a", (), NOW)
    assert {str(place) for place in found.places} == {"docker.io/library/nginx:1"}
    leaving = named("other", f"{NGINX}@{ONE}", kuik_dev__remove="true")
    both = wishes([image(kuik_dev__remove="true"), leaving], "a", (), NOW)
    assert any(str(place) == anchor("docker.io/library/nginx") for one in both for place in one.places)
    gone = named("other", f"{NGINX}@{ONE}", kuik_dev__remove="true", volume_kuik_dev__a=REMOVED)
    (last,) = wishes([image(kuik_dev__remove="true"), gone], "a", (), NOW)
    assert anchor("docker.io/library/nginx") in {str(place) for place in last.places}


def test_a_digest_that_a_pod_names_stays_though_its_image_was_forgotten() -> None:
    by_digest = f"docker.io/library/nginx@{ONE}"
    (found,) = wishes([image(kuik_dev__remove="true")], "a", (by_digest,), NOW)
    assert {str(place) for place in found.places} == {"docker.io/library/nginx:1"}


def test_what_is_asked_differs_when_its_use_does() -> None:
    wanted = [image(spec, kuik_dev__remove="true") for spec in ({}, {"users": 1}, {"usedBy": ["x"]})]
    assert len({asked([one], "a") for one in wanted}) == 3
    assert asked([image(kuik_dev__remove="force")], "a") != asked([wanted[0]], "a")


def test_what_was_never_copied_is_removed_too_so_that_nobody_waits_for_it() -> None:
    new = image(kuik_dev__remove="true")
    new["status"] = {}
    (found,) = wishes([new], "a", (), NOW)
    assert {str(place) for place in found.places} == {NGINX, f"private/{NGINX}"}
    new["metadata"]["annotations"]["volume.kuik.dev/a"] = image_report("", "Removed", NOW)
    assert wishes([new], "a", (), NOW) == []
    assert not asked([new], "a")
    new["status"] = {"digest": ONE}
    assert asked([new], "a"), "copied meanwhile"
