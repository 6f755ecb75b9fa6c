"""`docs/e2e.md`: what was tried on a real node, written by the run."""

from collections.abc import Iterable
from dataclasses import dataclass

_HEAD = """\
# What was tried on a real node

Written by the run itself (`make e2e`). A cluster on one machine: etcd, kube-apiserver, controller-manager, scheduler,
CoreDNS, and nodes with kubelet, containerd 2.1 and kube-proxy, each in a network namespace of its own; our image, built
by the Dockerfile; upstream registries with TLS. What each scenario rests on is what kubelet, containerd, the kernel or
an upstream registry saw, never a line of our own logs. Requests are all those that upstream registries were asked
meanwhile, by kubelet, by kuik, and by the test that pushes its images.

Stages are called by {caller}. Our image has {image}.

| scenario | outcome | seconds | upstream requests |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Told:
    """A scenario that was run: its first line, what came of it, and at what cost."""

    story: str
    outcome: str
    seconds: float
    requests: int


def page(scenarios: Iterable[Told], caller: str, image: str) -> str:
    """The page of a run; `caller` calls the stages, `image` says how large ours is."""
    rows = "".join(f"| {one.story} | {one.outcome} | {one.seconds:.0f} | {one.requests} |\n" for one in scenarios)
    return _HEAD.format(caller=caller, image=image) + rows
