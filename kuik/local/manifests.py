"""Kubernetes manifests from files, folders and standard input."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from kube.types import Object

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
MAX_FILE = 64 * 1024 * 1024
"""Bytes that one manifest file may have."""

_MAX_DEPTH = 100
_MAX_NODES = 1_000_000
_STDIN = "-"
_Stamp = tuple[int, int, int]


class ManifestError(ValueError):
    """A file cannot be read as Kubernetes manifests; the message names the file, the place and what is wrong."""


def parse(text: str, origin: str) -> list[Object]:
    """The objects in a YAML or JSON text with any number of documents; Lists are opened.

    `origin` names the text in errors. Documents that are no Kubernetes objects (no apiVersion and kind) are passed
    over. Raises ManifestError.
    """
    found: list[Object] = []
    for number, document in enumerate(documents(text, origin), start=1):
        found.extend(_objects(document, f"{origin}: document {number}"))
    return found


def documents(text: str, origin: str) -> Iterator[Any]:
    """The documents in a YAML or JSON text, whatever they are; raises ManifestError."""
    try:
        if text.lstrip()[:1] in ("{", "["):
            try:
                yield json.loads(text)
                return
            except json.JSONDecodeError:
                pass  # YAML's flow style, or several documents
        yield from yaml.load_all(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f": line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not valid YAML"
        raise ManifestError(f"{origin}{place}: {problem}") from error
    except RecursionError as error:
        raise ManifestError(f"{origin}: nested too deeply") from error


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader, in C where there is one, that keeps times as text, as Kubernetes' own does."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _objects(document: Any, origin: str) -> Iterator[Object]:
    if not isinstance(document, dict) or "kind" not in document or "apiVersion" not in document:
        return
    if str(document["kind"]).endswith("List") and "items" in document:
        items = document["items"] or []
        if not isinstance(items, list):
            raise ManifestError(f"{origin}: items is not a list")
        kind = str(document["kind"]).removesuffix("List")
        for position, item in enumerate(items):
            if not isinstance(item, dict):
                raise ManifestError(f"{origin}: items[{position}] is not an object")
            # The items of a typed list, such as a PodList, may leave out what its kind already says.
            typed = {"apiVersion": document["apiVersion"], "kind": kind} if kind else {}
            yield from _objects({**typed, **item}, f"{origin}: items[{position}]")
        return
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not (metadata.get("name") or metadata.get("generateName")):
        raise ManifestError(f"{origin}: {document['kind']} has no metadata.name")
    _check_size(document, origin)
    yield document


def _check_size(document: Any, origin: str) -> None:
    """Refuse what is nested too deeply or, by YAML's aliases, becomes very large when it is followed."""
    nodes = 0
    level = [document]
    for _ in range(_MAX_DEPTH):
        nodes += len(level)
        if nodes > _MAX_NODES:
            raise ManifestError(f"{origin}: more than {_MAX_NODES} values in one object")
        level = [inner for value in level for inner in _inner(value)]
        if not level:
            return
    raise ManifestError(f"{origin}: nested more than {_MAX_DEPTH} levels deep")


def _inner(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


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
