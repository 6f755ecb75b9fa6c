"""The shield's rights on a real API server, and what it does with them: exactly the pull secrets in use, by name."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hooks.facts import PRIVATE, ImageFacts, JobSettings, Known, Proof
from hooks.pull_roles import pull_roles
from hooks.shield import Shield as Facts
from registry.proxied import host_to_segment
from registry.reference import Reference
from tests.cluster.rig.api import Object
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.test_rights import NAMESPACE, account, allowed
from tests.rig.components import TOKEN, Component, shield
from tests.rig.images import image
from tests.rig.manifests import pull_secret
from tests.rig.processes import wait_until
from tests.rig.upstream import Upstream

BUILT = image("own")
TEAM = "pulls"
ALLOWED = {"regcred"}


def apply(plane: ControlPlane, *objects: Object) -> None:
    for obj in objects:
        plane.kubectl("apply", "-f", "-", stdin=json.dumps(obj))


def roles(plane: ControlPlane, *secrets: str) -> None:
    """What stage 2 makes for these secrets of the namespace."""
    namespaces = {TEAM: {"metadata": {"name": TEAM}}}
    apply(plane, *(dict(one) for one in pull_roles([(TEAM, name) for name in secrets], namespaces, JobSettings())))


@pytest.fixture(scope="module")
def team(installed: ControlPlane) -> ControlPlane:
    """A namespace with two secrets, of which one is in use."""
    apply(installed, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}})
    for name in ("regcred", "other"):
        apply(installed, pull_secret(name, "reg.example.com", "alice", "s3cret-enough", TEAM))
    roles(installed, *ALLOWED)
    return installed


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (("watch", "cachedimages.kuik.dev"), True),
        (("list", "cachedimages.kuik.dev"), True),
        (("watch", "imagecaches.kuik.dev"), True),
        (("get", "secrets/regcred", "-n", TEAM), True),
        (("get", "secrets/other", "-n", TEAM), False),
        (("list", "secrets", "-n", TEAM), False),
        (("watch", "secrets", "-n", TEAM), False),
        (("update", "secrets/regcred", "-n", TEAM), False),
        (("get", "secrets/regcred", "-n", "default"), False),
        (("list", "secrets", "-A"), False),
        (("get", "secrets/kuik-token", "-n", NAMESPACE), False),
        (("get", "secrets/kuik-capability", "-n", NAMESPACE), False),
        (("patch", "cachedimages.kuik.dev"), False),
        (("patch", "cachedimages.kuik.dev", "--subresource=status"), False),
        (("list", "pods", "-A"), False),
        (("*", "*", "-A"), False),
    ],
)
def test_what_the_shield_may_do(team: ControlPlane, question: tuple[str, ...], expected: bool) -> None:
    assert allowed(team, "kuik-shield", *question) is expected


@pytest.fixture
def running(team: ControlPlane, private_upstream: Upstream, tmp_path: Path) -> Iterator[Component]:
    """A shield with its own account's rights, before a private registry."""
    kubeconfig = str(account(team, "kuik-shield"))
    options = ["--plain-http", private_upstream.host, "--kubeconfig", kubeconfig, "--freshness", "0"]
    component = shield(tmp_path / "shield", *options).start()
    yield component
    component.stop()


def cached_image(name: str, reference: Reference, *secrets: str) -> Object:
    used = [{"namespace": TEAM, "secret": secret} for secret in secrets]
    spec = {"image": str(reference), "pullSecrets": used, "suspend": True}
    return {"apiVersion": "kuik.dev/v1alpha1", "kind": "CachedImage", "metadata": {"name": name}, "spec": spec}


def read(running: Component, reference: Reference) -> tuple[int, str]:
    path = f"/v2/private/{host_to_segment(reference.host)}/{reference.repository}/manifests/{reference.target}"
    reply = running.get(path, {"Authorization": f"Bearer {TOKEN}"})
    return reply.status, reply.body.decode("utf-8", "replace")


def facts(running: Component, reference: Reference) -> ImageFacts:
    return Facts(running.url, TOKEN, timeout=2).facts(str(reference))


def test_a_private_image_is_opened_as_its_secret_its_role_and_its_use_allow(
    team: ControlPlane, running: Component, private_upstream: Upstream
) -> None:
    own = Reference.parse(private_upstream.push(BUILT, "team/own", "1"))
    assert read(running, own)[0] == 401, "nobody uses it"
    apply(team, pull_secret("regcred", own.host, "alice", "a-wrong-password", TEAM))
    apply(team, cached_image("own", own, "regcred", "other", "gone"))
    wait_until(
        lambda: "team/own" in read(running, own)[1] and f"{TEAM}/gone" in read(running, own)[1], "it is told", 20
    )
    status, said = read(running, own)
    assert status == 401
    assert f"Secret {TEAM}/other cannot be read by kuik (403)" in said
    # The Role names what is in use; that there is no such Secret is only told to who may get it.
    roles(team, "regcred", "other", "gone")
    wait_until(lambda: f"Secret {TEAM}/gone does not exist" in read(running, own)[1], "it may ask now", 40)
    apply(team, pull_secret("regcred", own.host, "alice", "s3cret-enough", TEAM))
    wait_until(lambda: read(running, own)[0] == 200, "the changed secret is used", 30)
    opened = Known(Proof(PRIVATE, frozenset({(TEAM, "regcred")})))
    wait_until(lambda: facts(running, own).access == opened, "the secret is proven", 40)
    apply(team, cached_image("own", own, "other"))
    wait_until(lambda: facts(running, own).access == Known(Proof(PRIVATE)), "the proof goes with the use", 40)
    team.kubectl("delete", "cachedimage", "own")
    wait_until(lambda: read(running, own)[0] == 401, "nobody uses it any more", 20)
    said = running.log.read_text()
    assert not [one for one in ("s3cret-enough", "a-wrong-password") if one in said]
