"""The rig itself: what other tests take for granted."""

from pathlib import Path

import pytest

from tests.rig import skopeo
from tests.rig.images import image, multi_platform
from tests.rig.upstream import Upstream


@pytest.mark.needs("skopeo")
@pytest.mark.parametrize("docker", [False, True])
def test_built_images_are_images_to_a_real_registry_and_a_real_client(
    upstream: Upstream, tmp_path: Path, docker: bool
) -> None:
    single, multi = image("one", docker=docker), multi_platform("many", docker=docker)
    assert skopeo.pull(upstream.push(single, "team/app", "1"), tmp_path / "single") == str(single.digest)
    assert skopeo.pull(upstream.push(multi, "team/many"), tmp_path / "multi", "--all") == str(multi.digest)
    assert upstream.count("GET", f"/v2/team/app/manifests/{'1'}") == 1


def test_a_private_upstream_refuses_strangers(private_upstream: Upstream, tmp_path: Path) -> None:
    reference = private_upstream.push(image("secret"), "team/app", "1")
    assert skopeo.fails_to_pull(reference, tmp_path / "out")


def test_upstream_comes_back_with_what_it_had(upstream: Upstream, tmp_path: Path) -> None:
    built = image("kept")
    reference = upstream.push(built, "a/b", "1")
    upstream.stop()
    assert skopeo.fails_to_pull(reference, tmp_path / "down")
    upstream.start()
    assert skopeo.pull(reference, tmp_path / "up") == str(built.digest)
