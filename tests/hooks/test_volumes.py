"""Stage 3 and the keepers: what each says of its own volume, joined into how the image stands."""

import json
from typing import Any

import pytest

from hooks.facts import ImageFacts, JobSettings, Settings
from hooks.observe import settings_from
from hooks.removal import gone
from hooks.transitions import transitions
from kube.schema import validate
from kube.types import format_time
from tests.hooks import copying
from tests.hooks.copying import DIGEST, Image

OTHER = "sha256:" + "cd" * 32
TWO = ("kuik-registry-0", "kuik-registry-1")
BAD = ("Damaged", "Missing", "Healing", "Removed")


@pytest.fixture(autouse=True)
def _two_volumes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "SETTINGS", Settings(job=JobSettings(image="kuik:9"), volumes=TWO))


def cached(**spec: Any) -> Image:
    image = Image(**spec)
    image.sync()
    image.copied()
    image.sync()
    image.sync()
    assert not image.jobs
    return image


def says(
    image: Image, volume: int, state: str, *, digest: str = DIGEST, verified: bool = False, beside: bool = False
) -> None:
    """A keeper's report, at a moment of its own."""
    image.wait(1)
    at = format_time(image.now)
    report = {"at": at, "digest": digest, "state": state, **({"verified": at} if verified else {})}
    report |= {"beside": "Lost"} if beside else {}
    notes = image.parent["metadata"].setdefault("annotations", {})
    notes[f"volume.kuik.dev/{TWO[volume]}"] = json.dumps(report)


def condition(image: Image, name: str) -> tuple[str, str]:
    found = [one for one in image.parent["status"]["conditions"] if one["type"] == name]
    return (found[0]["status"], found[0]["reason"]) if found else ("", "")


def states(image: Image) -> list[str]:
    return [one["state"] for one in image.parent["status"].get("replicas", ())]


def at_rest(image: Image) -> None:
    """One more sync changes nothing, and what is written fits the schema."""
    before = image.sync()
    assert image.sync() == before
    assert validate(image.parent) == ()


def test_an_image_is_cached_while_one_volume_holds_it_and_verified_when_all_do() -> None:
    image = cached()
    assert states(image) == [], "no keeper has spoken"
    says(image, 0, "Whole", verified=True)
    first = format_time(image.now)
    image.sync()
    assert states(image) == ["Whole", "Unknown"]
    assert condition(image, "Verified") == ("Unknown", "NotVerifiedYet")
    says(image, 1, "Whole", verified=True)
    image.sync()
    assert condition(image, "Verified") == ("True", "Verified")
    assert image.parent["status"]["verifiedAt"] == first, "the oldest counts"
    for bad in BAD:
        says(image, 1, bad)
        image.sync()
        assert condition(image, "Cached") == ("True", "Copied"), bad
        assert condition(image, "Verified")[0] == ("False" if bad in ("Damaged", "Healing") else "Unknown")
        assert not image.jobs, "the keeper fills it from its sibling"
        at_rest(image)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (("Damaged", "Missing"), "Corrupt"),
        (("Healing", "Healing"), "Corrupt"),
        (("Missing", "Missing"), "Missing"),
        (("Removed", "Missing"), "Missing"),
        (("Removed", "Removed"), "Removed"),
    ],
)
def test_what_no_volume_holds_is_copied_again_at_once_and_the_same_reports_count_once(
    found: tuple[str, str], reason: str
) -> None:
    image = cached(usedBy=["a/Pod/x"], users=1)
    for volume, state in enumerate(found):
        says(image, volume, state)
    status = image.sync()
    assert condition(image, "Cached") == ("False", reason)
    assert (status["phase"], list(image.jobs)) == ("Copying", ["copy-app-1-2"])
    image.sync()
    image.copied()
    image.sync()
    assert condition(image, "Cached") == ("True", "Copied")
    assert states(image) == ["Unknown", "Unknown"]
    image.sync()
    assert not image.jobs
    at_rest(image)
    says(image, 0, "Missing")
    says(image, 1, "Missing")
    image.sync()
    assert list(image.jobs) == ["copy-app-1-3"], "a new report is acted on"


