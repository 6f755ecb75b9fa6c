"""Stage 3 over time: attempts, backoff, and names that stay apart."""

import json
from datetime import timedelta
from typing import Any

import orjson
import pytest

from hooks.facts import ImageFacts, Known
from hooks.jobs import job_name
from kube.schema import validate
from kube.types import format_time
from tests.hooks.copying import DIGEST, Image


def test_backoff_doubles_from_30_seconds_to_30_minutes() -> None:
    image = Image()
    waits = []
    for attempt in range(1, 10):
        image.sync()
        assert list(image.jobs) == [f"copy-app-1-{attempt}"]
        image.fail()
        image.sync()
        waits.append(image.resync)
        image.wait(image.resync - 1)
        image.sync()
        assert list(image.jobs) == [f"copy-app-1-{attempt}"], "not a second too early"
        image.wait(1)
    assert waits == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]


def test_a_clock_that_is_set_back_does_not_make_a_retry_wait_for_it() -> None:
    image = Image()
    image.sync()
    image.fail()
    image.sync()
    image.wait(-300 * 86400)
    image.sync()
    assert list(image.jobs) == ["copy-app-1-2"]
    image.fail()
    image.sync()
    assert image.resync == 60, "what ended by the clock of today is waited for"


def test_success_ends_the_story_and_the_job_goes() -> None:
    image = Image()
    image.sync()
    image.copied()
    assert image.sync()["phase"] == "Cached"
    assert image.jobs
    before = image.sync()
    assert not image.jobs
    image.wait(10**6)
    assert image.sync() == before
    assert (image.jobs, image.resync) == ({}, 0.0)


def test_a_status_that_was_not_written_is_written_from_the_same_job() -> None:
    image = Image()
    image.sync()
    unwritten = dict(image.parent["status"])
    image.copied()
    image.sync()
    image.parent["status"] = unwritten
    assert image.sync()["digest"] == DIGEST


def test_damage_is_repaired_once_and_stays_usable_nowhere_meanwhile() -> None:
    image = Image()
    image.sync()
    image.copied()
    image.sync()
    image.sync()
    report = {"at": "2026-03-01T13:00:00Z", "ok": False, "digest": DIGEST, "message": "bytes differ"}
    image.parent["metadata"]["annotations"] = {"kuik.dev/verified": json.dumps(report)}
    status = image.sync()
    assert (status["phase"], status["conditions"][0]["status"]) == ("Copying", "False")
    assert list(image.jobs) == ["copy-app-1-2"]
    image.copied()
    image.sync()
    status = image.sync()
    assert (status["phase"], image.jobs) == ("Cached", {})
    image.sync()
    assert not image.jobs, "the same report counts once"


@pytest.mark.parametrize(
    "report", ["{", "[1]", '{"ok": false}', '{"at": "soon", "ok": false}', "[" * 10_000, "x" * 20_000]
)
def test_a_report_that_cannot_be_read_changes_nothing(report: str) -> None:
    image = Image()
    image.sync()
    image.copied()
    image.sync()
    before = image.sync()
    image.parent["metadata"]["annotations"] = {"kuik.dev/verified": report}
    assert image.sync() == before
    assert not image.jobs


def test_a_failed_refresh_is_tried_again_while_the_image_stays_usable() -> None:
    image = Image(platforms=["linux/amd64"])
    image.sync()
    image.copied()
    image.sync()
    image.sync()
    image.parent["spec"]["platforms"] = ["linux/amd64", "linux/arm64"]
    image.sync()
    image.fail()
    status = image.sync()
    assert (status["phase"], status["digest"], status["reason"]) == ("Cached", DIGEST, "Unreachable")
    image.wait(30)
    image.sync()
    assert list(image.jobs) == ["copy-app-1-3"]
    image.copied()
    status = image.sync()
    assert "reason" not in status
    image.sync()
    assert not image.jobs


