"""A real node for the whole run. These tests run in a sandbox only: `make e2e`."""

import os
import shutil
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.cluster.rig import metacontroller
from tests.e2e.rig import later, staying
from tests.e2e.rig.cluster import Cluster, folder
from tests.e2e.rig.install import Installed
from tests.e2e.rig.page import Table, Told, page, story
from tests.e2e.rig.sandbox import FOLDER, STAY
from tests.e2e.rig.workload import Workloads

KEPT = "KUIK_E2E_KEEP"
"""The variable that names a folder for what processes said, where something has failed."""
_PAGE = Path(__file__).parents[2] / "docs" / "e2e.md"
IMAGES = "KUIK_E2E_IMAGES"
"""The variable that names the archives of our image and of the registry's."""


def pytest_ignore_collect() -> bool | None:
    """Leave these tests out where they are not in a sandbox."""
    return None if FOLDER in os.environ else True


_told: list[Told] = []
_tables: list[Table] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Note of each scenario what came of it, and what upstream was asked meanwhile."""
    if FOLDER not in os.environ:
        return (yield)  # pytest calls this for the tests of other folders too
    begun, failed = time.monotonic(), item.session.testsfailed
    before = sum(_requests())
    result = yield
    told = _story(item)
    if told:
        outcome = "as told" if item.session.testsfailed == failed else "**failed**"
        _told.append(Told(told, outcome, time.monotonic() - begun, sum(_requests()) - before))
    return result


def _story(item: pytest.Item) -> str:
    if not isinstance(item, pytest.Function):
        return ""
    told = (item.function.__doc__ or "").strip()
    return story(told, item.callspec.params if hasattr(item, "callspec") else {}) if told else ""


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the page, where a run is to that has tried everything."""
    options = session.config.option
    chosen = bool(options.keyword or options.deselect) or len(session.config.args) > 1
    ended = exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}
    if os.environ.get("KUIK_WRITE_PAGES") and _told and ended and not chosen:
        caller = "Metacontroller" if metacontroller.binary() else "our own driver, in Metacontroller's place"
        _PAGE.write_text(page(_told, caller, os.environ["KUIK_E2E_SIZE"], _tables))


def _requests() -> Iterator[int]:
    """What each upstream registry was asked so far."""
    for log in folder().glob("*/registry.log"):
        yield log.read_text(errors="replace").count(" HTTP/")


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A control plane, DNS and upstream registries, and node-1."""
    running: Cluster | None = staying.kept(folder(), "cluster")
    if running is None:
        running = Cluster(folder()).start()
        running.node(1, *images())
    try:
        yield running
    finally:
        # Nothing is ended here: the kernel ends it with the sandbox, within a second.
        if request.session.testsfailed:
            _keep(running)
        if STAY in os.environ:
            staying.keep(folder(), "cluster", running)


@pytest.fixture(scope="session")
def kuik(cluster: Cluster) -> Installed:
    """kuik, installed."""
    installed = Installed(cluster, images())
    told = staying.kept(folder(), "kuik")
    try:
        if told is None:
            installed.install()
        else:
            later.bring_up_to_date(installed, told)
    except BaseException:
        _keep(cluster)
        raise
    if STAY in os.environ:
        staying.keep(folder(), "kuik", later.remembered(installed))
    return installed


@pytest.fixture
def pods(kuik: Installed) -> Workloads:
    """Pods of the namespace `default`."""
    return Workloads(kuik.cluster.plane)


@pytest.fixture(scope="session")
def tables() -> list[Table]:
    """The page's tables of what scenarios have measured, for them to add to."""
    return _tables


def images() -> list[Path]:
    """The archives that are loaded into every node: kuik's own images are there before it can help them."""
    return [Path(word) for word in os.environ.get(IMAGES, "").split(os.pathsep) if word]


def _keep(cluster: Cluster) -> None:
    """Copy logs and what the API server has to where they stay."""
    place = Path(os.environ.get(KEPT, "/tmp/kuik-e2e-failed"))
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for log in cluster.folder.glob("*/*.log"):
        shutil.copy(log, place / f"{log.parent.name}-{log.name}")
    for pods in cluster.folder.glob("node-*/pod-logs"):
        shutil.copytree(pods, place / pods.parent.name, symlinks=False, ignore_dangling_symlinks=True)
    kinds = "nodes,pods,events,deployments,daemonsets,jobs,imagecaches,imageinventories,cachedimages"
    for form in ("wide", "yaml"):
        done = cluster.plane.try_kubectl("get", kinds, "-A", "-o", form)
        (place / f"objects.{form}").write_text(done.stdout + done.stderr)
