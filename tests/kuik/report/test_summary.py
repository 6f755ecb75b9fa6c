"""How the report adds up what hooks/risk.py tells of each image."""

from typing import Any

from kuik.report.summary import report, saved_words, uses_of


def cached_image(image: str, *users: str, reason: str = "", **more: Any) -> dict[str, Any]:
    cached = {"type": "Cached", "status": "False" if reason else "True", "reason": reason or "Copied", "message": "so"}
    status = {"phase": "Failed" if reason else "Cached", "size": 100, "conditions": [cached, *more.values()]}
    return {"metadata": {"name": image}, "spec": {"image": image, "usedBy": list(users)}, "status": status}


GONE = {"type": "UpToDate", "status": "False", "reason": "Gone", "message": "upstream has no such tag any more"}


def test_the_gravest_come_first_and_what_is_not_seen_yet_counts() -> None:
    images = [
        cached_image("gone", "ns/Pod/a", "ns/Pod/b", gone=GONE),
        cached_image("well", "ns/Pod/a"),
        cached_image("bad", "ns/Pod/c", reason="NotFound"),
        cached_image("unused", reason="NotFound"),
    ]
    entry = {"image": "left", "decision": "Ignore", "rule": "PodLabel", "usedBy": ["Pod/e"]}
    inventory = {"spec": {"namespace": "ns", "images": [entry]}}
    made = report(images, {**uses_of(images), "new": ["ns/Pod/a", "ns/Pod/d", "CachePolicy/x"]}, [inventory])
    assert [(one.workload, one.reason, one.served) for one in made.risks] == [
        ("ns/Pod/c", "NotFound", False),
        ("ns/Pod/a", "NotSeenYet", False),
        ("ns/Pod/d", "NotSeenYet", False),
        ("ns/Pod/a", "GoneUpstream", True),
        ("ns/Pod/b", "GoneUpstream", True),
    ]
    assert (made.images, made.cached, made.failed, made.bytes) == (4, 2, 2, 200)
    assert made.workloads_at_risk == 4
    assert [(one.workload, one.message) for one in made.left_alone] == [("ns/Pod/e", "PodLabel")]


def test_what_was_saved_is_told_as_the_status_says_it() -> None:
    saved = {"bytes": 3_400_000_000, "pulls": 120, "since": "2026-03-01T10:00:00Z", "at": "2026-03-02T10:00:00Z"}
    made = report([], {}, saved=saved)
    assert made.document()["saved"] == saved
    assert saved_words(saved) == "upstream was spared 3.4 GB and 120 pulls since 2026-03-01T10:00:00Z"
    assert report([], {}).document()["saved"] is None
    assert "is not known" in saved_words(None)