def test_narrower_platforms_need_no_copy_and_all_platforms_do() -> None:
    image = Image(platforms=["linux/amd64", "linux/arm64"])
    image.sync()
    image.copied()
    image.sync()
    image.sync()
    image.parent["spec"]["platforms"] = ["linux/amd64"]
    image.sync()
    assert not image.jobs
    image.parent["spec"]["platforms"] = []
    image.sync()
    assert list(image.jobs) == ["copy-app-1-2"]


def test_the_job_says_what_to_copy_and_is_restricted() -> None:
    image = Image(platforms=["linux/arm64", "linux/amd64"])
    image.sync()
    (job,) = image.jobs.values()
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"] == [
        "kuik.copy_job",
        *("--image", "reg.example.com/app:1"),
        *("--platform", "linux/amd64", "--platform", "linux/arm64"),
        *("--source", "http://shield:1", "--target", "http://a:1", "--target", "http://b:1"),
        "--adopt",
    ]
    assert container["image"] == "kuik:9"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert job["spec"]["backoffLimit"] == 0


@pytest.mark.parametrize(("one", "other"), [("a" * 60 + "x", "a" * 60 + "y"), ("a.b", "a-b")])
def test_job_names_fit_a_label_and_differ(one: str, other: str) -> None:
    names = {job_name(one, 1), job_name(other, 1), job_name(one, 123456)}
    assert len(names) == 3
    assert all(len(name) <= 63 and "." not in name for name in names)


def test_a_suspended_image_waits_for_its_backoff_and_then_for_its_turn() -> None:
    image = Image(suspend=True)
    assert image.sync()["copy"] == "Wanted"
    assert not image.jobs
    image.parent["spec"]["suspend"] = False
    assert image.sync()["copy"] == "Running"
    image.parent["spec"]["suspend"] = True
    assert image.sync()["copy"] == "Running"
    assert image.jobs, "a copy that runs is not stopped"
    image.fail()
    assert image.sync()["copy"] == "Waiting"
    image.sync()
    assert image.resync == 30
    image.wait(image.resync)
    assert (image.sync()["copy"], image.jobs) == ("Wanted", {})
    image.parent["spec"]["suspend"] = False
    assert image.sync()["copy"] == "Running"
    assert list(image.jobs) == ["copy-app-1-2"]
    image.copied()
    assert "copy" not in image.sync()


def idle(image: Image, **status: Any) -> None:
    """The Job controller says that the Job began now, and that none of its pods runs."""
    (job,) = image.jobs.values()
    job["status"] = {"startTime": format_time(image.now), "active": 1, "ready": 0, **status}


def test_a_copy_whose_pod_does_not_start_hands_its_turn_on_and_takes_it_again_when_it_does() -> None:
    image = Image()
    assert (image.sync()["copy"], image.resync) == ("Running", 0)
    idle(image)
    assert (image.sync()["copy"], image.resync) == ("Running", 300)
    image.wait(299)
    assert (image.sync()["copy"], image.resync) == ("Running", 1)
    image.wait(1)
    stalled = image.sync()
    assert (stalled["copy"], stalled["phase"], image.resync) == ("Stalled", "Copying", 0)
    assert stalled["conditions"][0]["reason"] == "Stalled"
    image.wait(9999)
    assert image.sync() == stalled, "time alone says nothing more"
    assert image.jobs, "it may start at any moment"
    (job,) = image.jobs.values()
    job["status"]["ready"] = 1
    assert image.sync()["copy"] == "Running"
    image.copied()
    assert image.sync()["phase"] == "Cached"


@pytest.mark.parametrize("ready", [None, True, 1, 2, "0"])
def test_what_the_job_does_not_say_stalls_no_copy(ready: Any) -> None:
    image = Image()
    image.sync()
    idle(image, ready=ready)
    image.wait(9999)
    assert (image.sync()["copy"], image.resync) == ("Running", 0)


def test_a_copy_that_has_told_its_result_is_not_stalled() -> None:
    image = Image()
    image.sync()
    idle(image)
    (job,) = image.jobs.values()
    job["metadata"]["annotations"]["kuik.dev/result"] = "{}"
    image.wait(9999)
    assert image.sync()["copy"] == "Running"


