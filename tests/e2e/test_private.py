"""A private image: for the namespace that may pull it, and for nobody else."""

from typing import Any

from tests.e2e.rig.cluster import PASSWORD, PRIVATE, USER
from tests.e2e.rig.images import runnable
from tests.e2e.rig.install import Installed
from tests.e2e.rig.workload import Workloads

_IMAGE = f"{PRIVATE}/team/secret:1"
_SECRET: dict[str, Any] = {"imagePullSecrets": [{"name": "pull"}]}


def test_a_private_image_is_for_those_who_may_pull_it(kuik: Installed) -> None:
    """A private image is cached by its namespace's secret, starts there while upstream is dead, and nowhere else."""
    upstream = kuik.cluster.upstreams[PRIVATE]
    upstream.push(runnable("secret"), "team/secret", "1")
    team, others = Workloads(kuik.cluster.plane, "team"), Workloads(kuik.cluster.plane, "others")
    for namespace in (team, others):
        kuik.kubectl("create", "namespace", namespace.namespace)
    account = (f"--docker-server={PRIVATE}", f"--docker-username={USER}", f"--docker-password={PASSWORD}")
    kuik.kubectl("create", "secret", "docker-registry", "pull", "-n", "team", *account)
    team.run("first", _IMAGE, node="node-1", **_SECRET)
    team.ready("first")
    kuik.cached(_IMAGE)
    kuik.proven(_IMAGE)
    kuik.node(2)  # which never had the image
    # Without the secret, as without kuik: the registry refuses.
    others.run("stranger", _IMAGE, node="node-2")
    others.wait_in_vain("stranger")
    assert others.image("stranger") == _IMAGE
    # Nor by the name that kuik's own copies have.
    others.run("guess", f"localhost:7439/{_IMAGE}", node="node-2")
    others.wait_in_vain("guess")
    upstream.stop()
    try:
        team.run("again", _IMAGE, node="node-2", **_SECRET)
        team.ready("again")
        assert team.image("again").startswith("localhost:7439/private/")
    finally:
        upstream.start()
    for namespace in (team, others):
        kuik.kubectl("delete", "namespace", namespace.namespace, "--wait=false")
