"""A pull that outlasts the patience of a proxy that leaves: containerd goes on at the one that took its place."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.dataplane.rig.containerd import VERSIONS, Containerd
from tests.rig.components import Component, proxy
from tests.rig.faulty import Relay, trickle
from tests.rig.images import image
from tests.rig.processes import wait_until
from tests.rig.upstream import Upstream

pytestmark = [
    pytest.mark.needs("containerd", "docker-registry"),
    pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="containerd needs root"),
]


@pytest.fixture(params=VERSIONS)
def containerd(request: pytest.FixtureRequest) -> Iterator[Containerd]:
    with Containerd(request.param) as found:
        yield found


def test_a_pull_outlasts_the_drain_of_its_proxy(tmp_path: Path, upstream: Upstream, containerd: Containerd) -> None:
    built, hurry = image("long", layers=1, layer_size=4 << 20), threading.Event()
    upstream.push(built, "team/long", "1")
    with Relay(upstream.host) as slow, ThreadPoolExecutor(1) as pool:
        slow.rule(trickle(hurry, 4096, 0.1), method="GET", path="/blobs/", times=None)
        options = ("--plain-http", slow.host, "--drain", "2")
        old = _ready(proxy(tmp_path / "old", *options))
        pulling = pool.submit(containerd.try_pull, old.image(f"{slow.host}/team/long:1"), "--plain-http")
        try:
            wait_until(lambda: slow.count("GET", "/blobs/") >= len(built.blobs), "all blobs are asked for")
            new = proxy(tmp_path / "new", *options)
            new.port = old.port
            _ready(new)
            assert old.process
            old.process.terminate()
            old.process.wait(60)
            assert not pulling.done(), "the pull lasts longer than the drain"
        finally:
            hurry.set()
        done = pulling.result(60)
        new.stop()
    assert done.returncode == 0, done.stdout + done.stderr


def _ready(component: Component) -> Component:
    component.start()
    wait_until(lambda: "serving on" in component.log.read_text(), "the proxy serves")
    return component
