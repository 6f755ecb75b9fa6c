"""Which of the images that are kept may be removed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kube.types import part
from kuik.local.store import Held


@dataclass(frozen=True, slots=True)
class Choice:
    """The images to remove, and why others are not: a sentence for each."""

    chosen: tuple[Held, ...]
    refused: tuple[str, ...]


def choose(images: Sequence[str], found: Mapping[str, Held], where: str, *, force: bool) -> Choice:
    """Of the images of these names; an image that is used goes only by force, one that is retained never."""
    chosen: list[Held] = []
    refused: list[str] = []
    for name in images:
        one = found.get(name)
        why = f"is not in {where}; `kuik cache list` shows what is" if one is None else _why_not(one, force=force)
        if one is None or why:
            refused.append(f"{name} {why}")
        else:
            chosen.append(one)
    return Choice(tuple(chosen), tuple(refused))


def choose_all(found: Iterable[Held], *, force: bool) -> Choice:
    """Of all images that are kept."""
    known = {one.image: one for one in found}
    return choose(sorted(known), known, "", force=force)


def _why_not(one: Held, *, force: bool) -> str:
    spec = part(one.cached_image or {}, "spec")
    if spec.get("retain") is True:
        return "is retained; set its spec.retain to false first"
    if (one.used_by or spec.get("users")) and not force:
        users = ", ".join(one.used_by) or f"{spec['users']} workloads"
        return f"is used by {users}; give --force to remove it all the same"
    return ""
