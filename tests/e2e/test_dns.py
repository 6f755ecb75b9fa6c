"""The cluster's DNS is dead: what could be pulled before can be pulled, as without kuik."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.rig.cluster import PASSWORD, PRIVATE, USER
from tests.e2e.rig.images import runnable
from tests.e2e.rig.install import NAMESPACE, Installed, proxied
from tests.e2e.rig.workload import Workloads
from tests.rig.processes import wait_until

_OURS = f"{PRIVATE}/team/nameless:1"
_SECRET: dict[str, Any] = {"imagePullSecrets": [{"name": "pull"}]}


@dataclass
class Cached:
    """Images that are in use and cached, and on no node any more."""

    kuik: Installed
    public: Workloads
    team: Workloads

    def start(self) -> None:
        """Pods of both images start while no registry is up, through the proxy."""
        points = self.kuik.points_pods_to_the_proxies
        wait_until(lambda: points("nameless:1"), "pods are pointed to the proxies", 90)
        upstreams = self.kuik.cluster.upstreams.values()
        for upstream in upstreams:
            upstream.stop()
        try:
            self.public.run("cached", "nameless:1", node="node-1")
            self.team.run("private", _OURS, node="node-1", **_SECRET)
            self.public.ready("cached", 90)
            self.team.ready("private", 90)
            assert self.public.image("cached") == proxied("nameless:1")
            assert self.team.image("private").startswith("localhost:7439/private/")
            self.public.delete("cached")
            self.team.delete("private")
        finally:
            for upstream in upstreams:
                upstream.start()
            self.kuik.cluster.nodes[1].remove_images("/nameless")


def resolves(name: str) -> bool:
    try:
        return bool(socket.getaddrinfo(name, None))
    except socket.gaierror:
        return False


@pytest.fixture(scope="module")
def cached(kuik: Installed) -> Iterator[Cached]:
    public, team = Workloads(kuik.cluster.plane), Workloads(kuik.cluster.plane, "nameless")
    kuik.cluster.upstreams["docker.io"].push(runnable("nameless"), "library/nameless", "1")
    kuik.cluster.upstreams[PRIVATE].push(runnable("nameless and private"), "team/nameless", "1")
    kuik.kubectl("create", "namespace", "nameless")
    account = (f"--docker-server={PRIVATE}", f"--docker-username={USER}", f"--docker-password={PASSWORD}")
    kuik.kubectl("create", "secret", "docker-registry", "pull", "-n", "nameless", *account)
    public.run("nameless", "nameless:1", node="node-1")
    team.run("nameless", _OURS, node="node-1", **_SECRET)
    for workloads in (public, team):
        workloads.ready("nameless")
    kuik.cached("docker.io/library/nameless:1")
    kuik.cached(_OURS)
    kuik.proven(_OURS)
    kuik.cluster.nodes[1].remove_images("/nameless")
    yield Cached(kuik, public, team)
    public.delete("nameless")
    kuik.kubectl("delete", "namespace", "nameless", "--wait=false")


@pytest.fixture(scope="module")
def no_dns(cached: Cached) -> Iterator[None]:
    hooks = f"kuik-hooks.{NAMESPACE}.svc.cluster.local"
    assert resolves(hooks)
    with cached.kuik.cluster.without_dns():
        wait_until(lambda: not resolves(hooks), "no Service is found by name", 60)
        yield
    cached.kuik.wait_until_ready()


def test_pods_start_while_the_cluster_s_dns_is_dead(no_dns: None, cached: Cached) -> None:
    """The cluster's DNS dead: new images start, and cached ones, public and private, with upstream dead too."""
    for number in (1, 2):
        cached.kuik.cluster.upstreams["docker.io"].push(runnable(f"new {number}"), f"library/unheard-{number}", "1")
    cached.public.run("new", "unheard-1:1", node="node-1")
    cached.public.ready("new", 90)
    cached.public.run("new-by-proxy", proxied("unheard-2:1"), node="node-1")
    cached.public.ready("new-by-proxy", 90)
    cached.public.delete("new", "new-by-proxy")
    cached.start()


def test_proxies_that_start_while_the_cluster_s_dns_is_dead_find_everybody(no_dns: None, cached: Cached) -> None:
    """Proxies, shields and registries start anew while the cluster's DNS is dead: images are served as before."""
    cached.kuik.restart("proxy", "shield", "registry")
    cached.start()
    cached.kuik.cluster.upstreams["docker.io"].push(runnable("newer"), "library/unheard-3", "1")
    cached.public.run("newer", proxied("unheard-3:1"), node="node-1")
    cached.public.ready("newer", 90)
    cached.public.delete("newer")