def test_a_volume_that_healed_itself_makes_the_image_cached_again() -> None:
    image = cached()
    says(image, 0, "Damaged")
    says(image, 1, "Damaged")
    image.sync()
    image.fail("NotFound")
    image.sync()
    assert condition(image, "Cached")[0] == "False"
    says(image, 1, "Whole", verified=True)
    status = image.sync()
    assert condition(image, "Cached") == ("True", "Copied")
    assert "reason" not in status
    image.wait(3600)
    image.sync()
    assert not image.jobs
    at_rest(image)


def test_what_is_made_again_and_still_there_is_cached_at_once_though_upstream_has_it_no_more() -> None:
    """`kubectl delete ci` of an image in use: the new object has no status, and the registry still holds the image."""
    image = Image()
    says(image, 1, "Whole")
    status = image.sync()
    assert condition(image, "Cached") == ("True", "Copied")
    assert (status["digest"], status["phase"]) == (DIGEST, "Cached")
    assert len(image.jobs) == 1, "a copy still finds out what there is of it"
    image.fail("NotFound")
    status = image.sync()
    assert (condition(image, "Cached")[0], status["reason"]) == ("True", "NotFound")
    at_rest(image)
    image.wait(3600)
    image.sync()
    image.copied(OTHER)
    status = image.sync()
    assert (status["digest"], status["previousDigests"][0]["digest"]) == (OTHER, DIGEST)


def test_what_a_keeper_says_of_another_digest_is_about_another_image() -> None:
    image = cached()
    for volume in (0, 1):
        says(image, volume, "Missing", digest=OTHER)
    image.sync()
    assert condition(image, "Cached") == ("True", "Copied")
    assert states(image) == ["Unknown", "Unknown"]
    assert not image.jobs
    at_rest(image)


def test_a_volume_that_the_cluster_no_longer_has_does_not_count() -> None:
    image = cached(usedBy=["a/Pod/x"], users=1)
    image.parent["metadata"]["annotations"] = {
        "volume.kuik.dev/kuik-registry-9": json.dumps(
            {"at": "2026-03-01T13:00:00Z", "digest": DIGEST, "state": "Whole"}
        )
    }
    image.sync()
    assert states(image) == []
    for volume in (0, 1):
        says(image, volume, "Missing")
    image.sync()
    assert condition(image, "Cached") == ("False", "Missing")


def test_a_volume_that_the_copy_did_not_reach_is_missing_until_its_keeper_speaks() -> None:
    image = Image()
    image.sync()
    volumes = {"kuik-registry-0.kuik-registry:5000": "ok", "kuik-registry-1.kuik-registry:5000": "Unreachable"}
    image.end({"digest": DIGEST, "size": 1, "platforms": [], "volumes": volumes})
    image.sync()
    assert condition(image, "Cached") == ("True", "Copied")
    assert states(image) == ["Unknown", "Missing"]
    at_rest(image)
    assert states(image) == ["Unknown", "Missing"]
    says(image, 0, "Missing")
    image.sync()
    assert condition(image, "Cached") == ("False", "Missing"), "the other one never had it"
    says(image, 1, "Whole")
    image.sync()
    assert states(image) == ["Missing", "Whole"]
    assert condition(image, "Cached") == ("True", "Copied")


def test_a_report_of_an_older_keeper_still_counts_where_no_volume_speaks() -> None:
    image = cached()
    old = {"at": "2026-03-01T13:00:00Z", "ok": True, "digest": DIGEST}
    image.parent["metadata"]["annotations"] = {"kuik.dev/verified": json.dumps(old)}
    image.sync()
    assert condition(image, "Verified") == ("True", "Verified")
    says(image, 0, "Damaged")
    image.sync()
    assert condition(image, "Verified") == ("False", "Damaged")
    at_rest(image)


def test_what_is_on_its_way_out_is_not_copied_again_until_it_is_used() -> None:
    for change in ({"spec": {"remove": "Evicted"}}, {"annotations": {"kuik.dev/remove": "true"}}):
        image = cached(usedBy=[], users=0)
        image.parent["spec"].update(change.get("spec", {}))
        image.parent["metadata"]["annotations"] = dict(change.get("annotations", {}))
        says(image, 0, "Removed")
        says(image, 1, "Removed")
        image.sync()
        assert condition(image, "Cached") == ("False", "Removed")
        assert not image.jobs
        at_rest(image)
        image.parent["spec"].update(usedBy=["a/Pod/x"], users=1)
        image.sync()
        assert len(image.jobs) == 1, "used again"


