"""A small size of `make scale`: every image gets its CachedImage and its copy, and churn writes nothing."""

from pathlib import Path

import pytest

from tests.cluster.rig import metacontroller
from tests.cluster.scale.drivers import Loop, Metacontroller
from tests.cluster.scale.run import Scale
from tests.cluster.scale.setting import started
from tests.cluster.scale.world import Size


@pytest.mark.timeout(300)
def test_churn_writes_nothing(tmp_path: Path) -> None:
    size = Size(namespaces=8, pods=60, images=20)
    with started(tmp_path) as (plane, hooks):
        real = metacontroller.binary() is not None
        caller = Metacontroller(plane, hooks) if real else Loop(plane, hooks)
        scale = Scale(plane, hooks, caller, size, print, patience=90, quiet=2)
        phases = {phase.name: phase for phase in scale.run()}
    made = phases["making the cluster"].writes + phases["all CachedImages, from the last pod on"].writes
    copied = phases["all copied, and at rest"].writes
    assert (made + copied)["imageinventories"] >= size.namespaces
    assert (made + copied)["jobs"] >= size.images
    assert not [f"{phase.name}: {broken}" for phase in phases.values() for broken in phase.broken]
    for name in ("restarts", "rescheduling", "replica counts", "CronJob runs", "failing pulls", "stuck pulls"):
        assert phases[name].calls["inventory"].calls, f"{name} was not noticed at all"
