"""The run's figures as tables."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from tests.cluster.scale.run import Phase, Scale

_MIB = 1024 * 1024
_STAGES = ("inventory", "imagecache", "cachedimage")
_KINDS = {
    "imageinventories": "inventories",
    "cachedimages": "images",
    "cachedimages/status": "their status",
    "jobs": "jobs",
    "roles": "roles",
    "rolebindings": "bindings",
    "imagecaches/status": "cache status",
    "events": "events",
}
_WIDTH = 180


def show(scale: Scale, console: Console) -> None:
    """Print the seconds, what each part wrote by kind, and what each stage was asked."""
    size = scale.size
    console.width = max(console.width, _WIDTH)
    console.print(f"{size.namespaces} namespaces, {size.pods} pods, {size.images} images; {scale.caller.name}")
    table = Table("", "seconds", *_KINDS.values(), "others", title="kuik's writes")
    for phase in scale.phases:
        others = sum(phase.writes.values()) - sum(phase.writes[kind] for kind in _KINDS)
        table.add_row(phase.name, f"{phase.seconds:.1f}", *(str(phase.writes[kind]) for kind in _KINDS), str(others))
    console.print(table)
    calls = Table("", *(f"{stage} {what}" for stage in _STAGES for what in ("", "MB", "s")), title="hook calls")
    for phase in scale.phases:
        calls.add_row(phase.name, *_called(phase))
    console.print(calls)
    if scale.memory is not None:
        console.print(f"Metacontroller's resident memory, peak: {scale.memory / _MIB:.0f} MiB")
    for phase in scale.phases:
        for broken in phase.broken:
            console.print(f"does not hold: {phase.name}: {broken}", style="red")


def _called(phase: Phase) -> Iterable[str]:
    for stage in _STAGES:
        found = phase.calls.get(stage)
        yield from (str(found.calls), f"{found.size / 1e6:.1f}", f"{found.seconds:.1f}") if found else ("0", "0", "0")
