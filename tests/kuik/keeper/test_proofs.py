"""Which bytes are hashed when: never proven ones first, then the longest unproven, each once; and what damage tells."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hooks.volumes import DAMAGED, reports
from kuik.keeper.hashes import Hashes
from kuik.keeper.hashing import Pace
from kuik.keeper.memory import Memory
from kuik.keeper.proofs import QUICKEST, SLOWEST, Proofs, in_turn, rate
from kuik.keeper.report import image_report, key_of
from kuik.keeper.tally import Tally
from kuik.keeper.volume import Volume, file_of
from registry.digest import Digest
from registry.manifest import Descriptor
from registry.reference import Reference
from registry.transport import Transport

NOW = datetime(2026, 1, 10, tzinfo=UTC)
DAY = timedelta(days=1)
PLACE = Reference("registry:5000", "docker.io/library/app", "1")


def digest(seed: object) -> Digest:
    return Digest.of(f"{seed}".encode())


class Case:
    """A volume of blobs, and the clock."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now, self.tally = folder, NOW, Tally()
        self.proofs = self.started()

    def started(self) -> Proofs:
        volume = Volume(Transport(), "registry:5000", None, self.folder)
        memory = Memory(self.folder / ".kuik")
        memory.own()
        found = Proofs(volume, memory, self.tally, threading.Event(), lambda: 7 * 86400.0, lambda: 1000.0)
        found.now = lambda: self.now
        found.pace = Pace(QUICKEST, lambda _seconds: None)
        return found

    def store(self, seed: object) -> Descriptor:
        content = f"{seed}".encode()
        path = file_of(self.folder, Digest.of(content))
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        return Descriptor("application/octet-stream", Digest.of(content), len(content))


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_what_was_never_proven_comes_first_then_the_longest_unproven() -> None:
    proven = {digest(1): NOW - 5 * DAY, digest(2): None, digest(3): NOW - 6 * DAY, digest(4): NOW - DAY}
    assert in_turn(proven, NOW - 2 * DAY) == [digest(2), digest(3), digest(1)]


def test_the_rate_follows_from_size_and_period_within_bounds() -> None:
    assert rate(0, 7 * 86400.0) == SLOWEST
    assert rate(10 << 40, 7 * 86400.0) == pytest.approx(1.25 * (10 << 40) / (3.5 * 86400))
    assert rate(1 << 50, 60.0) == rate(1, 0.0) + QUICKEST - SLOWEST == QUICKEST


def test_a_shared_blob_is_hashed_once_and_not_again_before_half_of_the_period_nor_after_a_restart(case: Case) -> None:
    shared, own = case.store("shared"), case.store("own")
    case.proofs.wants("a", PLACE, [shared])
    case.proofs.wants("b", PLACE, [shared, own])
    assert case.proofs.oldest([shared]) is None
    case.proofs.round()
    assert case.tally.hashed_bytes == shared.size + own.size
    assert case.proofs.stirred() == {"a", "b"}
    case.now += DAY
    again = case.started()
    again.wants("b", PLACE, [shared, own])
    again.round()
    assert case.tally.hashed_bytes == shared.size + own.size
    assert again.oldest([shared, own]) == NOW
    case.now += 3 * DAY
    again.round()
    assert again.oldest([shared, own]) == case.now


def test_damage_is_told_of_all_images_that_share_it_until_it_is_mended(case: Case) -> None:
    shared = case.store("shared")
    for image in "ab":
        case.proofs.wants(image, PLACE, [shared])
    path = file_of(case.folder, shared.digest)
    path.write_bytes(b"shareD")
    case.proofs.round()
    assert case.proofs.stirred() == {"a", "b"}
    damage = case.proofs.damage([shared])
    assert damage is not None
    assert damage[0] == shared
    assert case.proofs.oldest([shared]) is None
    path.write_bytes(b"shared")
    case.proofs.mended(shared.digest)
    assert case.proofs.damage([shared]) is None
    case.proofs.round()
    assert case.proofs.oldest([shared]) == NOW


def test_a_lost_file_is_no_damage_but_something_to_look_at_once(case: Case) -> None:
    blob = case.store("lost")
    case.proofs.wants("a", PLACE, [blob])
    case.proofs.round()
    assert case.proofs.stirred() == {"a"}
    file_of(case.folder, blob.digest).unlink()
    case.now += 4 * DAY
    case.proofs.round()
    assert case.proofs.damage([blob]) is None, "a copy may bring it back at any moment, and it must not be removed then"
    assert case.proofs.stirred() == {"a"}
    case.proofs.round()
    assert case.proofs.stirred() == frozenset()


def test_images_that_are_gone_are_hashed_no_more(case: Case) -> None:
    shared, own = case.store("shared"), case.store("own")
    case.proofs.wants("a", PLACE, [shared, own])
    case.proofs.wants("b", PLACE, [shared])
    case.proofs.drop(["a", "unknown"])
    case.proofs.round()
    assert case.tally.hashed_bytes == shared.size
    assert case.proofs.images == {"b"}


def test_what_is_remembered_is_read_again_and_what_is_broken_is_nothing() -> None:
    hashes = Hashes()
    hashes.proven(digest(1), NOW)
    assert Hashes.read(hashes.text()).since(digest(1), NOW) == NOW
    assert Hashes.read(hashes.text()).since(digest(1), NOW - DAY) is None, "a clock that was ahead proves nothing"
    assert Hashes.read(hashes.text()[:-9]).since(digest(1), NOW) is None
    hashes.forget_before(NOW + DAY)
    assert hashes.since(digest(1), NOW + DAY) is None


def test_stage_3_reads_what_is_written(case: Case) -> None:
    text = image_report(str(digest(1)), DAMAGED, NOW, message="x" * 600, verified="2026-01-09T00:00:00Z")
    found = reports({"metadata": {"annotations": {key_of("kuik-registry-0"): text}}})["kuik-registry-0"]
    assert (found.state, found.digest, found.verified) == (DAMAGED, str(digest(1)), "2026-01-09T00:00:00Z")
    assert found.at == "2026-01-10T00:00:00Z"
    assert 0 < len(found.message) <= 512
