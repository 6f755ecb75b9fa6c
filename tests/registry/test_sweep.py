"""Which tags nobody asks for."""

import random

from hypothesis import given
from hypothesis import strategies as st

from registry.digest import Digest
from registry.reference import Reference
from registry.sweep import sweep

DIGEST = Digest.of(b"x")
NGINX, REDIS = Reference.parse("nginx:1.25"), Reference.parse("reg:5000/redis:7")
references = st.builds(
    lambda name, tag: Reference.parse(f"{name}:{tag}"),
    st.sampled_from(["nginx", "reg:5000/nginx", "reg/nginx", "a/b"]),
    st.sampled_from(["1", "2", "latest"]),
)


def test_a_tag_without_an_image_goes() -> None:
    assert sweep([NGINX, REDIS], [NGINX]) == (REDIS,)
    assert sweep([NGINX, REDIS], [REDIS, NGINX, Reference.parse("more")]) == ()
    assert sweep([], [NGINX]) == ()


def test_tags_of_one_name_on_two_registries_are_two() -> None:
    other = Reference.parse("reg:5000/library/nginx:1.25")
    assert sweep([NGINX, other], [NGINX]) == (other,)


def test_an_anchor_tag_stands_for_its_digest() -> None:
    by_digest = Reference.parse(f"nginx@{DIGEST}")
    anchor = Reference.parse(f"nginx:digest-{DIGEST.hex}")
    assert sweep([anchor, by_digest], [by_digest]) == ()
    assert sweep([anchor], [NGINX]) == (anchor,)


def test_with_a_digest_the_tag_does_not_count() -> None:
    assert sweep([Reference.parse(f"nginx:1@{DIGEST}")], [Reference.parse(f"nginx@{DIGEST}")]) == ()
    assert sweep([Reference.parse(f"nginx:1@{DIGEST}")], [Reference.parse("nginx:1")]) != ()


@given(st.lists(references), st.lists(references), st.randoms())
def test_nothing_wanted_goes_and_order_does_not_matter(
    tags: list[Reference], wanted: list[Reference], chance: random.Random
) -> None:
    gone = sweep(tags, wanted)
    assert set(gone) == set(tags) - set(wanted)
    chance.shuffle(tags)
    assert sweep(tags, wanted) == gone
