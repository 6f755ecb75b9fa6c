"""RBAC is what is used: nothing that kuik's service accounts ask for in all these tests is refused, no right is idle.

It looks back at the whole run: the API server notes what the accounts ask for.
"""

import json
from pathlib import Path

import pytest

from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.rig.rights import Request, Right, asked, given, unused

REFUSED_ON_PURPOSE = {
    ("kuik-copy", "patch", "jobs.batch", "default"),
    ("kuik-shield", "get", "secrets", "pulls"),
}
"""What tests ask for to see it refused."""
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
    assert unused(given(), requests) == []


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
