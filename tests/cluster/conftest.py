"""A real control plane for the whole run. These tests run where they are named: `make test-cluster`."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kuik.keeper.distribution import Filesystem
from tests.cluster.rig import metacontroller
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.rig.installed import install
from tests.cluster.rig.kept import QUICK, Scene
from tests.cluster.rig.workloads import image_cache
from tests.dataplane.rig.distribution import reader, writer
from tests.scenarios.real import Real

__all__ = ["install"]


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leave these tests out unless the command line names them: they need programs that take minutes to build."""
    return None if any("cluster" in Path(argument).parts for argument in config.args) else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what looks back at the whole run come last."""
    items.sort(key=lambda item: Path(str(item.fspath)).name == "test_used_rights.py")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say plainly what was not proved on this machine."""
    if metacontroller.binary() is None:
        terminalreporter.write_line(f"not run with the real Metacontroller. {metacontroller.MISSING}", yellow=True)


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """etcd, kube-apiserver and kube-controller-manager, empty."""
    running = ControlPlane(tmp_path_factory.mktemp("control-plane"), accounts_audited=True).start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def installed(plane: ControlPlane) -> ControlPlane:
    """The control plane with kuik's kinds and its namespace."""
    return install(plane)


@pytest.fixture(scope="session")
def real_metacontroller() -> None:
    """For tests of the real Metacontroller: the one skip that tests/conftest.py allows in CI."""
    if metacontroller.binary() is None:
        pytest.skip(metacontroller.MISSING)


@pytest.fixture(scope="session")
def real(real_metacontroller: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """The real Metacontroller on an API server of its own, calling hooks in this process."""
    plane = ControlPlane(tmp_path_factory.mktemp("real")).start()
    running = Real(install(plane))
    yield running
    running.stop()
    plane.stop()


@pytest.fixture
def scene(installed: ControlPlane, tmp_path: Path) -> Iterator[Scene]:
    """A registry with a reader, to be put under a keeper's hand, and an ImageCache that is quick."""
    storage = Filesystem(str(tmp_path / "storage"))
    document = writer(tmp_path / "writer", storage)
    installed.kubectl("apply", "-f", "-", stdin=json.dumps(image_cache(keeper=QUICK)))
    with reader(tmp_path / "reader", storage) as copies:
        with document:  # what is there before the keeper comes
            made = Scene(installed, tmp_path, document, copies)
            yield made
        made.stop()
    installed.kubectl("delete", "imagecache", "default", "--cascade=orphan")
    installed.kubectl("delete", "namespace", "kept", "--wait=false", "--ignore-not-found")
    for name in made.images:
        installed.kubectl("delete", "cachedimage", name, "--ignore-not-found")
