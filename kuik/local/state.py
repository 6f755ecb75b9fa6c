"""The CachedImages of a store, as YAML files in its `state/` folder that a person can read."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from kube.types import Object
from registry.durable import make_folder, write_whole

_KEPT_METADATA = ("name", "labels", "annotations", "creationTimestamp", "generation")


class State:
    """One file for each CachedImage; written whole, one after another, by the process that runs the store."""

    def __init__(self, store: Path) -> None:
        self._folder = store / "state" / "cachedimages"
        self._written: dict[str, bytes] = {}

    def load(self) -> list[Object]:
        """Every CachedImage that is kept, without an owner: the next ImageCache adopts it by its label.

        Files that hold none are passed over and left as they are.
        """
        found: list[Object] = []
        for path in sorted(self._folder.glob("*.yaml")):
            with suppress(OSError, yaml.YAMLError, UnicodeDecodeError):
                obj = yaml.safe_load(path.read_text())
                if isinstance(obj, dict) and obj.get("kind") == "CachedImage":
                    self._written[path.stem] = path.read_bytes()
                    found.append(obj)
        return found

    def save(self, obj: Mapping[str, Any]) -> None:
        """Keep this CachedImage as it is now."""
        metadata = {name: obj["metadata"][name] for name in _KEPT_METADATA if obj["metadata"].get(name)}
        kept = {**obj, "metadata": metadata}
        content = yaml.safe_dump(kept, sort_keys=True, width=1000).encode()
        name = metadata["name"]
        if self._written.get(name) != content:
            make_folder(self._folder)
            write_whole(self._folder / f"{name}.yaml", content)
            self._written[name] = content

    def remove(self, name: str) -> None:
        """Forget a CachedImage."""
        (self._folder / f"{name}.yaml").unlink(missing_ok=True)
        self._written.pop(name, None)

    def removed_by_others(self) -> Iterator[str]:
        """The names that were kept by this process and whose files another one has taken away.

        Nobody takes away the folder: without it, the whole store is out of reach, and nothing is known.
        """
        if not self._folder.is_dir():
            return
        for name in list(self._written):
            if not (self._folder / f"{name}.yaml").exists():
                self._written.pop(name)
                yield name