def test_what_people_retain_does_not_leave() -> None:
    image = cached(usedBy=[], users=0, retain=True)
    image.parent["metadata"]["annotations"] = {"kuik.dev/remove": "true"}
    says(image, 0, "Removed")
    says(image, 1, "Removed")
    image.sync()
    assert len(image.jobs) == 1


def test_an_image_over_quota_says_so_and_one_that_is_cached_stays() -> None:
    hold = {"reason": "OverQuota", "message": "shop has 6.0 GiB of 5.0 GiB"}
    image = Image(suspend=True, hold=hold)
    status = image.sync()
    assert (condition(image, "Cached"), status["phase"]) == (("False", "OverQuota"), "Pending")
    at_rest(image)
    assert not image.jobs
    image = cached()
    image.parent["spec"]["hold"] = hold
    image.sync()
    assert condition(image, "Cached") == ("True", "Copied")


def test_volumes_change_with_events_each_once() -> None:
    image = cached()

    def heard() -> list[str]:
        before = json.loads(json.dumps(image.parent))
        image.sync()
        said = transitions(before, image.parent["status"])
        assert len({one.name for one in said}) == len(said)
        assert not transitions(image.parent, image.sync())
        return sorted(one.reason for one in said)

    says(image, 0, "Whole", verified=True)
    says(image, 1, "Whole", verified=True)
    assert heard() == ["Verified"]
    says(image, 1, "Damaged")
    assert heard() == ["Damaged"]
    says(image, 1, "Healing")
    assert heard() == []
    says(image, 1, "Whole", verified=True)
    assert heard() == ["Healed", "Verified"]
    says(image, 1, "Whole", verified=True)
    assert heard() == [], "a proof that is renewed is no news"
    image.parent["spec"]["remove"] = "Evicted"
    says(image, 0, "Removed")
    assert heard() == ["Evicted"]
    says(image, 1, "Missing")
    assert heard() == ["Lost", "Missing"]


@pytest.mark.parametrize(
    "report",
    [
        "{",
        "[1]",
        "[" * 10_000,
        "x" * 20_000,
        '{"at": "soon", "digest": "sha256:aa", "state": "Missing"}',
        '{"at": "2026-03-01T13:00:00Z", "digest": "", "state": "Missing"}',
        '{"at": "2026-03-01T13:00:00Z", "digest": 7, "state": "Missing"}',
        '{"at": "2026-03-01T13:00:00Z", "digest": "sha256:aa", "state": ["Missing"]}',
        '{"at": "2026-03-01T13:00:00Z", "digest": "sha256:aa", "state": "Burnt"}',
    ],
)
def test_a_report_that_cannot_be_read_changes_nothing(report: str) -> None:
    image = cached()
    before = image.sync()
    image.parent["metadata"]["annotations"] = {f"volume.kuik.dev/{volume}": report for volume in TWO}
    assert image.sync() == before
    assert image.facts == ImageFacts()


def test_the_volumes_come_from_the_environment() -> None:
    assert settings_from({"KUIK_VOLUMES": "kuik-registry-0 kuik-registry-1"}).volumes == TWO


def test_what_was_never_copied_is_removed_once_every_volume_says_so() -> None:
    image = Image(usedBy=[], users=0)
    image.parent["metadata"]["annotations"] = {"kuik.dev/remove": "true"}
    assert image.sync()["phase"] == "Pending"
    assert not gone(image.parent)
    says(image, 0, "Removed", digest="")
    image.sync()
    assert (states(image), gone(image.parent)) == (["Removed", "Unknown"], False)
    says(image, 1, "Removed", digest="")
    image.sync()
    assert (states(image), gone(image.parent)) == (["Removed", "Removed"], True)
    at_rest(image)
    image.parent["spec"].update(usedBy=["a/Pod/x"], users=1)
    image.sync()
    image.copied()
    image.sync()
    assert condition(image, "Cached") == ("True", "Copied")
    assert not gone(image.parent)


def test_what_was_attached_and_is_lost_is_copied_again_once_and_the_image_stays_cached() -> None:
    image = cached(referrers=True)
    assert image.parent["status"]["referrers"] is True
    says(image, 0, "Whole")
    says(image, 1, "Whole", beside=True)
    image.sync()
    assert len(image.jobs) == 1
    assert condition(image, "Cached") == ("True", "Copied")
    image.copied()
    image.sync()
    image.sync()
    assert not image.jobs, "each report counts once"
    assert image.parent["status"]["referrers"] is True
    at_rest(image)
