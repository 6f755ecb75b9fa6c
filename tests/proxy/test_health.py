"""What the parts say in `/readyz`: the disk, the API server, the sources."""

import threading
from pathlib import Path

import pytest

from proxy.breaker import Breaker
from proxy.health import Disk, Heard, sources


def test_the_api_server_is_waited_for_and_then_done_without() -> None:
    now, synced = [100.0], [False]
    heard = Heard(lambda: synced[0], "private images cannot be opened", lambda: now[0])
    assert not heard.check().ready
    now[0] += 20
    assert (heard.check().ready, heard.check().degraded) == (True, True)
    assert "private images cannot be opened" in heard.check().message
    synced[0] = True
    assert (heard.check().ready, heard.check().degraded) == (True, False)


def test_a_disk_that_takes_nothing_is_seen_and_seen_to_be_well_again(tmp_path: Path) -> None:
    now = [0.0]
    folder = tmp_path / "spool"
    disk = Disk(folder, lambda: now[0])
    assert (disk.check().ready, disk.check().degraded) == (True, True)
    folder.mkdir()
    assert disk.check().degraded, "it is looked at seldom"
    now[0] = 11
    assert not disk.check().degraded
    assert list(folder.iterdir()) == []


def test_a_disk_that_hangs_holds_up_one_question_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(tmp_path)
    begun, hangs = threading.Event(), threading.Event()

    def write(_path: Path, _content: bytes) -> None:
        begun.set()
        hangs.wait(10)

    monkeypatch.setattr(Path, "write_bytes", write)
    first = threading.Thread(target=disk.check, daemon=True)
    first.start()
    assert begun.wait(10)
    told = disk.check()
    hangs.set()
    first.join(10)
    assert told.degraded
    assert "did not answer" in told.message


def test_a_source_that_fails_is_told_with_since_when_and_why() -> None:
    failing = Breaker().failed(10.0, 10.0, "refused", answered=False).failed(16.0, 16.0, "silent", answered=False)
    told = sources(["registry at a", "shield at b"], {"shield at b": failing}, 20.0)
    assert told.facts["sources"] == {
        "registry at a": "asked when needed",
        "shield at b": {
            "state": "left alone",
            "for seconds": 10.0,
            "asked again in seconds": 6.0,
            "failures": 2,
            "why": "silent",
        },
    }
    assert (told.ready, told.degraded) == (True, True)
