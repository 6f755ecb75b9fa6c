"""A watch of a real API server, through a connection that breaks."""

import json
from collections.abc import Iterator

import pytest

from kube.client import Api
from kube.paths import KINDS
from kube.watch import Watch
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.rig.workloads import namespace
from tests.rig.processes import wait_until
from tests.rig.relay import Relay


@pytest.fixture
def relay(plane: ControlPlane) -> Iterator[Relay]:
    one = Relay(plane.api.port)
    yield one
    one.close()


@pytest.fixture
def watch(plane: ControlPlane, relay: Relay) -> Iterator[Watch]:
    path = plane.kubeconfig("relayed")
    path.write_text(path.read_text().replace(str(plane.api.port), str(relay.port)))
    watch = Watch(Api.from_kubeconfig(str(path)), KINDS["Namespace"], seconds=20).start()
    assert watch.wait(10)
    yield watch
    watch.stop()


def test_it_follows_what_happens(plane: ControlPlane, watch: Watch) -> None:
    assert watch.get("kube-system")
    plane.kubectl("create", "-f", "-", stdin=json.dumps(namespace("watched")))
    wait_until(lambda: watch.get("watched") is not None, "the new namespace is seen", 5)
    plane.kubectl("label", "namespace", "watched", "kuik.dev/mode=Audit")

    def labelled() -> bool:
        found = watch.get("watched")
        return found is not None and found["metadata"]["labels"].get("kuik.dev/mode") == "Audit"

    wait_until(labelled, "the label is seen", 5)
    found = watch.get("watched")
    assert found
    assert "managedFields" not in found["metadata"]
    plane.kubectl("delete", "namespace", "watched")
    wait_until(lambda: watch.get("watched") is None, "the end is seen", 10)


def test_what_happened_while_it_was_cut_off_is_seen_afterwards(plane: ControlPlane, watch: Watch, relay: Relay) -> None:
    relay.cut()
    plane.kubectl("create", "-f", "-", stdin=json.dumps(namespace("unseen")))
    assert watch.get("unseen") is None
    assert watch.get("kube-system"), "what was known stays"
    assert watch.synced
    quiet = watch.quiet_for()
    relay.mend()
    wait_until(lambda: watch.get("unseen") is not None, "the namespace is seen", 10)
    assert watch.quiet_for() < quiet + 5
    plane.kubectl("delete", "namespace", "unseen", "--wait=false")
