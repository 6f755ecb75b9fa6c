"""How the report adds up what hooks/risk.py tells of each image."""

from typing import Any

from kuik.report.summary import report, uses_of


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
