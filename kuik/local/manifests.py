"""Kubernetes manifests from files, folders and standard input."""

import json
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
    items = document.get("items")
    if str(document["kind"]).endswith("List") and isinstance(items, list):
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


@dataclass
class Watched:
    """The manifests of some paths, followed as files come, change and go.

    A file that cannot be read any more keeps the objects it had: doubt takes nothing away. `-` is read once.
    """

    paths: Sequence[str]
    read_stdin: Callable[[], str]
    errors: dict[str, str] = field(default_factory=dict)
    """What is wrong now, by file."""
    _stamps: Mapping[Path, tuple[int, int, int]] = field(default_factory=dict)
    _objects: dict[str, list[Object]] = field(default_factory=dict)

    def load(self) -> None:
        """The first read; raises ManifestError for the first thing that is wrong."""
        if _STDIN in self.paths:
            self._objects[_STDIN] = parse(self.read_stdin(), "standard input")
        self.refresh()
        if self.errors:
            raise ManifestError(next(iter(self.errors.values())))

    def refresh(self) -> bool:
        """Read what changed since the last time; says whether anything did."""
        found, self.errors = self._scan(), {k: v for k, v in self.errors.items() if k not in self.paths}
        changed = False
        for path, stamp in found.items():
            if self._stamps.get(path) != stamp:
                changed |= self._read(path)
        for path in self._stamps.keys() - found.keys():
            if not self._doubtful(path):
                self._objects.pop(str(path), None)
                self.errors.pop(str(path), None)
                changed = True
        self._stamps = found
        return changed

    def objects(self) -> list[Object]:
        """All objects, in the order of paths and files."""
        return [obj for origin in sorted(self._objects) for obj in self._objects[origin]]

    def _scan(self) -> dict[Path, tuple[int, int, int]]:
        stamps: dict[Path, tuple[int, int, int]] = {}
        self._lost: set[str] = set()
        for path in self.paths:
            if path == _STDIN:
                continue
            try:
                for file in files_in(Path(path)):
                    stamps[file] = _stamp(file)
            except (ManifestError, OSError) as error:
                self._lost.add(path)
                self.errors[path] = str(error)
        return stamps

    def _doubtful(self, path: Path) -> bool:
        """Whether a file is out of sight because the path it came from is, which is no word that it is gone."""
        return any(Path(lost) == path or Path(lost) in path.parents for lost in self._lost)

    def _read(self, path: Path) -> bool:
        try:
            if path.stat().st_size > MAX_FILE:
                raise ManifestError(f"{path}: larger than {MAX_FILE} bytes")
            self._objects[str(path)] = parse(path.read_text(encoding="utf-8"), str(path))
        except (ManifestError, OSError, UnicodeDecodeError) as error:
            text = str(error)
            self.errors[str(path)] = text if str(path) in text else f"{path}: {text}"
            return False
        self.errors.pop(str(path), None)
        return True


def _stamp(path: Path) -> tuple[int, int, int]:
    info = path.stat()
    return (info.st_mtime_ns, info.st_size, stat.S_IFMT(info.st_mode) + info.st_ino)
