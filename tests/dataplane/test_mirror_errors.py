"""containerd goes on to upstream whatever a mirror answers: so a proxy in trouble may say so."""

import os
from collections.abc import Iterator

import pytest

from kuik.mirror.hosts_file import with_mirror
from tests.dataplane.rig.containerd import VERSIONS, Containerd
from tests.rig.faulty import Relay, cut, error
from tests.rig.images import BuiltImage, image
from tests.rig.upstream import Upstream

pytestmark = [
    pytest.mark.needs("containerd"),
    pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="containerd needs root"),
]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    running = Upstream(tmp_path_factory.mktemp("source")).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def built(source: Upstream) -> BuiltImage:
    made = image("errors")
    source.push(made, "team/app", "1")
    return made


@pytest.fixture(scope="module", params=VERSIONS)
def containerd(request: pytest.FixtureRequest) -> Iterator[Containerd]:
    with Containerd(request.param) as found:
        (found.hosts / "_default").mkdir()
        yield found


def pulls(containerd: Containerd, mirror: Relay, source: Upstream, built: BuiltImage) -> bool:
    """Whether an image is pulled by tag and by digest, each time with the mirror asked before."""
    (containerd.hosts / "_default" / "hosts.toml").write_text(with_mirror("", mirror.url))
    names = (f"{source.host}/team/app:1", f"{source.host}/team/app@{built.digest}")
    return all(containerd.pull(name) == str(built.digest) for name in names) and len(mirror.requests) > 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 416, 429, 500, 502, 503, 504])
def test_a_mirror_that_refuses_everything(
    containerd: Containerd, source: Upstream, built: BuiltImage, status: int
) -> None:
    with Relay() as mirror:
        mirror.rule(error(status, "UNKNOWN"), times=None)
        assert pulls(containerd, mirror, source, built)


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
def test_a_mirror_that_has_the_manifest_and_not_the_blobs(
    containerd: Containerd, source: Upstream, built: BuiltImage, status: int
) -> None:
    with Relay(source.host) as mirror:
        mirror.rule(error(status, "UNKNOWN"), path="/blobs/", times=None)
        assert pulls(containerd, mirror, source, built)


def test_a_mirror_that_breaks_off_in_every_blob(containerd: Containerd, source: Upstream, built: BuiltImage) -> None:
    """It asks for the rest, again and again, as the break is of a transfer and not of the mirror."""
    with Relay(source.host) as mirror:
        mirror.rule(cut(1000), path="/blobs/", times=None)
        assert pulls(containerd, mirror, source, built)
