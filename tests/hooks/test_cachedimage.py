"""Stage 3 over time: attempts, backoff, and names that stay apart."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from hooks.facts import Context, JobSettings, Settings
from hooks.jobs import job_name
from hooks.messages import answer
from hooks.stages import STAGES
from kube.types import format_time
from tests.hooks import golden
from tests.hooks.world import NOW

STAGE = STAGES["cachedimage"]
DIGEST = "sha256:" + "ab" * 32
SETTINGS = Settings(job=JobSettings(image="kuik:9", source="http://shield:1", targets=("http://a:1", "http://b:1")))


class Image:
    """A CachedImage whose Jobs end as a test says, kept as an API server and Metacontroller would."""

    def __init__(self, **spec: Any) -> None:
        self.parent: dict[str, Any] = {
            "apiVersion": "kuik.dev/v1alpha1",
            "kind": "CachedImage",
            "metadata": {"name": "app-1", "generation": 1},
            "spec": {"image": "reg.example.com/app:1", **spec},
        }
        self.jobs: dict[str, dict[str, Any]] = {}
        self.now: datetime = NOW
        self.resync = 0.0

    def sync(self) -> dict[str, Any]:
        """One sync with its writes; returns the status."""
        request = golden.request(STAGE, self.parent, list(self.jobs.values()), [])
        said = answer(STAGE, request, Context(self.now, SETTINGS))
        desired = {job["metadata"]["name"]: job for job in said["children"]}
        self.jobs = {name: self.jobs.get(name) or self._new(job) for name, job in desired.items()}
        self.parent["status"] = said["status"]
        self.resync = said["resyncAfterSeconds"]
        status: dict[str, Any] = said["status"]
        return status

    def _new(self, job: dict[str, Any]) -> dict[str, Any]:
        return {**job, "metadata": {**job["metadata"], "creationTimestamp": format_time(self.now)}}

    def end(self, result: dict[str, Any] | None, condition: str = "Complete") -> None:
        """End the Job that runs."""
        (job,) = self.jobs.values()
        if result is not None:
            job["metadata"]["annotations"]["kuik.dev/result"] = json.dumps(result)
        time = format_time(self.now)
        job["status"] = {"conditions": [{"type": condition, "status": "True", "lastTransitionTime": time}]}

    def fail(self, reason: str = "Unreachable") -> None:
        self.end({"reason": reason, "message": "no"}, "Failed")

    def copied(self, digest: str = DIGEST) -> None:
        self.end({"digest": digest, "size": 1, "platforms": ["linux/amd64"]})

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


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
