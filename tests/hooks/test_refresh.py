"""Tags that move upstream, over time: what is copied anew, what is kept, and what facts that flap change (nothing)."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hooks.cachedimage import asks
from hooks.facts import PRIVATE, PUBLIC, ImageFacts, Known, Proof, Unknown
from kube.schema import validate
from tests.hooks.copying import DIGEST, Image
from tests.hooks.world import NOW

OTHER = "sha256:" + "cd" * 32
THIRD = "sha256:" + "ef" * 32
PROOF = Known(Proof(PUBLIC))


def upstream(digest: str | None) -> ImageFacts:
    return ImageFacts(PROOF, Known(digest))


NOTHING = ImageFacts(Unknown(), Unknown())


def cached(**spec: Any) -> Image:
    """An image that was copied, and is what upstream has."""
    image = Image(**spec)
    image.facts = upstream(DIGEST)
    image.sync()
    image.copied()
    image.sync()
    image.sync()
    assert not image.jobs
    return image


def up_to_date(status: dict[str, Any]) -> tuple[str, str]:
    found = {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}
    return found["UpToDate"]


def test_a_tag_that_moved_is_copied_and_its_earlier_digest_kept_for_the_retention() -> None:
    image = cached(retention="2h")
    assert up_to_date(image.parent["status"]) == ("True", "Current")
    image.facts = upstream(OTHER)
    status = image.sync()
    assert (status["phase"], status["digest"], status["copy"]) == ("Cached", DIGEST, "Running")
    assert up_to_date(status) == ("False", "Moved")
    image.copied(OTHER)
    status = image.sync()
    assert up_to_date(status) == ("True", "Current")
    assert status["previousDigests"] == [{"digest": DIGEST, "until": "2026-03-01T14:00:00Z"}]
    assert image.sync() == status
    assert not image.jobs
    image.wait(7199)
    image.sync()
    assert image.resync == 1
    image.wait(1)
    assert "previousDigests" not in image.sync()


def test_a_digest_that_comes_back_leaves_the_earlier_ones() -> None:
    image = cached()
    for digest, before in ((OTHER, [DIGEST]), (THIRD, [OTHER, DIGEST]), (DIGEST, [THIRD, OTHER])):
        image.facts = upstream(digest)
        image.sync()
        image.copied(digest)
        status = image.sync()
        assert [one["digest"] for one in status["previousDigests"]] == before
        image.sync()
    assert not image.jobs


def test_at_most_20_earlier_digests_are_kept_the_latest_first() -> None:
    image = cached()
    digests = [f"sha256:{at:064x}" for at in range(30)]
    for digest in digests:
        image.facts = upstream(digest)
        image.sync()
        image.copied(digest)
        image.sync()
        image.sync()
    kept = [one["digest"] for one in image.parent["status"]["previousDigests"]]
    assert kept == digests[-2:-22:-1]
    assert not validate(image.parent)


def test_a_copy_that_still_finds_the_old_digest_is_not_repeated_hotly() -> None:
    image = cached()
    image.facts = upstream(OTHER)
    image.sync()
    attempts = 0
    for _ in range(200):
        if any("status" not in job for job in image.jobs.values()):
            image.copied(DIGEST)  # a registry that says one thing and gives another
            attempts += 1
        image.sync()
        image.wait(60)
    assert attempts <= 200 * 60 / 1800 + 1
    assert image.parent["status"]["copy"] in ("Waiting", "Running")
    assert "previousDigests" not in image.parent["status"]
    image.facts = upstream(DIGEST)
    image.sync()
    image.sync()
    assert up_to_date(image.parent["status"]) == ("True", "Current")


def test_a_failed_refresh_backs_off_and_is_forgotten_when_the_tag_is_gone() -> None:
    image = cached()
    image.facts = upstream(OTHER)
    image.sync()
    image.fail("NotFound")
    status = image.sync()
    assert (status["phase"], status["copy"], image.resync) == ("Cached", "Waiting", 30)
    image.facts = upstream(None)
    status = image.sync()
    assert (status["phase"], status["digest"], status["failures"]) == ("Cached", DIGEST, 0)
    assert up_to_date(status) == ("False", "Gone")
    assert not image.jobs
    image.facts = NOTHING
    assert image.sync() == status, "that it is gone is remembered"


def test_warn_says_it_and_copies_nothing_until_sync_is_wanted() -> None:
    image = cached(refresh={"mode": "Warn"})
    image.facts = upstream(OTHER)
    status = image.sync()
    assert up_to_date(status) == ("False", "Moved")
    assert ("copy" in status, image.jobs) == (False, {})
    image.facts = NOTHING
    image.parent["spec"]["refresh"] = {"mode": "Sync", "interval": "1h"}
    assert image.sync()["copy"] == "Running"


def test_ignore_never_looks_and_sync_works_later() -> None:
    image = cached(refresh={"mode": "Ignore"})
    assert asks(image.parent, {}, NOW).image == f"reg.example.com/app@{DIGEST}", "its digest: no tag is looked at"
    image.facts = upstream(OTHER)
    status = image.sync()
    assert up_to_date(status) == ("Unknown", "NotChecked")
    assert not {"upstreamDigest", "copy"} & status.keys()
    assert image.resync == 0
    image.parent["spec"]["refresh"] = {"mode": "Sync"}
    assert asks(image.parent, {}, NOW).image == "reg.example.com/app:1"
    assert image.sync()["copy"] == "Running"


def test_an_image_named_by_digest_is_asked_for_its_access_alone() -> None:
    image = Image(image=f"reg.example.com/app:1@{DIGEST}")
    image.facts = ImageFacts(PROOF, Unknown())
    image.sync()
    image.copied()
    status = image.sync()
    assert up_to_date(status) == ("True", "Pinned")
    assert status["access"] == {"visibility": "Public"}
    image.sync()
    assert (image.jobs, image.resync) == ({}, 0)


def test_without_a_shield_nothing_is_said() -> None:
    image = Image()
    image.sync()
    image.copied()
    status = image.sync()
    assert [one["type"] for one in status["conditions"]] == ["Cached"]
    assert not {"access", "upstreamDigest"} & status.keys()


@pytest.mark.parametrize("image", ["Bad Name", "", None, 7])
def test_nothing_is_asked_of_what_is_no_image(image: Any) -> None:
    assert asks({"spec": {"image": image}}, {}, NOW).image == ""


def test_600_images_do_not_ask_at_once() -> None:
    minutes: Counter[int] = Counter()
    for at in range(600):
        image = Image(image=f"reg.example.com/app-{at}:1")
        image.facts = upstream(DIGEST)
        image.sync()
        minutes[int(image.resync // 60)] += 1
    assert len(minutes) > 50
    assert max(minutes.values()) < 30


def test_an_image_asks_about_once_an_interval() -> None:
    image = cached()
    asked, began = 0, image.now
    while (image.now - began).total_seconds() < 24 * 3600:
        image.sync()
        asked += 1
        image.wait(image.resync)
    assert 23 <= asked <= 50


def test_a_proof_is_kept_while_nothing_is_known_and_leaves_when_it_is_withdrawn() -> None:
    image = Image()
    image.facts = ImageFacts(Known(Proof(PRIVATE, frozenset({("b", "two"), ("a", "one")}))), Unknown())
    proven = [{"namespace": "a", "secret": "one"}, {"namespace": "b", "secret": "two"}]
    assert image.sync()["access"] == {"visibility": "Private", "secrets": proven}
    image.facts = NOTHING
    assert image.sync()["access"] == {"visibility": "Private", "secrets": proven}
    image.facts = ImageFacts(Known(Proof(PRIVATE, frozenset({("b", "two")}))), Unknown())
    assert image.sync()["access"]["secrets"] == proven[1:]
    image.facts = ImageFacts(Known(Proof(PRIVATE)), Unknown())
    assert image.sync()["access"] == {"visibility": "Private", "secrets": []}
    many = frozenset((f"ns-{at:04}", "s") for at in range(1500))
    image.facts = ImageFacts(Known(Proof(PRIVATE, many)), Unknown())
    assert len(image.sync()["access"]["secrets"]) == 1000
    assert not validate(image.parent)


KNOWN = st.sampled_from(
    [upstream(DIGEST), upstream(OTHER), upstream(None), ImageFacts(Known(Proof(PRIVATE)), Known(THIRD))]
)


@given(KNOWN, st.lists(st.sampled_from([NOTHING, ImageFacts(), None]), max_size=6), st.sampled_from(["Sync", "Warn"]))
def test_facts_that_flap_change_nothing(known: ImageFacts, flaps: list[ImageFacts | None], mode: str) -> None:
    image = cached(refresh={"mode": mode})
    image.facts = known
    before = image.sync()
    for facts in flaps:
        image.facts = known if facts is None else facts
        assert image.sync() == before


@given(st.lists(st.tuples(st.sampled_from([DIGEST, OTHER, THIRD, None, ""]), st.booleans()), max_size=12))
def test_whatever_is_told_the_image_stays_cached_and_the_status_is_one_the_server_takes(
    told: list[tuple[str | None, bool]],
) -> None:
    image = cached()
    for digest, fails in told:
        image.facts = NOTHING if digest == "" else upstream(digest)
        image.sync()
        if any("status" not in job for job in image.jobs.values()):
            if fails:
                image.fail()
            else:
                image.copied(digest or THIRD)
        status = image.sync()
        assert status["phase"] == "Cached"
        current = status["digest"]
        kept = [one["digest"] for one in status.get("previousDigests", [])]
        assert current not in kept
        assert len(kept) == len(set(kept))
        assert not validate(image.parent)
        image.wait(100)
