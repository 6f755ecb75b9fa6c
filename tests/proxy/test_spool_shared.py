"""Two shields over one spool folder, as in the overlap of an upgrade: one fetch for both, whoever of them dies."""

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from proxy.shield.processes import Processes
from proxy.shield.spool import LOOK_AGAIN, Spool
from registry.blobs import BlobFolder
from registry.digest import Digest
from tests.rig import faulty
from tests.rig.components import TOKEN, Component, Reply, shield
from tests.rig.faulty import Relay
from tests.rig.images import BuiltImage, image
from tests.rig.processes import wait_until
from tests.rig.upstream import Upstream

BUILT: BuiltImage = image("shared", layers=1, layer_size=3_000_000)
DIGEST, BLOB = max(BUILT.blobs.items(), key=lambda item: len(item[1]))
BLOBS = "/blobs/"
TOKEN_SHOWN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def relay(upstream: Upstream) -> Iterator[Relay]:
    upstream.push(BUILT, "team/app", "1")
    with Relay(upstream.host) as between:
        yield between


@pytest.fixture
def shields(tmp_path: Path, relay: Relay) -> Iterator[list[Component]]:
    started = [shield(tmp_path / "shared", "--plain-http", relay.host).start() for _ in "ab"]
    yield started
    for component in started:
        component.stop()


def path(relay: Relay) -> str:
    return f"/v2/{relay.host.replace(':', '__')}/team/app/blobs/{DIGEST}"


def pull(component: Component, relay: Relay, pool: ThreadPoolExecutor, **headers: str) -> "Future[Reply]":
    return pool.submit(component.get, path(relay), TOKEN_SHOWN | headers)


def test_twenty_clients_of_both_cost_one_fetch_and_the_waiters_follow(
    relay: Relay, shields: list[Component], tmp_path: Path
) -> None:
    go_on = threading.Event()
    relay.rule(faulty.hold(go_on, after=2_000_000), path=BLOBS)
    with ThreadPoolExecutor(20) as pool:
        leading = pull(shields[0], relay, pool)
        wait_until(lambda: relay.count("GET", BLOBS) == 1, "the first process asks upstream")
        # While the rest is still to come, the other process serves what is there.
        early = pull(shields[1], relay, pool, Range="bytes=1000000-1999999").result(20)
        assert (early.status, early.body, leading.done()) == (206, BLOB[1_000_000:2_000_000], False)
        pulls = [pull(shields[number % 2], relay, pool) for number in range(19)]
        go_on.set()
        assert [one.result(30).body == BLOB for one in [leading, *pulls]] == [True] * 20
    assert relay.count("GET", BLOBS) == 1
    kept = (path.name for path in (tmp_path / "shared" / "spool" / "blobs").rglob("*") if path.is_file())
    assert sorted(kept) == [DIGEST.hex]


def test_a_killed_process_s_fetch_is_taken_over_where_it_was(relay: Relay, shields: list[Component]) -> None:
    held = threading.Event()
    relay.rule(faulty.hold(held, after=2_000_000), path=BLOBS)
    with ThreadPoolExecutor(3) as pool:
        leading = pull(shields[0], relay, pool)
        early = pull(shields[0], relay, pool, Range="bytes=0-1999999").result(20)
        following = pull(shields[1], relay, pool)
        # It has bytes that it can only have from the other process.
        assert pull(shields[1], relay, pool, Range="bytes=0-1999999").result(20).body == early.body
        shields[0].kill()
        assert following.result(30).body == BLOB
        assert leading.exception(30)
        held.set()
    assert [seen.headers.get("Range") for seen in relay.requests if BLOBS in seen.path] == [None, "bytes=2000000-"]


def test_what_one_process_found_damaged_the_other_never_gives_whole(relay: Relay, shields: list[Component]) -> None:
    relay.rule(faulty.corrupt(len(BLOB) - 10), path=BLOBS)
    with ThreadPoolExecutor(8) as pool:
        pulls = [pull(shields[number % 2], relay, pool) for number in range(8)]
        done = [one.exception(30) or one.result() for one in pulls]
    bodies = [one.body for one in done if isinstance(one, Reply) and one.status == 200]
    assert all(body == BLOB for body in bodies)
    assert pull(shields[1], relay, ThreadPoolExecutor(1)).result(30).body == BLOB


def test_what_one_process_wrote_counts_for_the_other_too(tmp_path: Path) -> None:
    now = [1e9]
    one, other = (Spool(BlobFolder(tmp_path / "spool"), 250, lambda: now[0]) for _ in "ab")
    a, b, c = (letter * 100 for letter in (b"a", b"b", b"c"))
    one.put(Digest.of(a), a)
    other.put(Digest.of(b), b)
    now[0] += LOOK_AGAIN
    file = one.open(Digest.of(a))
    assert file
    file.close()
    other.put(Digest.of(c), c)
    assert set(BlobFolder(tmp_path / "spool").digests()) == {Digest.of(a), Digest.of(c)}


def users_of(folder: Path) -> set[str]:
    """The processes that have a file of a folder's turns open."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if str(link.readlink()).startswith(f"{folder}/") and ".turns/" in str(link.readlink()):
                found.add(link.parts[2])
    return found


def test_manifests_cost_one_fetch_for_both_too(relay: Relay, shields: list[Component], tmp_path: Path) -> None:
    """By tag and by digest, though neither process can see that the other has asked."""
    go_on = threading.Event()
    relay.rule(faulty.hold(go_on), method="GET", path="/manifests/", times=None)
    base, turns = f"/v2/{relay.host.replace(':', '__')}/team/app/manifests", tmp_path / "shared" / "spool"
    for target in ("1", str(BUILT.digest)):
        relay.requests.clear()
        go_on.clear()
        with ThreadPoolExecutor(8) as pool:
            pulls = [pool.submit(shields[at % 2].get, f"{base}/{target}", TOKEN_SHOWN) for at in range(8)]
            if target == "1":
                wait_until(lambda: len(users_of(turns)) == 2, "one process asks, and the other waits")
            go_on.set()
            assert [one.result(30).body == BUILT.raw for one in pulls] == [True] * 8
        assert relay.count("GET", "/manifests/") == (target == "1")


def test_who_waits_for_a_process_that_hangs_goes_on_by_itself(tmp_path: Path) -> None:
    one, other = Processes(tmp_path / "turns"), Processes(tmp_path / "turns", patience=0.1)
    with one.turn("key") as waited, other.turn("key") as in_vain, other.turn("another") as alone:
        assert (waited, in_vain, alone) == (False, True, False)
    (tmp_path / "file").write_text("no folder")
    with Processes(tmp_path / "file" / "turns").turn("key") as waited:
        assert not waited
