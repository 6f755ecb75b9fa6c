"""Kubernetes manifests from files, folders and standard input."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kube.types import IMAGE_CACHE, Object, metadata
from kuik.local.documents import ManifestError, documents, plain
from kuik.local.image_cache import checked as checked_cache
from kuik.local.policies import KINDS as POLICIES
from kuik.local.policies import checked as checked_policy
from kuik.local.templates import PATHS

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
MAX_FILE = 64 * 1024 * 1024
"""Bytes that one manifest file may have."""

_CHECKED = {**dict.fromkeys(POLICIES, checked_policy), IMAGE_CACHE: checked_cache}
_READ = frozenset({*PATHS, *_CHECKED, "Namespace", "Secret", "ServiceAccount"})
_NAMES = ("name", "generateName", "namespace")
_STDIN = "-"
_Stamp = tuple[int, int, int]


def parse(text: str, origin: str) -> list[Object]:
    """The objects in a YAML or JSON text with any number of documents; Lists are opened.

    `origin` names the text in errors. Documents that are no Kubernetes objects (no apiVersion and kind) are passed
    over. Raises ManifestError.
    """
    found: list[Object] = []
    for number, document in enumerate(documents(text, origin), start=1):
        found.extend(_objects(document, f"{origin}: document {number}"))
    return found


def _objects(document: Any, origin: str) -> Iterator[Object]:
    if not isinstance(document, dict) or not (isinstance(document.get("kind"), str) and "apiVersion" in document):
        return
    kind, items = document["kind"], document.get("items")
    if kind.endswith("List") and (isinstance(items, list) or (items is None and not metadata(document).get("name"))):
        yield from _items(document, items or [], origin)
        return
    if kind not in _READ:  # also what is no object of an API server, such as a Kustomization, and has no name
        return
    named = _named(plain(document, origin), f"{origin}: {kind}")
    check = _CHECKED.get(kind)
    yield check(named, f"{origin}: {kind} {named['metadata'].get('name')}") if check else named


def _items(document: Object, items: Sequence[Any], origin: str) -> Iterator[Object]:
    # The items of a typed list, such as a PodList, may leave out what its kind already says.
    kind = document["kind"].removesuffix("List")
    typed = {"apiVersion": document["apiVersion"], "kind": kind} if kind else {}
    for position, item in enumerate(items):
        if not isinstance(item, dict):
            raise ManifestError(f"{origin}: items[{position}] is not an object")
        yield from _objects({**typed, **item}, f"{origin}: items[{position}]")


def _named(obj: Object, origin: str) -> Object:
    """The object itself; raises ManifestError for one that an API server would refuse for its name."""
    meta = metadata(obj)
    if not isinstance(obj.get("apiVersion"), str):
        raise ManifestError(f"{origin}: apiVersion is not text")
    if not (meta.get("name") or meta.get("generateName")):
        raise ManifestError(f"{origin} has no metadata.name")
    for field in _NAMES:
        if not isinstance(meta.get(field, ""), str):
            raise ManifestError(f"{origin}: metadata.{field} is not text; write it in quotes")
    return obj


def files_in(path: Path) -> list[Path]:
    """The manifest files of a path: itself, or those below a folder, hidden ones left out; raises ManifestError."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ManifestError(f"{path}: no such file or folder")
    return sorted(
        found
        for found in path.rglob("*")
        if found.suffix in SUFFIXES
        and found.is_file()
        and not any(part.startswith(".") for part in found.relative_to(path).parts)
    )


class Watched:
    """The manifests of some paths, followed as files come, change and go.

    A file that cannot be read any more keeps the objects it had, and so do the files of a folder that is away: doubt
    takes nothing away. The path `-` is standard input, which `read_stdin` reads once.
    """

    def __init__(self, paths: Sequence[str], read_stdin: Callable[[], str]) -> None:
        self._paths = paths
        self._read_stdin = read_stdin
        self._objects: dict[Path, list[Object]] = {}
        self._stamps: dict[Path, _Stamp] = {}
        self._broken: dict[Path, str] = {}
        self._lost: dict[Path, str] = {}

    @property
    def errors(self) -> tuple[str, ...]:
        """What is wrong now, a sentence each."""
        return (*self._lost.values(), *self._broken.values())

    def load(self) -> None:
        """The first read; raises ManifestError for the first thing that is wrong."""
        if _STDIN in self._paths:
            self._objects[Path(_STDIN)] = parse(self._read_stdin(), "standard input")
        self.refresh()
        if self.errors:
            raise ManifestError(self.errors[0])

    def refresh(self) -> bool:
        """Read what changed since the last time; says whether the objects may have changed."""
        found = self._scan()
        gone = [path for path in self._stamps if path not in found and not self._in_doubt(path)]
        for path in gone:
            self._objects.pop(path, None)
            self._broken.pop(path, None)
        fresh = [path for path, stamp in found.items() if self._stamps.get(path) != stamp]
        read = [self._read(path) for path in fresh]
        self._stamps = {path: stamp for path, stamp in self._stamps.items() if path not in gone} | found
        return bool(gone) or any(read)

    def objects(self) -> list[Object]:
        """All objects, in the order of files."""
        return [obj for path in sorted(self._objects) for obj in self._objects[path]]

    def _scan(self) -> dict[Path, _Stamp]:
        stamps: dict[Path, _Stamp] = {}
        self._lost = {}
        for path in (Path(path) for path in self._paths if path != _STDIN):
            try:
                stamps |= {file: _stamp(file) for file in files_in(path)}
            except (ManifestError, OSError) as error:
                self._lost[path] = _naming(path, error)
        return stamps

    def _in_doubt(self, path: Path) -> bool:
        """Whether a file is out of sight because the path it came from is, which is no word that it is gone."""
        return any(lost == path or lost in path.parents for lost in self._lost)

    def _read(self, path: Path) -> bool:
        try:
            if path.stat().st_size > MAX_FILE:
                raise ManifestError(f"{path}: larger than {MAX_FILE} bytes")
            self._objects[path] = parse(path.read_text(encoding="utf-8"), str(path))
        except (ManifestError, OSError, UnicodeDecodeError) as error:
            self._broken[path] = _naming(path, error)
            return False
        self._broken.pop(path, None)
        return True


def _naming(path: Path, error: Exception) -> str:
    text = str(error)
    return text if str(path) in text else f"{path}: {text}"


def _stamp(path: Path) -> _Stamp:
    info = path.stat()
    return info.st_mtime_ns, info.st_size, info.st_ino
