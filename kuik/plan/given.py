"""What `--from` and `--to` name: a folder, a file, standard input, or a git revision."""

import sys
from collections.abc import Iterable
from pathlib import Path

from kube.types import CACHE_POLICY, CLUSTER_CACHE_POLICY, IMAGE_CACHE, Key, Object
from kuik.local.documents import ManifestError
from kuik.local.manifests import parse
from kuik.plan.tree import Disk, Revision, policies_in


def given(name: str, beside: str = "") -> list[Object]:
    """The policies at a path; or at a revision, of the same path as `beside`; or at REVISION:PATH.

    Raises ManifestError, also where two of one name say different things: which one counts would be chance.
    """
    found = _given(name, beside)
    _check_names(found)
    return found


def _check_names(found: Iterable[Object]) -> None:
    seen: dict[Key, Object] = {}
    for one in found:
        if one["kind"] in (CLUSTER_CACHE_POLICY, CACHE_POLICY, IMAGE_CACHE):
            key = Key.of(one)
            if seen.setdefault(key, one) != one:
                raise ManifestError(f"{key.kind} {key.name} is given twice and says different things: name it anew")


def _given(name: str, beside: str) -> list[Object]:
    if name == "-":
        return parse(sys.stdin.read(), "standard input")
    if Path(name).exists():
        return policies_in(Disk(), name)
    revision, colon, path = name.partition(":")
    if name.startswith("-"):
        raise ManifestError(f"{name}: no such file or folder")
    if colon:
        tree = Revision.open(revision, Path())
        return policies_in(tree, _normal(path))
    if beside in ("", "-"):
        raise ManifestError(f"{name}: no such file or folder; of a git revision say which folder: {name}:FOLDER")
    folder = Path(beside).resolve()
    inside = folder if folder.is_dir() else folder.parent
    while not inside.exists():
        inside = inside.parent
    try:
        tree = Revision.open(name, inside)
    except ManifestError as error:
        raise ManifestError(f"{name}: no such file or folder, and no git revision: {error}") from error
    return policies_in(tree, _normal(str(folder.relative_to(tree.repository.resolve()))))


def _normal(path: str) -> str:
    return "" if path in ("", ".", "./") else path.strip("/").removeprefix("./")
