"""One CachedImage over time: its syncs, and its copy Jobs, which end as a test says."""

import json
from datetime import datetime, timedelta
from typing import Any

from hooks.facts import Context, ImageFacts, JobSettings, Settings
from hooks.messages import answer
from hooks.stages import STAGES
from kube.types import format_time
from tests.hooks import golden
from tests.hooks.world import NOW

STAGE = STAGES["cachedimage"]
DIGEST = "sha256:" + "ab" * 32
SETTINGS = Settings(job=JobSettings(image="kuik:9", sources=("http://shield:1",), targets=("http://a:1", "http://b:1")))


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
        self.facts = ImageFacts()

    def sync(self) -> dict[str, Any]:
        """One sync with its writes; returns the status."""
        request = golden.request(STAGE, self.parent, list(self.jobs.values()), [])
        said = answer(STAGE, request, Context(self.now, SETTINGS, image=self.facts))
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

    def copied(self, digest: str = DIGEST, visibility: str = "Public") -> None:
        self.end({"digest": digest, "size": 1, "platforms": ["linux/amd64"], "visibility": visibility})

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
