"""What counts as a risk, and how the report adds it up."""

from typing import Any

from kuik.report.risk import risks, uses_of, why_at_risk
from kuik.report.summary import report

DIGEST = "sha256:" + "0" * 64


def cached_image(image: str, *users: str, cached: bool = True, **status: Any) -> dict[str, Any]:
    conditions = [{"type": "Cached", "status": "True" if cached else "False", "reason": "Copied", "message": ""}]
    conditions += status.pop("conditions", [])
    said = {
        "phase": "Cached" if cached else "Failed",
        "digest": DIGEST,
        "size": 100,
        **status,
        "conditions": conditions,
    }
    return {"metadata": {"name": image}, "spec": {"image": image, "usedBy": list(users)}, "status": said}


def replica(volume: str, state: str) -> dict[str, str]:
    return {"volume": volume, "state": state, "digest": DIGEST, "at": "2026-01-01T00:00:00Z"}


GONE = {"type": "UpToDate", "status": "False", "reason": "Gone", "message": "upstream has no such tag any more"}


def test_reasons() -> None:
    assert why_at_risk(cached_image("a")) is None
    assert why_at_risk(None) == ("NotSeenYet", "kuik has not taken the image up yet")
    failed = cached_image("a", cached=False, reason="Unauthorized", message="the registry refuses")
    assert why_at_risk(failed) == ("Unauthorized", "the registry refuses")
    assert why_at_risk({"spec": {"image": "a"}}) == ("Pending", "it is not copied yet")
    damaged = cached_image("a", replicas=[replica("v0", "Whole"), replica("v1", "Damaged")])
    assert why_at_risk(damaged) == ("Damaged", "v1: Damaged")
    assert why_at_risk(cached_image("a", replicas=[replica("v0", "Whole"), replica("v1", "Unknown")])) is None
    assert why_at_risk(cached_image("a", conditions=[GONE])) == ("GoneUpstream", "upstream has no such tag any more")


def test_the_gravest_come_first_and_are_told_by_workload() -> None:
    images = [
        cached_image("gone", "ns/Pod/a", "ns/Pod/b", conditions=[GONE]),
        cached_image("well", "ns/Pod/a"),
        cached_image("bad", "ns/Pod/c", cached=False, reason="NotFound", message="no such image"),
        cached_image("unused", cached=False, reason="NotFound", message="no such image"),
    ]
    found = risks({**uses_of(images), "new": ["ns/Pod/d"]}, images)
    assert [(one.workload, one.reason, one.served) for one in found] == [
        ("ns/Pod/c", "NotFound", False),
        ("ns/Pod/d", "NotSeenYet", False),
        ("ns/Pod/a", "GoneUpstream", True),
        ("ns/Pod/b", "GoneUpstream", True),
    ]
    made = report(images, uses_of(images), ["z", "y"])
    assert (made.images, made.cached, made.failed, made.bytes) == (4, 2, 2, 200)
    assert (made.workloads, made.at_risk, made.left_alone) == (3, 3, ("y", "z"))
