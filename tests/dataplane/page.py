"""`docs/faults.md`: the fault matrix as a platform engineer reads it."""

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from tests.dataplane.matrix import BACK_OFF, GRACE, LIMIT, Cell
from tests.rig.puller import Pulled

_PLACES = {
    "upstream": "Between the cluster and the upstream registry",
    "shield": "Between the node proxy and the origin shield",
    "registry": "Between the node proxy and the registry that holds copies",
    "proxy": "In the node proxy itself",
}
_CASES = {
    "cached-tag": "tag, cached",
    "cached-digest": "digest, cached",
    "cold-tag": "tag, not cached",
    "cold-digest": "digest, not cached",
}
_SECONDS = re.compile(r"\d+\.\d s")
_HEAD = f"""\
# What kuik does to a pull when something breaks

Written by the test that tries it (`make faults`): a real upstream registry, an origin shield, a registry with copies
made by the copy Job and a node proxy, each a process of its own, with the fault injected on one link between them. In
each cell one image is pulled through kuik while another client pulls the same image directly from upstream, under the
same fault. Both are clients as containerd is: they check every digest and continue a broken blob by Range.

| word | what it means |
|---|---|
| **same** | as without kuik: it came, or failed for the same reason; at most {GRACE:.0f} s later |
| **better** | it came, and would not have without kuik |
| **same, at the retry** | it came when kubelet tried again, {BACK_OFF:.0f} s after the first failure: see below |
| **worse** | none of these; the test fails |

Seconds are those of one run on 2 cores. A client gives up after {LIMIT:.0f} s: *unavailable*. *Not cached*
means that kuik sees the image for the first time, so that only upstream has it.

What kubelet's retry is needed for: a node proxy that is killed in the middle of a pull takes the connection with it.
And bytes that a link or a disk inside of the cluster damaged are found by the client, not by the proxy, which passes
them on unread; the retry gets them from another source.
"""


def page(cells: Iterable[Cell]) -> str:
    """The page for the cells of a whole run, in the order of its rows."""
    parts = [_HEAD]
    by_place = sorted(cells, key=lambda cell: list(_PLACES).index(cell.place))
    for place, here in groupby(by_place, key=lambda cell: cell.place):
        parts.append(_table(_PLACES[place], list(here)))
    return "\n".join(parts)


def without_seconds(text: str) -> str:
    """The page with what differs between two runs taken out."""
    return _SECONDS.sub("… s", text)


def _table(title: str, cells: Sequence[Cell]) -> str:
    lines = [f"## {title}", "", f"| fault | {' | '.join(_CASES.values())} |", "|---" * (len(_CASES) + 1) + "|"]
    for fault, row in groupby(cells, key=lambda cell: cell.fault):
        by_case = {cell.case: cell for cell in row}
        lines.append(f"| {fault} | {' | '.join(_text(by_case[case]) for case in _CASES)} |")
    return "\n".join(lines) + "\n"


def _text(cell: Cell) -> str:
    return f"**{cell.verdict}**: {_told(cell.kuik)}; direct: {_told(cell.direct)}"


def _told(pulled: Pulled) -> str:
    return (
        f"{pulled.outcome} in {pulled.seconds:.1f} s" if pulled.served else f"{pulled.outcome}, {pulled.seconds:.1f} s"
    )
