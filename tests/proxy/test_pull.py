"""Real pulls: skopeo, through a proxy and a shield that are processes of their own, from a real registry."""

from pathlib import Path

import pytest

from tests.proxy.components import Component
from tests.rig import skopeo
from tests.rig.images import image, multi_platform
from tests.rig.upstream import Upstream

pytestmark = pytest.mark.needs("skopeo")


@pytest.mark.parametrize("docker", [False, True])
def test_by_tag_by_digest_and_for_many_platforms(
    upstream: Upstream, a_proxy: Component, tmp_path: Path, docker: bool
) -> None:
    single, multi = image("single", docker=docker), multi_platform("multi", docker=docker)
    by_tag = a_proxy.image(upstream.push(single, "team/app", "1"))
    by_digest = a_proxy.image(upstream.push(multi, "team/manifests/blobs"))
    assert skopeo.pull(by_tag, tmp_path / "tag") == str(single.digest)
    assert skopeo.pull(by_digest, tmp_path / "digest", "--all") == str(multi.digest)


def test_a_pull_survives_upstream(upstream: Upstream, a_proxy: Component, tmp_path: Path) -> None:
    built = multi_platform("kept")
    reference = upstream.push(built, "team/app", "1")
    skopeo.pull(a_proxy.image(reference), tmp_path / "before", "--all")
    upstream.stop()
    assert skopeo.pull(a_proxy.image(reference), tmp_path / "after", "--all") == str(built.digest)
