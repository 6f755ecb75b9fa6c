"""The way out: one image, and all of kuik."""

from tests.cluster.rig.workloads import deployment
from tests.e2e.rig.images import runnable
from tests.e2e.rig.install import NAMESPACE, Installed, image_of, proxied
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
    """The way out: mode Off, `kuik pods revert --evict`, then `helm uninstall` leaves nothing in the way."""
    kuik.cluster.upstreams["docker.io"].push(runnable("stays"), "library/stays", "1")
    pods.create(deployment("default", "stays", "stays:1", terminationGracePeriodSeconds=1))
    kuik.kubectl("rollout", "status", "deployment/stays", "--timeout=45s")
    assert {image_of(one) for one in pods.labelled("app=stays")} == {proxied("stays:1")}
    kuik.kubectl("patch", "imagecache", "default", "--type=merge", "-p", '{"spec":{"mode":"Off"}}')
    wait_until(lambda: not kuik.get("mutatingwebhookconfigurations"), "no webhook is registered", 30)
    kuik.command("pods", "revert", "--evict")
    running = pods.running()
    kuik.cluster.helm("uninstall", "kuik", "-n", NAMESPACE, "--wait", "--timeout=90s")
    assert not kuik.get("mutatingwebhookconfigurations")
    assert {image_of(one) for one in pods.labelled("app=stays")} == {"stays:1"}
    assert running.items() <= pods.running().items(), "nothing was restarted"
    kuik.kubectl("delete", "deployment", "stays")
