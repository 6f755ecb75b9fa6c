"""RBAC is what is used: nothing that kuik's service accounts ask for in all these tests is refused, no right is idle.

It looks back at the whole run: the API server notes what the accounts ask for.
"""

import json
import re
from pathlib import Path

import pytest

from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.rig.rights import RBAC, Request, Right, asked, given, unused

REFUSED_ON_PURPOSE = {
    ("kuik-copy", "patch", "jobs.batch", "default"),
    ("kuik-shield", "get", "secrets", "pulls"),
}
"""What tests ask for to see it refused."""
_EVENTS = "Events say which workload they are about."
_LOOK = "The last look before anything expires;"
_DEMAND = "What uses images is looked at before one is removed on demand."
WORKLOADS = ("deployments.apps", "statefulsets.apps", "daemonsets.apps", "cronjobs.batch")
UNUSED: dict[Right, str] = {
    **{Right("kuik-hooks", "get", one): _EVENTS for one in (*WORKLOADS, "jobs.batch", "replicasets.apps", "pods")},
    **{Right("kuik-hooks", "list", one): _LOOK for one in WORKLOADS},
    **{Right("kuik-keeper", "list", one): _DEMAND for one in (*WORKLOADS, "pods", "cachepolicies.kuik.dev")},
    Right("kuik-keeper", "get", "cachedimages.kuik.dev"): _DEMAND,
    Right("kuik-hooks", "update", "secrets", "kuik-system", "kuik-admission-tls"): "only the certificate is renewed.",
}
"""Rights that a run may leave without use, with the words of rbac.yaml that give the reason."""
HERE = Path(__file__).parent


@pytest.fixture
def requests(installed: ControlPlane) -> list[Request]:
    return list(asked(installed.audit))


def test_nothing_was_refused(requests: list[Request]) -> None:
    refused = {one for one in requests if not one.allowed}
    kept = {one for one in refused if (one.account, one.verb, one.resource, one.namespace) not in REFUSED_ON_PURPOSE}
    assert kept == set()


def test_every_right_was_used(request: pytest.FixtureRequest, requests: list[Request]) -> None:
    ran = {Path(str(item.fspath)).name for item in request.session.items}
    if not ran >= {file.name for file in HERE.glob("test_*.py")}:
        return  # it takes all of the tests to use all rights
    text = re.sub(r"\s+#?\s*", " ", RBAC.read_text())
    assert set(UNUSED) <= set(given()), "a reason for a right that nobody has"
    assert all(reason in text for reason in UNUSED.values())
    assert set(unused(given(), requests)) <= set(UNUSED)


def test_a_right_without_use_is_found(tmp_path: Path) -> None:
    event = {
        "stage": "ResponseComplete",
        "verb": "get",
        "user": {"username": "system:serviceaccount:kuik-system:kuik-hooks"},
        "objectRef": {"resource": "secrets", "namespace": "kuik-system", "name": "kuik-token"},
        "annotations": {"authorization.k8s.io/decision": "allow"},
    }
    audit = tmp_path / "audit.log"
    audit.write_text(json.dumps(event))
    used = Right("kuik-hooks", "get", "secrets", "kuik-system", "kuik-token")
    others = [
        Right("kuik-hooks", "get", "secrets", "kuik-system", "kuik-capability"),
        Right("kuik-shield", "get", "secrets", "kuik-system", "kuik-token"),
        Right("kuik-hooks", "update", "secrets", "kuik-system", "kuik-token"),
    ]
    assert unused([used, *others], asked(audit)) == sorted(others)
