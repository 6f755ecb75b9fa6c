"""Rendezvous hashing: callers agree, and little moves when replicas come and go."""

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from registry.digest import Digest
from registry.reference import Reference
from registry.rendezvous import blob_key, manifest_key, ordered

REPLICAS = st.sets(st.text(min_size=1, max_size=20), min_size=1, max_size=6)
KEYS = [str(Digest.of(str(n).encode())) for n in range(3000)]


@given(REPLICAS, st.text(), st.randoms())
def test_all_callers_agree_in_whatever_order_they_know_the_replicas(
    replicas: set[str], key: str, random: Random
) -> None:
    shuffled = list(replicas)
    random.shuffle(shuffled)
    assert ordered(shuffled * 2, key) == ordered(replicas, key)
    assert set(ordered(replicas, key)) == replicas


@given(REPLICAS, st.text(), st.text(min_size=1))
def test_a_replica_that_goes_or_comes_leaves_the_order_of_the_others(replicas: set[str], key: str, other: str) -> None:
    with_other = ordered(replicas | {other}, key)
    assert [replica for replica in with_other if replica != other] == list(ordered(replicas - {other}, key))


def test_every_replica_has_its_share() -> None:
    first = Counter(ordered(["10.0.0.1:7440", "10.0.0.2:7440", "10.0.0.3:7440"], key)[0] for key in KEYS)
    assert len(first) == 3
    assert min(first.values()) > len(KEYS) / 3 * 0.85


def test_the_order_is_the_same_in_every_version_of_kuik() -> None:
    # During an upgrade old and new callers must agree: this order may not change.
    assert ordered(["a:1", "b:1", "c:1"], "docker.io/library/nginx") == ("a:1", "b:1", "c:1")
    assert ordered(["a:1", "b:1", "c:1"], KEYS[0]) == ("b:1", "a:1", "c:1")


def test_a_tag_and_the_digests_it_leads_to_meet_at_one_replica_and_blobs_anywhere() -> None:
    digest = Digest.of(b"x")
    tagged = Reference.parse("ghcr.io/a/b:1")
    assert manifest_key(tagged) == manifest_key(tagged.with_digest(digest)) == "ghcr.io/a/b"
    assert blob_key(digest) == str(digest)
