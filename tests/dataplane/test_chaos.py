"""A smaller chaos than `make chaos` holds: every pull comes, with the right bytes, whatever is killed."""

from pathlib import Path

from tests.dataplane.chaos import SMALL, hold


def test_every_pull_comes_while_each_process_is_killed_in_turn(tmp_path: Path) -> None:
    report = hold(tmp_path, SMALL)
    print(report)  # noqa: T201  what was killed when is worth reading
    assert not report.failures, report
    assert len(report.pulls) >= SMALL.pulls
    assert len({kill.name for kill in report.kills}) == 4
    assert report.seconds < SMALL.seconds
