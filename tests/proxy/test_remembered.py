"""What tags named is known after a restart of the shield too, and told while upstream is dead."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.shield.origin import Rules, Shield
from proxy.shield.remembered import Remembered
from proxy.shield.spool import Spool
from registry.blobs import BlobFolder
from registry.digest import Digest
from registry.errors import NotFound, Unreachable
from registry.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor
from registry.reference import Reference
from tests.dataplane.disk import SmallDisk
from tests.proxy.test_shield import BUILT, Clock, manifest_of, read, relay
from tests.rig import faulty, reader
from tests.rig.components import AUTHORIZED, Component
from tests.rig.faulty import Relay
from tests.rig.images import image
from tests.rig.processes import wait_until
from tests.rig.upstream import Upstream

__all__ = ["relay"]
ONE, TWO = (Descriptor(OCI_INDEX, Digest.of(text), 5) for text in (b"one", b"two"))
APP, OTHER = Reference("quay.io", "team/app", "1"), Reference("quay.io", "team/other", "1")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "beside" / "tags.json"


def keeping(file: Path, clock: Callable[[], float] = lambda: 100.0, **said: Descriptor | None) -> None:
    tags = Remembered(file, clock)
    for name, descriptor in said.items():
        tags.note(Reference("quay.io", f"team/{name}", "1"), descriptor)
    tags.keep()


def test_what_tags_named_is_known_to_the_next_process(file: Path) -> None:
    keeping(file, app=ONE, other=Descriptor(OCI_MANIFEST, Digest.of(b"x"), 9))
    assert Remembered(file).tags() == {APP: ONE, OTHER: Descriptor(OCI_MANIFEST, Digest.of(b"x"), 9)}


def test_what_is_gone_is_forgotten(file: Path) -> None:
    keeping(file, app=ONE, other=TWO)
    keeping(file, app=None)
    assert Remembered(file).tags() == {OTHER: TWO}


def test_of_two_processes_the_later_word_counts_and_none_loses_the_others(file: Path) -> None:
    at = [100.0]
    old, new = Remembered(file, lambda: at[0]), Remembered(file, lambda: at[0])
    old.note(APP, ONE)
    at[0] += 1
    new.note(APP, TWO)
    new.keep()
    old.note(OTHER, ONE)
    old.keep()
    assert Remembered(file).tags() == {APP: TWO, OTHER: ONE}


def test_a_clock_that_was_ahead_has_not_the_last_word_for_ever(file: Path) -> None:
    keeping(file, lambda: 9e9, app=ONE)
    keeping(file, lambda: 200.0, app=TWO)
    assert Remembered(file, lambda: 300.0).tags() == {APP: TWO}


def test_it_is_bounded_and_the_longest_unheard_leaves(file: Path) -> None:
    at = [0.0]
    tags = Remembered(file, lambda: at[0], most=3)
    for number in (0, 1, 2, 0, 3):
        at[0] += 1
        tags.note(Reference("quay.io", f"team/{number}", "1"), ONE)
    tags.keep()
    assert [reference.repository for reference in Remembered(file).tags()] == ["team/2", "team/0", "team/3"]


def entry(*said: object) -> str:
    return json.dumps({"version": 1, "tags": [["quay.io/team/app:1", 1.0, *said]]})


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        "null",
        '{"version": 2, "tags": []}',
        "[" * 100_000,
        entry("sha256:x", OCI_INDEX, 5),
        entry(str(ONE.digest), "text/html", 5),
        entry(str(ONE.digest), [], 5),
        entry(str(ONE.digest), OCI_INDEX, 1e999),
        entry(str(ONE.digest), OCI_INDEX, -1),
        entry(str(ONE.digest)),
    ],
)
def test_a_damaged_file_is_as_none_and_is_replaced(file: Path, content: str) -> None:
    file.parent.mkdir()
    file.write_text(content)
    assert Remembered(file).tags() == {}
    keeping(file, app=ONE)
    assert Remembered(file).tags() == {APP: ONE}


def test_a_full_disk_costs_what_is_remembered_and_it_is_written_when_there_is_room(tmp_path: Path) -> None:
    disk = SmallDisk(tmp_path / "disk", 1 << 18)
    try:
        tags = Remembered(tmp_path / "disk" / "tags.json")
        disk.fill()
        tags.note(APP, ONE)
        tags.keep()
        assert Remembered(tmp_path / "disk" / "tags.json").tags() == {}
        disk.free()
        tags.keep()
        assert Remembered(tmp_path / "disk" / "tags.json").tags() == {APP: ONE}
    finally:
        disk.close()


def test_many_threads_note_and_keep(file: Path) -> None:
    tags = Remembered(file)

    def work(number: int) -> None:
        for one in range(20):
            tags.note(Reference("quay.io", f"team/{number}-{one}", "1"), ONE)
            tags.keep()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(Remembered(file).tags()) == 80


def started(folder: Path, clock: Clock) -> tuple[Shield, Remembered]:
    """A new process over the folder."""
    remembered = Remembered(folder / "tags.json")
    rules = Rules(remembered=remembered)
    return Shield(reader.client(), Spool(BlobFolder(folder / "spool"), 1 << 30), rules, clock), remembered


def test_a_tag_is_told_stale_after_a_restart_while_upstream_is_silent(relay: Relay, tmp_path: Path) -> None:
    shield, remembered = started(tmp_path, Clock())
    read(shield.fetch(manifest_of(relay)))
    remembered.keep()
    relay.rule(faulty.error(503, "UNAVAILABLE"), times=None)
    shield, _ = started(tmp_path, Clock())
    head = shield.fetch(manifest_of(relay, method="HEAD"))
    assert head.digest == BUILT.digest
    assert "Cache-Control" not in head.headers, "it is not told to be fresh"
    assert read(shield.fetch(manifest_of(relay))) == BUILT.raw
    assert shield.tally().stale == 2


def test_what_an_earlier_process_heard_is_no_fact_of_now(relay: Relay, tmp_path: Path) -> None:
    shield, remembered = started(tmp_path, Clock())
    read(shield.fetch(manifest_of(relay)))
    remembered.keep()
    held = threading.Event()
    relay.rule(faulty.hold(held, after=0), times=None)
    shield, _ = started(tmp_path, Clock())
    reference = Reference.parse(f"{relay.host}/team/app:1")
    assert remembered.tags()[reference].digest == BUILT.digest
    assert shield.facts(reference)["upstream"] is None
    held.set()


def test_upstream_is_asked_first_after_a_restart_and_a_tag_that_moved_is_noticed(
    relay: Relay, upstream: Upstream, tmp_path: Path
) -> None:
    shield, remembered = started(tmp_path, Clock())
    read(shield.fetch(manifest_of(relay)))
    remembered.keep()
    moved = image("moved while away")
    upstream.push(moved, "team/app", "1")
    shield, remembered = started(tmp_path, Clock())
    assert read(shield.fetch(manifest_of(relay))) == moved.raw
    remembered.keep()
    relay.rule(faulty.error(404, "MANIFEST_UNKNOWN"), times=None)
    shield, remembered = started(tmp_path, Clock())
    with pytest.raises(NotFound):
        shield.fetch(manifest_of(relay))
    remembered.keep()
    relay.rules.clear()
    relay.rule(faulty.error(503, "UNAVAILABLE"), times=None)
    shield, _ = started(tmp_path, Clock())
    with pytest.raises(Unreachable):
        shield.fetch(manifest_of(relay))


def test_a_shield_that_is_killed_and_starts_while_upstream_is_dead_tells_what_it_knew(
    upstream: Upstream, a_shield: Component, tmp_path: Path
) -> None:
    upstream.push(BUILT, "team/app", "1")
    path = f"/v2/{upstream.host.replace(':', '__')}/team/app/manifests/1"
    assert a_shield.get(path, AUTHORIZED).body == BUILT.raw
    wait_until((tmp_path / "shield" / "spool" / "tags.json").exists, "it is kept", 60)
    upstream.stop()
    a_shield.kill()
    a_shield.start()
    found = a_shield.get(path, AUTHORIZED)
    assert (found.status, found.body) == (200, BUILT.raw)
    assert a_shield.numbers().total("kuik_shield_stale_tags_total") == 1
