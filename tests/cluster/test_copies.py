"""Copy Jobs on a real API server: Pod Security takes their pods."""

import copy
import json
from typing import Any

import pytest

from hooks.attempts import Attempt, Inputs
from hooks.facts import JobSettings
from hooks.jobs import copy_job
from tests.cluster.rig.api import Object, Refused
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.rig.workloads import namespace, service_account
from tests.rig.processes import wait_until

LEVELS = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}


def the_pod(plane: ControlPlane) -> Object:
    """The pod of a copy Job, as a Job controller makes it, for a namespace whose pods must be restricted."""
    settings = JobSettings(namespace="locked")
    job = copy_job({"metadata": {"name": "app"}}, "reg.example.com/app:1", 1, Inputs((), ()), settings)
    for obj in (namespace("locked", **LEVELS), service_account("locked", settings.service_account)):
        plane.kubectl("apply", "-f", "-", stdin=json.dumps(obj))
    stored = plane.api.request("POST", "apis/batch/v1/namespaces/locked/jobs?dryRun=All", dict(job))
    spec = stored["spec"]["template"]["spec"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "copy", "namespace": "locked"}, "spec": spec}


def make(plane: ControlPlane, pod: Object) -> Object:
    return plane.api.request("POST", "api/v1/namespaces/locked/pods?dryRun=All", pod)


def test_a_copy_job_runs_where_pods_must_be_restricted(installed: ControlPlane) -> None:
    pod = the_pod(installed)
    assert make(installed, pod)["spec"]["securityContext"]["runAsNonRoot"] is True
    loose: Any = copy.deepcopy(pod)
    del loose["spec"]["containers"][0]["securityContext"]
    with pytest.raises(Refused, match="restricted"):
        make(installed, loose)


def test_the_job_controller_tells_whether_a_copy_has_started(installed: ControlPlane) -> None:
    settings = JobSettings(namespace="starting")
    made = dict(copy_job({"metadata": {"name": "app"}}, "reg.example.com/app:1", 1, Inputs((), ()), settings))
    for obj in (namespace("starting"), service_account("starting", settings.service_account), made):
        installed.kubectl("apply", "-f", "-", stdin=json.dumps(obj))

    def job() -> Object:
        return installed.api.request("GET", installed.api.path(made))

    assert Attempt.read(made).idle_since is None
    wait_until(lambda: Attempt.read(job()).idle_since is not None, "the Job has a pod that does not start", 20)
    pods = installed.api.list("Pod", f"batch.kubernetes.io/job-name={made['metadata']['name']}")
    ready = {"type": "Ready", "status": "True"}
    installed.api.patch(pods[0], {"status": {"phase": "Running", "conditions": [ready]}}, "status")
    wait_until(lambda: Attempt.read(job()).idle_since is None, "the Job tells that its pod runs", 20)
    installed.kubectl("patch", "job", "-n", "starting", made["metadata"]["name"], "-p", '{"spec": {"suspend": true}}')
    wait_until(lambda: Attempt.read(job()).idle_since is not None, "the Job tells that it is suspended", 20)
    installed.kubectl("delete", "namespace", "starting", "--wait=false")
