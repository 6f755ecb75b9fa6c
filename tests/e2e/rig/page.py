"""`docs/e2e.md`: what was tried on a real node, written by the run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_HEAD = """\
# What was tried on a real node

Written by the run itself (`make e2e`). A cluster on one machine: etcd, kube-apiserver, controller-manager, scheduler,
CoreDNS, and nodes with kubelet, containerd 2.1 and kube-proxy, each in a network namespace of its own; our image, built
by the Dockerfile; upstream registries with TLS. What each scenario rests on is what kubelet, containerd, the kernel or
an upstream registry saw, never a line of our own logs. Requests are all those that upstream registries were asked
meanwhile, by kubelet, by kuik, and by the test that pushes its images.

Stages are called by {caller}. Our image has {image}.

"""
_COLUMNS = ("scenario", "outcome", "seconds", "upstream requests")


@dataclass(frozen=True)
class Told:
    """A scenario that was run: its first line, what came of it, and at what cost."""

    story: str
    outcome: str
    seconds: float
    requests: int


@dataclass(frozen=True)
class Table:
    """Figures that a scenario has measured: a chapter of the page, with `text` above the table."""

    title: str
    text: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def written(self) -> str:
        """The chapter."""
        return f"## {self.title}\n\n{self.text}\n\n{_table(self.columns, self.rows)}"


def story(told: str, parameters: Mapping[str, object]) -> str:
    """The row of a scenario that is told so: `{name}` is a parameter's value, and who names none has all at the end."""
    if not parameters:
        return told
    named = told.format_map({name: str(value) for name, value in parameters.items()})
    said = ", ".join(str(value) for value in parameters.values())
    return named if named != told else f"{told.removesuffix('.')} ({said})."


def page(scenarios: Iterable[Told], caller: str, image: str, tables: Iterable[Table] = ()) -> str:
    """The page of a run; `caller` calls the stages, `image` says how large ours is."""
    rows = [(one.story, one.outcome, f"{one.seconds:.0f}", str(one.requests)) for one in scenarios]
    chapters = "".join(f"\n{one.written()}" for one in tables)
    return _HEAD.format(caller=caller, image=image) + _table(_COLUMNS, rows) + chapters


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return _row(columns) + "|" + "---|" * len(columns) + "\n" + "".join(_row(one) for one in rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"
