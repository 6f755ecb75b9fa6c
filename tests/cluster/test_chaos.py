"""A smaller chaos than `make chaos` holds: every image becomes safe, whatever is killed meanwhile."""

from pathlib import Path

import pytest

from tests.cluster.chaos import SMALL, Kill, Report, Size, hold
from tests.cluster.rig.source import Transfer

KILLED = {"job", "shield", "keeper", "writer", "reader"}


@pytest.mark.timeout(SMALL.seconds + 120)
def test_every_image_is_cached_and_proven_whatever_is_killed(tmp_path: Path) -> None:
    report = hold(tmp_path, SMALL)
    print(report)  # noqa: T201  what was killed when is worth reading
    assert not report.failures, report
    assert len(report.kills) == SMALL.kills
    assert {kill.name for kill in report.kills} <= KILLED
    assert {transfer.digest for transfer in report.transfers}


def told(*transfers: Transfer, kills: list[Kill]) -> list[str]:
    return Report(Size(), 1.0, kills, list(transfers), "").failures


def test_a_blob_may_be_served_again_only_for_a_kill_that_hit_its_transfer() -> None:
    first, again, third = (Transfer("a", at, at + 1) for at in (10.0, 20.0, 30.0))
    assert told(first, Transfer("b", 10.0, 11.0), kills=[]) == []
    assert "2 times, and 0 kills" in told(first, again, kills=[])[0]
    assert "2 times, and 0 kills" in told(first, again, kills=[Kill("shield", 15.0), Kill("keeper", 9.9)])[0]
    others = [Kill("reader", 10.5), Kill("job", 10.5, frozenset("b"))]
    assert "2 times, and 0 kills" in told(first, again, kills=others)[0]
    assert told(first, again, kills=[Kill("job", 10.5, frozenset("a"))]) == []
    assert told(first, again, kills=[Kill("shield", 10.5)]) == []
    assert "3 times, and 1 kills" in told(first, again, third, kills=[Kill("shield", 10.5)])[0]
