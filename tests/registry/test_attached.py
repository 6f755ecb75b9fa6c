"""What belongs to an image that is kept, by its tags."""

import pytest

from registry.attached import cosign_tags, fallback_tag, subject_of
from registry.digest import Digest

IMAGE = Digest.of(b"image")


def test_tags_that_are_written_are_those_that_are_kept() -> None:
    assert {subject_of(tag) for tag in (fallback_tag(IMAGE), *cosign_tags(IMAGE))} == {fallback_tag(IMAGE)}


@pytest.mark.parametrize("tag", ["1.0", f"digest-{IMAGE.hex}", f"sha256-{IMAGE.hex[:12]}", "sha256-latest"])
def test_other_tags_belong_to_nothing(tag: str) -> None:
    assert subject_of(tag) is None


def test_a_fallback_tag_is_cut_as_the_specification_says() -> None:
    long = Digest.of(b"x", "sha512")
    assert fallback_tag(long) == f"sha512-{long.hex[:64]}"
    assert subject_of(fallback_tag(long)) == fallback_tag(long)
