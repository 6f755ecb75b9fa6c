"""A folder of policies, on disk or in a git revision, with what its kustomization.yaml files name."""

import posixpath
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from kube.types import Object, metadata, texts
from kuik.local.documents import ManifestError, documents
from kuik.local.manifests import MAX_FILE, SUFFIXES, parse

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
CASES = "cases.yaml"
_KNOWN = frozenset({"apiVersion", "kind", "metadata", "resources", "components", "namespace"})
_HARMLESS = frozenset({"commonAnnotations", "sortOptions", "buildMetadata"})
_MAX_DEPTH = 20
_SECONDS = 60.0


class Tree(Protocol):
    """Files by their paths; `origin` names a path in errors."""

    def files(self, path: str) -> list[str]:
        """The file that the path is, or all below the folder that it is; raises ManifestError for neither."""

    def is_file(self, path: str) -> bool: ...
    def read(self, path: str) -> str: ...
    def origin(self, path: str) -> str: ...


@dataclass(frozen=True)
class Disk:
    """Files on disk."""

    def files(self, path: str) -> list[str]:
        here = Path(path)
        if here.is_file():
            return [path]
        if not here.is_dir():
            raise ManifestError(f"{path}: no such file or folder")
        found = (one for one in here.rglob("*") if one.is_file())
        return sorted(str(one) for one in found if not _is_hidden(one.relative_to(here)))

    def is_file(self, path: str) -> bool:
        return Path(path).is_file()

    def read(self, path: str) -> str:
        try:
            if Path(path).stat().st_size > MAX_FILE:
                raise ManifestError(f"{path}: larger than {MAX_FILE} bytes")
            return Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ManifestError(f"{path}: {getattr(error, 'strerror', None) or error}") from error

    def origin(self, path: str) -> str:
        return path


@dataclass(frozen=True)
class Revision:
    """Files as a commit of the git repository has them, by their paths from the repository's root."""

    repository: Path
    commit: str
    name: str

    @classmethod
    def open(cls, name: str, inside: Path) -> "Revision":
        """The revision of this name in the repository around a folder; raises ManifestError where there is none."""
        top = _git(inside, "rev-parse", "--show-toplevel").strip()
        commit = _git(inside, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").strip()
        return cls(Path(top), commit, name)

    def files(self, path: str) -> list[str]:
        inside = f"{path}/" if path else ""
        found = [one for one in self._all if one == path or one.startswith(inside)]
        if not found:
            raise ManifestError(f"{self.origin(path)}: no such file or folder in that revision")
        return sorted(one for one in found if one == path or not _is_hidden(Path(one.removeprefix(inside))))

    def is_file(self, path: str) -> bool:
        return path in self._all

    def read(self, path: str) -> str:
        size = _git(self.repository, "cat-file", "-s", f"{self.commit}:{path}").strip()
        if int(size) > MAX_FILE:
            raise ManifestError(f"{self.origin(path)}: larger than {MAX_FILE} bytes")
        return _git(self.repository, "cat-file", "blob", f"{self.commit}:{path}")

    def origin(self, path: str) -> str:
        return f"{self.name}:{path}"

    @cached_property
    def _all(self) -> frozenset[str]:
        listed = _git(self.repository, "ls-tree", "-r", "-z", "--full-tree", "--name-only", self.commit)
        return frozenset(one for one in listed.split("\0") if one)


def policies_in(tree: Tree, path: str, *, whole: bool = False) -> list[Object]:
    """The objects that a folder, or a file, stands for: those of its kustomization, else of all its files.

    Files called cases.yaml, which are tests of policies, and kustomizations themselves are passed over. Raises
    ManifestError, also for a kustomization that changes what it names: that has to be built first. `whole` passes
    kustomizations over.
    """
    if not whole:
        return list(_objects(tree, path, 0))
    names = (one for one in tree.files(path) if posixpath.basename(one) not in (*KUSTOMIZATIONS, CASES))
    return [obj for one in names if _is_manifest(one) for obj in parse(tree.read(one), tree.origin(one))]


def _objects(tree: Tree, path: str, depth: int) -> Iterator[Object]:
    if depth > _MAX_DEPTH:
        raise ManifestError(f"{tree.origin(path)}: kustomizations name one another without end")
    own = _kustomization(tree, path)
    if own is not None:
        yield from _kustomized(tree, path, own, depth)
        return
    for file in tree.files(path):
        name = posixpath.basename(file)
        folder = posixpath.dirname(file)
        if name in KUSTOMIZATIONS and file != path and folder != path.rstrip("/"):
            yield from _kustomized(tree, folder, file, depth)
        elif name not in KUSTOMIZATIONS and name != CASES and _is_manifest(file) and not _is_inside(tree, file, path):
            yield from parse(tree.read(file), tree.origin(file))


def _kustomization(tree: Tree, path: str) -> str | None:
    found = (posixpath.join(path, name) for name in KUSTOMIZATIONS)
    return next((one for one in found if tree.is_file(one)), None)


def _is_inside(tree: Tree, file: str, path: str) -> bool:
    """Whether a folder between has a kustomization, which says itself what counts."""
    folder = posixpath.dirname(file)
    while folder and folder != path.rstrip("/") and len(folder) > len(path.rstrip("/")):
        if _kustomization(tree, folder):
            return True
        folder = posixpath.dirname(folder)
    return False


def _kustomized(tree: Tree, folder: str, file: str, depth: int) -> Iterator[Object]:
    origin = tree.origin(file)
    found = [one for one in documents(tree.read(file), origin) if isinstance(one, dict)]
    if len(found) != 1:
        raise ManifestError(f"{origin}: not one Kustomization")
    said: dict[str, Any] = found[0]
    if said.get("kind") == "Component" and depth == 0:
        return  # a part of somebody else's kustomization, which changes what is there
    changes = sorted(str(name) for name in said if name not in _KNOWN | _HARMLESS)
    if changes:
        raise ManifestError(
            f"{origin}: {', '.join(changes)}: build it first: kubectl kustomize DIR, and give that as -"
        )
    for entry in (*texts(said, "resources"), *texts(said, "components")):
        if "://" in entry or entry.startswith("git@"):
            raise ManifestError(f"{origin}: {entry} is elsewhere: build it first: kubectl kustomize DIR")
        for obj in _objects(tree, posixpath.normpath(posixpath.join(folder, entry)), depth + 1):
            yield _placed(obj, said.get("namespace"))


def _placed(obj: Object, namespace: Any) -> Object:
    if not isinstance(namespace, str) or obj["kind"] in ("ClusterCachePolicy", "ImageCache", "Namespace"):
        return obj
    return {**obj, "metadata": {**metadata(obj), "namespace": namespace}}


def _is_manifest(file: str) -> bool:
    return posixpath.splitext(file)[1] in SUFFIXES


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") and part not in (".", "..") for part in path.parts)


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ManifestError(f"git {words[0]}: {error}") from error
    if done.returncode:
        raise ManifestError(
            f"git {' '.join(words[:2])}: {done.stderr.decode(errors='replace').strip() or 'no such revision'}"
        )
    return done.stdout.decode(errors="replace")