def test_a_refresh_that_stalls_leaves_the_image_cached() -> None:
    image = Image(platforms=["linux/amd64"])
    image.sync()
    image.copied()
    image.sync()
    image.parent["spec"]["platforms"] = ["linux/arm64"]
    image.sync()
    image.sync()
    idle(image)
    image.wait(300)
    status = image.sync()
    assert (status["copy"], status["phase"]) == ("Stalled", "Cached")
    assert status["conditions"][0]["status"] == "True"


def _of_registry(message: Any = "no", platforms: Any = ("linux/amd64",), size: Any = 1) -> dict[str, Any]:
    return {"digest": DIGEST, "size": size, "platforms": list(platforms), "visibility": "Public", "message": message}


@pytest.mark.parametrize(
    "result",
    [
        {"reason": "Unreachable", "message": "the registry said \ud800"},
        {"reason": "\ud800", "message": "no"},
        _of_registry(platforms=["linux/" + "a" * 100]),
        _of_registry(platforms=["linux/\ud800", "linux/amd64"]),
        _of_registry(size=10**30),
    ],
)
def test_whatever_a_copy_found_upstream_the_status_is_one_that_the_api_server_takes(result: dict[str, Any]) -> None:
    image = Image()
    image.sync()
    image.end(result)
    status = image.sync()
    orjson.dumps(status)
    whole = {**image.parent, "metadata": {"name": "app-1"}, "status": status}
    assert validate(whole) == ()
    assert status["phase"] in ("Cached", "Failed")


def test_what_a_keeper_says_in_broken_text_can_be_written_too() -> None:
    image = Image()
    image.sync()
    image.copied()
    image.sync()
    report = {"at": "2026-03-01T13:00:00Z", "ok": False, "digest": DIGEST, "message": "\ud800"}
    image.parent["metadata"]["annotations"] = {"kuik.dev/verified": json.dumps(report)}
    status = image.sync()
    orjson.dumps(status)
    assert status["conditions"][0]["status"] == "False"


def test_a_retention_beyond_the_calendar_keeps_an_earlier_digest_as_long_as_there_are_dates() -> None:
    image = Image(retention="999999w")
    image.sync()
    image.copied()
    image.sync()
    image.sync()
    image.facts = ImageFacts(upstream=Known("sha256:" + "cd" * 32))
    image.sync()
    image.copied("sha256:" + "cd" * 32)
    (kept,) = image.sync()["previousDigests"]
    assert kept["until"].startswith("9999-")


def test_a_job_that_ended_in_the_future_costs_no_more_than_the_backoff() -> None:
    """As where a clock was wrong for a while."""
    image = Image()
    image.sync()
    image.now += timedelta(days=365)
    image.fail()
    image.now -= timedelta(days=365)
    image.sync()
    assert image.resync <= 30
    image.wait(30)
    image.sync()
    assert list(image.jobs) == ["copy-app-1-2"], "and not the same again and again"


@pytest.mark.parametrize("interval", ["999999w", "99999w"])
def test_no_resync_is_further_away_than_go_can_count(interval: str) -> None:
    image = Image(refresh={"mode": "Warn", "interval": interval})
    image.facts = ImageFacts(upstream=Known(DIGEST))
    image.sync()
    image.copied()
    image.sync()
    image.sync()
    assert 0 < image.resync < 2**63 / 10**9


def test_an_image_of_a_thousand_namespaces_has_a_job_that_the_api_server_takes() -> None:
    """Together with the annotation in which Metacontroller notes the whole of it: 256 KiB are taken."""
    secrets = [{"namespace": f"{number:063}", "secret": f"{number:0253}"} for number in range(1000)]
    image = Image(pullSecrets=secrets)
    image.sync()
    (job,) = image.jobs.values()
    assert len(json.dumps(json.dumps(job))) + len(json.dumps(job["metadata"]["annotations"])) < 256 * 1024
    image.fail("Unauthorized")
    image.sync()
    assert image.resync == 30
    image.parent["spec"]["pullSecrets"] = [*secrets[:-1], {"namespace": "z", "secret": "z"}]
    image.sync()
    assert list(image.jobs) == ["copy-app-1-2"], "another secret is worth an attempt at once"
