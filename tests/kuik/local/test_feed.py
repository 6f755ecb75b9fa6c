"""What the serving process is told of secrets and images."""

import os
from pathlib import Path

from kuik.local.feed import Feed, Knowledge
from registry.reference import Reference

CONFIG = '{"auths": {"r.io": {"username": "alice", "password": "topsecret"}}}'
IMAGE = Reference.parse("r.io/team/app:1")


def test_the_other_side_knows_the_newest_word() -> None:
    told = Feed()
    asking = Feed(os.dup(told.descriptor))
    assert asking.keyring(IMAGE) == ()
    told.tell(Knowledge({"shop/pull": CONFIG}, {str(IMAGE): ["shop/pull", "shop/none"]}))
    assert [found.username for found in asking.keyring(IMAGE)] == ["alice"]
    told.tell(Knowledge({}, {}))
    assert asking.keyring(IMAGE) == ()


def test_a_secret_opens_only_the_repositories_of_its_images() -> None:
    feed = Feed()
    feed.tell(Knowledge({"shop/pull": CONFIG}, {str(IMAGE): ["shop/pull"], "r.io/team/other:1": []}))
    asking = Feed(os.dup(feed.descriptor))
    assert asking.keyring(Reference.parse("r.io/team/app:2"))
    assert not asking.keyring(Reference.parse("r.io/team/other:1"))


def test_the_file_has_no_name() -> None:
    feed = Feed()
    feed.tell(Knowledge({"shop/pull": CONFIG}, {}))
    assert not Path(f"/proc/self/fd/{feed.descriptor}").readlink().exists()
