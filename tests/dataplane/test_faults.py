"""No pull is worse than a direct one, whatever breaks: every fault on every link, beside direct pulls."""

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

import pytest

from tests.dataplane.faults import ROWS, Fault, props
from tests.dataplane.lane import Lane
from tests.dataplane.matrix import Cell, run
from tests.dataplane.page import page, without_seconds
from tests.rig.authority import Authority
from tests.rig.components import NotStarted

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
LANES = 3
"""Trials at once; they wait more than they work."""

pytestmark = pytest.mark.timeout(400)

Matrix = Mapping[tuple[str, str], Sequence[Cell]]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Matrix]:
    """Every trial, held once; one in which only time was too long is held again, alone, as machines can be busy."""
    root = tmp_path_factory.mktemp("faults")
    lanes: SimpleQueue[Lane] = SimpleQueue()
    todo = [(fault, place) for fault in ROWS for place in fault.places]

    def trial(fault: Fault, place: str, name: str) -> list[Cell]:
        lane = lanes.get()
        try:
            return run(lane, fault, place, root / name, (authority, servers))
        except NotStarted:  # somebody else took one of its ports meanwhile
            return run(lane, fault, place, root / f"{name}-restarted", (authority, servers))
        finally:
            lanes.put(lane)

    with ExitStack() as stack:
        for number in range(LANES):
            lane = Lane(root / f"lane-{number}", authority.bundle)
            stack.callback(lane.stop)
            lanes.put(lane.start())
        servers = stack.enter_context(props(authority))
        with ThreadPoolExecutor(LANES) as pool:
            held = list(pool.map(lambda n: trial(*todo[n], f"trial-{n}"), range(len(todo))))
        for number, cells in enumerate(held):
            if any(cell.is_late for cell in cells):
                held[number] = trial(*todo[number], f"trial-{number}-again")
        yield {(fault.name, place): cells for (fault, place), cells in zip(todo, held, strict=True)}


@pytest.mark.parametrize("fault", ROWS, ids=lambda fault: fault.name)
def test_no_pull_is_worse_than_a_direct_one(matrix: Matrix, fault: Fault) -> None:
    cells = [cell for place in fault.places for cell in matrix[fault.name, place]]
    assert not [cell for cell in cells if cell.is_worse]


def test_the_page_shows_what_happened(matrix: Matrix) -> None:
    """Written anew where KUIK_WRITE_PAGES is set (`make faults`), else compared, without the seconds."""
    text = page(cell for cells in matrix.values() for cell in cells)
    if os.environ.get("KUIK_WRITE_PAGES"):
        PAGE.write_text(text)
    committed, found = (without_seconds(one).splitlines() for one in (PAGE.read_text(), text))
    assert committed == found, "\n".join(difflib.unified_diff(committed, found, "docs/faults.md", "this run"))
