"""OCI conformance: through the proxy nothing fails that does not fail against the registry behind it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kuik.keeper.distribution import USER
from tests.dataplane.rig.conformance import NO_DELETES, PULLS_ONLY, conformance, worse
from tests.dataplane.rig.distribution import READERS_TOKEN, Distribution, public
from tests.dataplane.rig.plane import Plane, plane
from tests.dataplane.rig.registry import registry
from tests.dataplane.rig.splitter import Splitter
from tests.rig.images import image, multi_platform
from tests.rig.upstream import Upstream


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Distribution]:
    with public(tmp_path_factory.mktemp("source")) as running:
        yield running


@pytest.fixture(scope="module", params=["folder", "s3"])
def running(
    request: pytest.FixtureRequest, source: Distribution, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Plane]:
    folder = tmp_path_factory.mktemp("plane")
    with registry(folder, request.param) as copies, plane(folder, copies, source) as found:
        yield found


def test_pulls_of_what_is_cached(running: Plane, source: Distribution, tmp_path: Path) -> None:
    """Compared with a reader of the registry, which keeps the same repositories under the same names."""
    images = {"oci": image("c"), "index": multi_platform("c"), "docker": image("d", docker=True)}
    pushing = Upstream(tmp_path, port=source.port)  # never started: it pushes to who listens there
    for tag, built in images.items():
        pushing.push(built, "team/pulls", tag)
        assert running.copy(f"{source.host}/team/pulls:{tag}")["digest"] == str(built.digest)
    contents = {
        "OCI_RO_DATA_TAGS": " ".join(images),
        "OCI_RO_DATA_MANIFESTS": " ".join(str(digest) for built in images.values() for digest in built.manifests),
        "OCI_RO_DATA_BLOBS": " ".join(str(digest) for built in images.values() for digest in built.blobs),
        "OCI_RO_DATA_REFERRERS": str(images["oci"].digest),
    }
    repository, options = f"{source.host.replace(':', '__')}/team/pulls", {**PULLS_ONLY, **contents}
    reader, known = running.registry.readers[0], {"OCI_USERNAME": USER, "OCI_PASSWORD": READERS_TOKEN}
    direct = conformance(tmp_path / "direct", reader.host, repository, {**options, **known})
    through = conformance(tmp_path / "through", running.proxy.host, repository, options)
    assert direct.passed.total() >= 40, "the suite tried what is there"
    assert worse(direct, through) == {}


@pytest.mark.timeout(300)  # two runs of the suite
@pytest.mark.parametrize("running", ["folder"], indirect=True)  # the storage is not what this is about
def test_pulls_of_what_was_pushed_upstream_just_before(running: Plane, source: Distribution, tmp_path: Path) -> None:
    """The suite writes its own images, odd ones among them, to upstream, and finds them through the proxy."""
    options = {**NO_DELETES, "OCI_API_BLOBS_DIGEST_HEADER": "true", "OCI_API_MANIFESTS_DIGEST_HEADER": "true"}
    direct = conformance(tmp_path / "direct", source.host, f"team/direct-{tmp_path.name}", options)
    prefix = source.host.replace(":", "__")
    with Splitter(running.proxy.host, source.host, prefix) as both:
        through = conformance(tmp_path / "through", both.host, f"{prefix}/team/through-{tmp_path.name}", options)
    assert direct.passed.total() >= 400, "the suite tried its images"
    assert worse(direct, through) == {}
