"""The way out: one image, and all of kuik."""

from tests.cluster.rig.workloads import deployment
from tests.e2e.rig.images import runnable
from tests.e2e.rig.install import Installed, image_of, proxied
from tests.e2e.rig.readme import Command, page, parts
from tests.e2e.rig.workload import Workloads
from tests.rig.processes import wait_until


def test_an_image_is_removed(kuik: Installed, pods: Workloads) -> None:
    """`kuik cache remove` refuses an image in use; once nothing uses it, it is gone from the registry and the list."""
    kuik.cluster.upstreams["docker.io"].push(runnable("goes"), "library/goes", "1")
    pods.run("goes", "goes:1")
    pods.ready("goes")
    kuik.cached("docker.io/library/goes:1")
    assert "docker.io/library/goes:1" in kuik.command("cache", "list")
    refused = kuik.try_command("cache", "remove", "goes:1")
    assert refused.returncode == 1
    assert "Pod/goes" in refused.stderr
    pods.delete("goes")
    wait_until(lambda: kuik.try_command("cache", "remove", "goes:1", "--wait").returncode == 0, "it is removed", 60)
    assert "docker.io/library/goes:1" not in kuik.command("cache", "list")


def test_kuik_is_uninstalled(kuik: Installed, pods: Workloads) -> None:
    """The way out as README tells it: mode Off, `kuik pods revert --evict`, `helm uninstall`; nothing is in the way."""
    kuik.cluster.upstreams["docker.io"].push(runnable("stays"), "library/stays", "1")
    pods.create(deployment("default", "stays", "stays:1", terminationGracePeriodSeconds=1))
    kuik.kubectl("rollout", "status", "deployment/stays", "--timeout=45s")
    assert {image_of(one) for one in pods.labelled("app=stays")} == {proxied("stays:1")}
    running: dict[str, tuple[str, int]] = {}
    for step in parts(page())["leave"]:
        assert isinstance(step, Command), step
        if "helm uninstall" in step.typed:
            running = pods.running()
        kuik.shell().type(step)
    assert running
    assert not kuik.get("mutatingwebhookconfigurations")
    assert {image_of(one) for one in pods.labelled("app=stays")} == {"stays:1"}
    assert running.items() <= pods.running().items(), "nothing was restarted"
    kuik.kubectl("delete", "deployment", "stays")
